"""Float models in directories as Hugging Face publishes them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.files import MAX_CONFIG, parse_object, read_whole, shown
from llmzip.model.float_model import GLOBAL_PARTS, LAYER_PARTS, FloatModel, Metadata, layer_name
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.model.spec import MAX_VOCAB, ModelSpec, usable_positions
from llmzip.types import Float32Array


def read_directory(path: pathlib.Path) -> FloatModel:
    """The model in a directory. Raises UnsupportedModelError or, from what cannot be understood,
    other errors.
    """
    try:
        config = parse_object(read_whole(path / "config.json", MAX_CONFIG), path / "config.json")
    except FileNotFoundError as error:
        raise UnsupportedModelError(
            "no config.json; expected a Hugging Face model directory or a .gguf file"
        ) from error
    rope = _check_config(config)
    metadata = Metadata(config)
    heads, vocab = metadata.whole("num_attention_heads"), metadata.whole("vocab_size")
    if vocab > MAX_VOCAB:
        raise UnsupportedModelError(f"vocab_size is {vocab:,}, more than {MAX_VOCAB:,}")
    head_dim = metadata.whole("head_dim", metadata.whole("hidden_size") // heads)
    words = vocabulary.from_directory(path, config).padded(vocab)
    spec = ModelSpec(
        layers=metadata.whole("num_hidden_layers"),
        d_model=metadata.whole("hidden_size"),
        heads=heads,
        kv_heads=metadata.whole("num_key_value_heads", heads),
        head_dim=head_dim,
        d_ff=metadata.whole("intermediate_size"),
        vocab=vocab,
        max_positions=usable_positions(metadata.whole("max_position_embeddings"), head_dim),
        norm_eps=metadata.narrow("rms_norm_eps"),
        start_token=words.start_token,
        escape_token=words.escape_token,
    )
    tied = bool(config.get("tie_word_embeddings", False))
    load = _loader(path)

    def tensor(name: str) -> Float32Array:
        if name.startswith("layers."):
            index, part = layer_name(name)
            return load(f"model.layers.{index}.{LAYER_PARTS[part][1]}.weight")
        return load(GLOBAL_PARTS["embedding" if name == "head" and tied else name][1] + ".weight")

    return FloatModel(spec, rope, words, tensor)


def _check_config(config: Mapping[str, Any]) -> float:
    """Refuse what the arithmetic does not cover; return the rotary base."""
    problems = []
    if config.get("model_type") != "llama":
        problems.append(f"model_type {shown(config.get('model_type'))} (only 'llama')")
    if config.get("hidden_act", "silu") != "silu":
        problems.append(f"hidden_act {shown(config['hidden_act'])} (only 'silu')")
    for flag in ("attention_bias", "mlp_bias"):
        if config.get(flag):
            problems.append(flag)
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        problems.append(f"scaled rotary positions ({shown(kind)})")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        problems.append("rotary positions on a part of each head")
    if config.get("quantization_config"):
        problems.append("quantized weights (use the original weights, or a GGUF file)")
    if problems:
        raise UnsupportedModelError(f"config.json: not supported: {', '.join(problems)}")
    return Metadata(rope if rope.get("rope_theta") is not None else config).number(
        "rope_theta", 10000.0
    )


def _loader(path: pathlib.Path) -> Callable[[str], Float32Array]:
    """What reads a tensor by its name from the directory's safetensors files."""
    files = [SafetensorsFile(file) for file in sorted(path.glob("*.safetensors"))]
    if not files:
        raise UnsupportedModelError("no *.safetensors file")
    file_of = {name: file for file in files for name in file.names}

    def load(name: str) -> Float32Array:
        if name not in file_of:
            raise UnsupportedModelError(f"{path}: no tensor {name!r}")
        array = file_of[name].tensor(name)
        if array.dtype.kind != "f":
            raise UnsupportedModelError(
                f"{file_of[name].path}: {name!r}: {array.dtype} instead of floats"
            )
        # What is not finite is refused by whoever asked.
        with np.errstate(over="ignore", under="ignore"):
            return array.astype(np.float32, copy=False)

    return load
