"""A tiny Llama model for tests, the same bits everywhere: a Hugging Face directory, or a GGUF file
of the same weights.

Weights are integers of at most 7 bits times a power of two, so that float32, float16 and bfloat16
hold them exactly.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.model.vocabulary import byte_level_alphabet

Array = npt.NDArray[np.float32]

SPECIAL = ("<|endoftext|>", "<|pad|>")
MERGES = ("t h", "th e", "Ġ the", "i n", "Ġ a", "e r", "a n", "an d", "Ġ and", "o n")


@dataclasses.dataclass(frozen=True)
class TinyModel:
    """Configuration, weights by their Hugging Face names, and a byte-level tokenizer."""

    config: dict[str, Any]
    tensors: dict[str, Array]
    tokens: tuple[str, ...]

    def tokenizer(self) -> dict[str, Any]:
        """The content of tokenizer.json."""
        special = [
            {"id": i, "content": t, "special": True, **_ADDED_FLAGS} for i, t in enumerate(SPECIAL)
        ]
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": None,
            "pre_tokenizer": {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": True,
            },
            "post_processor": None,
            "decoder": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            },
            "model": {
                "type": "BPE",
                "vocab": {t: i for i, t in enumerate(self.tokens)},
                "merges": list(MERGES),
            },
        }


_ADDED_FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def make(seed: int = 0, layers: int = 2, tied: bool = True, **changes: Any) -> TinyModel:
    """A random model; `changes` go into config.json (shapes follow)."""
    tokens = (*SPECIAL, *byte_level_alphabet(), *(merge.replace(" ", "") for merge in MERGES))
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "vocab_size": len(tokens),
        "bos_token_id": 0,
        "eos_token_id": 0,
        "tie_word_embeddings": tied,
        **changes,
    }
    generator = np.random.Generator(np.random.PCG64(seed))

    def matrix(*shape: int) -> Array:
        return (generator.integers(-100, 101, shape) / 512).astype(np.float32)

    def gain(size: int) -> Array:
        return (1 + generator.integers(-30, 31, size) / 128).astype(np.float32)

    d, inner = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim") or d // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    tensors = {
        "model.embed_tokens.weight": matrix(config["vocab_size"], d),
        "model.norm.weight": gain(d),
    }
    if not tied:
        tensors["lm_head.weight"] = matrix(config["vocab_size"], d)
    for i in range(layers):
        layer = f"model.layers.{i}."
        tensors |= {
            f"{layer}input_layernorm.weight": gain(d),
            f"{layer}self_attn.q_proj.weight": matrix(queries, d),
            f"{layer}self_attn.k_proj.weight": matrix(keys, d),
            f"{layer}self_attn.v_proj.weight": matrix(keys, d),
            f"{layer}self_attn.o_proj.weight": matrix(d, queries),
            f"{layer}post_attention_layernorm.weight": gain(d),
            f"{layer}mlp.gate_proj.weight": matrix(inner, d),
            f"{layer}mlp.up_proj.weight": matrix(inner, d),
            f"{layer}mlp.down_proj.weight": matrix(d, inner),
        }
    return TinyModel(config, tensors, tokens)


def write_directory(
    path: pathlib.Path, model: TinyModel, dtype: str = "float32", shards: int = 1
) -> pathlib.Path:
    """Write config.json, tokenizer.json and safetensors; returns `path`."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(model.config, indent=2), "utf-8")
    (path / "tokenizer.json").write_text(json.dumps(model.tokenizer(), ensure_ascii=False), "utf-8")
    names = sorted(model.tensors)
    for shard in range(shards):
        part = {n: model.tensors[n] for n in names[shard::shards]}
        name = (
            "model.safetensors"
            if shards == 1
            else f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        )
        _write_safetensors(path / name, part, dtype)
    return path


def _write_safetensors(path: pathlib.Path, tensors: dict[str, Array], dtype: str) -> None:
    """As safetensors.torch does it; numpy, and so safetensors.numpy, has no bfloat16."""
    code, layout = {
        "float32": ("F32", "<f4"),
        "float16": ("F16", "<f2"),
        "bfloat16": ("BF16", "<u2"),
    }[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        if dtype == "bfloat16":  # the upper half of the bits, rounded to nearest, ties to even
            bits = array.astype("<f4").view("<u4").astype(np.uint64)
            array = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
        start, data = len(data), data + array.astype(layout).tobytes()
        header[name] = {"dtype": code, "shape": array.shape, "data_offsets": [start, len(data)]}
    described = json.dumps(header).encode()
    described += b" " * (-len(described) % 8)
    path.write_bytes(len(described).to_bytes(8, "little") + described + data)


_GGUF_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: pathlib.Path, model: TinyModel, **metadata: int) -> pathlib.Path:
    """Write the same model as llama.cpp's converter does; `metadata` adds or replaces uint32 fields
    of `llama.`.
    """
    import gguf

    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    fields = {
        "block_count": config["num_hidden_layers"],
        "context_length": config["max_position_embeddings"],
        "embedding_length": config["hidden_size"],
        "feed_forward_length": config["intermediate_size"],
        "attention.head_count": config["num_attention_heads"],
        "attention.head_count_kv": config["num_key_value_heads"],
        **metadata,
    }
    for key, value in fields.items():
        writer.add_uint32(f"llama.{key}", value)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", config["rms_norm_eps"])
    writer.add_float32("llama.rope.freq_base", config["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(model.tokens))
    writer.add_token_types([3 if token in SPECIAL else 1 for token in model.tokens])
    writer.add_token_merges(list(MERGES))
    for name, array in model.tensors.items():
        stem = name.removesuffix(".weight")
        if stem.endswith(("q_proj", "k_proj")):
            heads = config[
                "num_attention_heads" if stem.endswith("q_proj") else "num_key_value_heads"
            ]
            array = interleaved(array, heads)
        if stem.startswith("model.layers."):
            index, part = stem.removeprefix("model.layers.").split(".", 1)
            stored = f"blk.{index}.{_GGUF_NAMES[part]}.weight"
        else:
            stored = _GGUF_NAMES[stem] + ".weight"
        writer.add_tensor(stored, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def interleaved(array: Array, heads: int) -> Array:
    """Split-half rotary rows to GGUF's interleaved ones, as llama.cpp's `LlamaModel.permute` writes
    them.
    """
    rows, columns = array.shape
    return (
        array.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)
    )
