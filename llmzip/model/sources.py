"""Float models as they are published: GGUF files and Hugging Face directories, read as named float arrays.

Names are canonical (`layers.3.q`, `embedding`, `head`, ...), matrices are [outputs, inputs] float32, queries and keys
are in the split-half rotary layout of Hugging Face. What is not a plain Llama decoder is refused, never approximated.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary

if TYPE_CHECKING:
    import gguf

FloatArray = npt.NDArray[np.float32]

LAYER_PARTS = {  # canonical: (GGUF, Hugging Face)
    "attention_norm": ("attn_norm", "input_layernorm"),
    "q": ("attn_q", "self_attn.q_proj"),
    "k": ("attn_k", "self_attn.k_proj"),
    "v": ("attn_v", "self_attn.v_proj"),
    "o": ("attn_output", "self_attn.o_proj"),
    "mlp_norm": ("ffn_norm", "post_attention_layernorm"),
    "gate": ("ffn_gate", "mlp.gate_proj"),
    "up": ("ffn_up", "mlp.up_proj"),
    "down": ("ffn_down", "mlp.down_proj"),
}
_GLOBAL_PARTS = {
    "embedding": ("token_embd", "model.embed_tokens"),
    "norm": ("output_norm", "model.norm"),
    "head": ("output", "lm_head"),
}


@dataclasses.dataclass(frozen=True)
class FloatModel:
    """One float model: its specification, rotary base, vocabulary, and arrays on demand."""

    spec: ModelSpec
    rope_theta: float
    vocabulary: Vocabulary
    tensor: Callable[[str], FloatArray]
    """Canonical name -> float32 array."""


def read_source(path: pathlib.Path) -> FloatModel:
    """The float model in a `.gguf` file or a directory with config.json, tokenizer.json and safetensors files.

    Raises UnsupportedModelError for another architecture or a file that cannot be understood.
    """
    try:
        return _read_directory(path) if path.is_dir() else _read_gguf(path)
    except KeyError as error:
        raise UnsupportedModelError(f"{path}: {error.args[0]!r} is missing: not a complete Llama-type model") from error
    except (TypeError, ValueError) as error:
        raise UnsupportedModelError(f"{path}: not understood: {error}") from error


def source_digest(path: pathlib.Path) -> str:
    """SHA-256, in hex, of a `.gguf` file, or of the names and digests of the files that make up a model directory."""
    if not path.is_dir():
        return _file_digest(path).hex()
    digest = hashlib.sha256()
    for file in sorted([path / "config.json", path / "tokenizer.json", *path.glob("*.safetensors")]):
        if file.is_file():
            digest.update(file.name.encode("utf-8") + b"\0" + _file_digest(file))
    return digest.hexdigest()


def _file_digest(path: pathlib.Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.digest()


def _layer_name(name: str) -> tuple[str, str]:
    """`layers.3.q` -> (`3`, `q`)."""
    _, index, part = name.split(".")
    return index, part


def gguf_vocabulary(path: pathlib.Path) -> Vocabulary:
    """The vocabulary in a `.gguf` file of any architecture. Raises UnsupportedModelError where it is of no known kind."""
    try:
        return vocabulary.from_gguf(_gguf_field(_open_gguf(path)))
    except KeyError as error:
        raise UnsupportedModelError(f"{path}: {error.args[0]!r} is missing: no tokenizer in the file") from error


def _open_gguf(path: pathlib.Path) -> gguf.GGUFReader:
    import gguf

    try:
        return gguf.GGUFReader(path)
    except (ValueError, IndexError) as error:
        raise UnsupportedModelError(f"{path} is not a readable GGUF file: {error}") from error


def _gguf_field(reader: gguf.GGUFReader) -> Callable[..., Any]:
    """What looks up a value of the metadata: `field(key[, default])`; a missing one is a KeyError."""

    def field(key: str, default: Any = ...) -> Any:
        found = reader.get_field(key)
        if found is None:
            if default is ...:
                raise KeyError(key)
            return default
        return found.contents()

    return field


def _read_gguf(path: pathlib.Path) -> FloatModel:
    import gguf

    reader = _open_gguf(path)
    tensors = {t.name: t for t in reader.tensors}
    field = _gguf_field(reader)
    architecture = field("general.architecture")
    if architecture != "llama":
        raise UnsupportedModelError(f"{path}: architecture {architecture!r}; only 'llama' is supported")
    if field("llama.rope.scaling.type", "none") not in ("none", None) or "rope_freqs.weight" in tensors:
        raise UnsupportedModelError(f"{path}: scaled rotary positions are not supported")
    biases = [name for name in tensors if name.endswith(".bias")]
    if biases:
        raise UnsupportedModelError(f"{path}: {biases[0]}: biases are not supported")
    heads = int(field("llama.attention.head_count"))
    d_model = int(field("llama.embedding_length"))
    head_dim = int(field("llama.attention.key_length", d_model // heads))
    if field("llama.rope.dimension_count", head_dim) != head_dim:
        raise UnsupportedModelError(f"{path}: rotary positions on a part of each head are not supported")
    words = vocabulary.from_gguf(field)
    spec = ModelSpec(
        layers=int(field("llama.block_count")),
        d_model=d_model,
        heads=heads,
        kv_heads=int(field("llama.attention.head_count_kv", heads)),
        head_dim=head_dim,
        d_ff=int(field("llama.feed_forward_length")),
        vocab=len(words.token_bytes),
        max_positions=int(field("llama.context_length")),
        norm_eps=float(np.float32(field("llama.attention.layer_norm_rms_epsilon"))),
        start_token=words.start_token,
        escape_token=words.escape_token,
    )

    def tensor(name: str) -> FloatArray:
        if name.startswith("layers."):
            index, part = _layer_name(name)
            stored = f"blk.{index}.{LAYER_PARTS[part][0]}.weight"
        else:
            stored = _GLOBAL_PARTS[name][0] + ".weight"
            if name == "head" and stored not in tensors:
                return tensor("embedding")
        found = tensors.get(stored)
        if found is None:
            raise UnsupportedModelError(f"{path}: no tensor {stored!r}")
        try:
            array = np.asarray(gguf.dequantize(found.data, found.tensor_type), np.float32)
        except NotImplementedError as error:
            raise UnsupportedModelError(f"{path}: {stored}: {found.tensor_type.name} is not supported") from error
        if name.endswith((".q", ".k")):  # GGUF interleaves the two rotary halves
            array = array.reshape(-1, spec.head_dim // 2, 2, array.shape[-1]).swapaxes(1, 2).reshape(array.shape)
        return array

    return FloatModel(spec, float(field("llama.rope.freq_base", 10000.0)), words, tensor)


def _read_directory(path: pathlib.Path) -> FloatModel:
    config_file = path / "config.json"
    if not config_file.is_file():
        raise UnsupportedModelError(f"{path}: no config.json; expected a Hugging Face model directory or a .gguf file")
    config: dict[str, Any] = json.loads(config_file.read_text("utf-8"))
    rope = _check_config(path, config)
    words = vocabulary.from_directory(path, config)
    heads = int(config["num_attention_heads"])
    spec = ModelSpec(
        layers=int(config["num_hidden_layers"]),
        d_model=int(config["hidden_size"]),
        heads=heads,
        kv_heads=int(config.get("num_key_value_heads") or heads),
        head_dim=int(config.get("head_dim") or int(config["hidden_size"]) // heads),
        d_ff=int(config["intermediate_size"]),
        vocab=int(config["vocab_size"]),
        max_positions=int(config["max_position_embeddings"]),
        norm_eps=float(np.float32(config["rms_norm_eps"])),
        start_token=words.start_token,
        escape_token=words.escape_token,
    )
    tied = bool(config.get("tie_word_embeddings", False))
    load = _safetensors_loader(path)

    def tensor(name: str) -> FloatArray:
        if name.startswith("layers."):
            index, part = _layer_name(name)
            return load(f"model.layers.{index}.{LAYER_PARTS[part][1]}.weight")
        return load(_GLOBAL_PARTS["embedding" if name == "head" and tied else name][1] + ".weight")

    return FloatModel(spec, rope, words.padded(spec.vocab), tensor)


def _check_config(path: pathlib.Path, config: Mapping[str, Any]) -> float:
    """Refuse what the arithmetic does not cover; return the rotary base."""
    problems = []
    if config.get("model_type") != "llama":
        problems.append(f"model_type {config.get('model_type')!r} (only 'llama')")
    if config.get("hidden_act", "silu") != "silu":
        problems.append(f"hidden_act {config['hidden_act']!r} (only 'silu')")
    for flag in ("attention_bias", "mlp_bias"):
        if config.get(flag):
            problems.append(flag)
    rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        problems.append(f"scaled rotary positions ({rope.get('rope_type', rope.get('type'))!r})")
    if rope.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        problems.append("rotary positions on a part of each head")
    if config.get("quantization_config"):
        problems.append("quantised weights (use the original weights, or a GGUF file)")
    if problems:
        raise UnsupportedModelError(f"{path}/config.json: not supported: {', '.join(problems)}")
    return float(rope.get("rope_theta", config.get("rope_theta", 10000.0)))


def _safetensors_loader(path: pathlib.Path) -> Callable[[str], FloatArray]:
    files = sorted(path.glob("*.safetensors"))
    if not files:
        raise UnsupportedModelError(f"{path}: no *.safetensors file")
    import safetensors
    import torch

    places: dict[str, pathlib.Path] = {}
    for file in files:
        try:
            with safetensors.safe_open(file, framework="pt") as opened:
                places.update(dict.fromkeys(opened.keys(), file))
        except safetensors.SafetensorError as error:
            raise UnsupportedModelError(f"{file} is not a readable safetensors file: {error}") from error

    def load(name: str) -> FloatArray:
        if name not in places:
            raise UnsupportedModelError(f"{path}: no tensor {name!r}")
        with safetensors.safe_open(places[name], framework="pt") as opened:
            array: FloatArray = opened.get_tensor(name).to(torch.float32).numpy()
            return array

    return load
