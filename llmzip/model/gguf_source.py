"""Float models in GGUF files."""

from __future__ import annotations

import pathlib

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.files import shown
from llmzip.model.float_model import GLOBAL_PARTS, LAYER_PARTS, FloatModel, Metadata, layer_name
from llmzip.model.gguf_file import GGUFFile
from llmzip.model.spec import ModelSpec, usable_positions
from llmzip.types import Float32Array


def read_gguf(path: pathlib.Path) -> FloatModel:
    """The model in a `.gguf` file. Raises UnsupportedModelError or, from what cannot be understood,
    other errors.
    """
    file = GGUFFile(path)
    _check_kind(file)
    metadata = Metadata(file.fields)
    heads = metadata.whole("llama.attention.head_count")
    d_model = metadata.whole("llama.embedding_length")
    head_dim = metadata.whole("llama.attention.key_length", d_model // heads)
    if metadata.whole("llama.rope.dimension_count", head_dim) != head_dim:
        raise UnsupportedModelError("rotary positions on a part of each head are not supported")
    words = vocabulary.from_gguf(file.field)
    spec = ModelSpec(
        layers=metadata.whole("llama.block_count"),
        d_model=d_model,
        heads=heads,
        kv_heads=metadata.whole("llama.attention.head_count_kv", heads),
        head_dim=head_dim,
        d_ff=metadata.whole("llama.feed_forward_length"),
        vocab=len(words.token_bytes),
        max_positions=usable_positions(metadata.whole("llama.context_length"), head_dim),
        norm_eps=metadata.narrow("llama.attention.layer_norm_rms_epsilon"),
        start_token=words.start_token,
        escape_token=words.escape_token,
    )
    names = set(file.names)

    def tensor(name: str) -> Float32Array:
        if name.startswith("layers."):
            index, part = layer_name(name)
            stored = f"blk.{index}.{LAYER_PARTS[part][0]}.weight"
        else:
            stored = GLOBAL_PARTS[name][0] + ".weight"
            if name == "head" and stored not in names:
                return tensor("embedding")
        if stored not in names:
            raise UnsupportedModelError(f"{path}: no tensor {stored!r}")
        array = file.tensor(stored)
        if name.endswith((".q", ".k")) and array.ndim == 2 and len(array) % head_dim == 0:
            # GGUF interleaves the two rotary halves
            array = (
                array.reshape(-1, head_dim // 2, 2, array.shape[-1])
                .swapaxes(1, 2)
                .reshape(array.shape)
            )
        return array

    return FloatModel(spec, metadata.number("llama.rope.freq_base", 10000.0), words, tensor)


def _check_kind(file: GGUFFile) -> None:
    """Refuse what the arithmetic does not cover."""
    architecture = file.field("general.architecture")
    if architecture != "llama":
        raise UnsupportedModelError(
            f"architecture {shown(architecture)}; only 'llama' is supported"
        )
    if file.field("llama.rope.scaling.type", "none") != "none" or "rope_freqs.weight" in file.names:
        raise UnsupportedModelError("scaled rotary positions are not supported")
    biases = [name for name in file.names if name.endswith(".bias")]
    if biases:
        raise UnsupportedModelError(f"{shown(biases[0])}: biases are not supported")
