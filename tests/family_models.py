"""A tiny random model of each family, as transformers makes it, in a folder as it publishes it.

Weights are scaled so that every feature moves the logits: gains and biases are far from 1 and 0,
windows are shorter than the texts.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import torch
import transformers

from tests import tiny

VOCAB = 268
POSITIONS = 256

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
_NEOX = {key: value for key, value in _SHAPE.items() if key != "num_key_value_heads"}
_GEMMA = {**_SHAPE, "head_dim": 32, "sliding_window": 16, "query_pre_attn_scalar": 40}


_EXPERTS = {"num_local_experts": 6, "num_experts_per_tok": 2}
_QWEN_EXPERTS = {"num_experts": 6, "num_experts_per_tok": 2, "moe_intermediate_size": 48}
_MULTIPLIERS = {
    "embedding_multiplier": 6.0,
    "attention_multiplier": 0.2,
    "residual_multiplier": 0.4,
    "logits_scaling": 0.5,
}


def _rope(kind: str, **changes: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0} | changes}


FAMILIES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", _SHAPE),
    "llama, rotary scaling llama3": (
        "Llama",
        {
            **_SHAPE,
            **_rope(
                "llama3",
                rope_theta=500000.0,
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=32,
            ),
        },
    ),
    "llama, rotary scaling linear, biases": (
        "Llama",
        {**_SHAPE, "attention_bias": True, "mlp_bias": True, **_rope("linear", factor=4.0)},
    ),
    "llama, rotary scaling yarn": (
        "Llama",
        {**_SHAPE, **_rope("yarn", factor=4.0, original_max_position_embeddings=64)},
    ),
    "mistral": ("Mistral", {**_SHAPE, "sliding_window": 16, "head_dim": 32}),
    "qwen2": (
        "Qwen2",
        {**_SHAPE, "use_sliding_window": True, "sliding_window": 16, "max_window_layers": 2},
    ),
    "qwen3": ("Qwen3", {**_SHAPE, "head_dim": 32}),
    "mixtral": ("Mixtral", {**_SHAPE, **_EXPERTS, "sliding_window": 16}),
    "qwen2_moe": (
        "Qwen2Moe",
        {
            **_SHAPE,
            **_QWEN_EXPERTS,
            "shared_expert_intermediate_size": 96,
            "sliding_window": 16,
        },
    ),
    "qwen2_moe, an MLP in every other layer": (
        "Qwen2Moe",
        {
            **_SHAPE,
            **_QWEN_EXPERTS,
            "shared_expert_intermediate_size": 96,
            "decoder_sparse_step": 2,
            "norm_topk_prob": True,
        },
    ),
    "qwen3_moe": (
        "Qwen3Moe",
        {
            **_SHAPE,
            **_QWEN_EXPERTS,
            "head_dim": 32,
            "norm_topk_prob": True,
            "mlp_only_layers": [2],
        },
    ),
    "olmoe": ("Olmoe", {**_SHAPE, **_EXPERTS, "num_experts": 6}),
    "flex_olmo": ("FlexOlmo", {**_SHAPE, **_EXPERTS, "num_experts": 6}),
    "granitemoe": ("GraniteMoe", {**_SHAPE, **_EXPERTS, **_MULTIPLIERS}),
    "granitemoeshared": (
        "GraniteMoeShared",
        {**_SHAPE, **_EXPERTS, **_MULTIPLIERS, "shared_intermediate_size": 96},
    ),
    "smollm3": ("SmolLM3", _SHAPE),
    "gemma": ("Gemma", {**_SHAPE, "head_dim": 32}),
    "gemma2": ("Gemma2", _GEMMA),
    "gemma3": ("Gemma3Text", {**_GEMMA, "num_hidden_layers": 7}),
    "gpt_neox": ("GPTNeoX", _NEOX),
    "gpt_neox, one after the other": (
        "GPTNeoX",
        {**_NEOX, "use_parallel_residual": False, "rotary_pct": 0.5},
    ),
    "gpt2": (
        "GPT2",
        {
            "vocab_size": VOCAB,
            "n_embd": 64,
            "n_layer": 4,
            "n_head": 4,
            "n_positions": POSITIONS,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    "olmo2": ("Olmo2", _SHAPE),
    "olmo3": ("Olmo3", {**_SHAPE, "sliding_window": 16}),
    "granite": (
        "Granite",
        {**_SHAPE, **_MULTIPLIERS},
    ),
    "stablelm": ("StableLm", {**_SHAPE, "use_qkv_bias": True}),
    "stablelm, in parallel": ("StableLm", {**_SHAPE, "use_parallel_residual": True}),
    "phi": ("Phi", _SHAPE),
    "phi3": ("Phi3", {**_SHAPE, "sliding_window": 64}),
    "phi3, rotary scaling longrope": (
        "Phi3",
        {
            **_SHAPE,
            "max_position_embeddings": 512,
            "original_max_position_embeddings": 128,
            **_rope(
                "longrope",
                partial_rotary_factor=0.75,
                short_factor=[1.0, 1.1, 1.3, 1.5, 2.0, 3.0],
                long_factor=[2.0] * 6,
                original_max_position_embeddings=128,
            ),
        },
    ),
    "starcoder2": ("Starcoder2", {**_SHAPE, "use_bias": True, "sliding_window": 16}),
    "cohere": ("Cohere", {**_SHAPE, "logit_scale": 0.5}),
    "cohere2": (
        "Cohere2",
        {**_SHAPE, "head_dim": 32, "logit_scale": 0.5, "sliding_window": 16},
    ),
}
"""What it is called here -> transformers' class without `Config`, and the configuration."""


def write(name: str, path: pathlib.Path) -> pathlib.Path:
    """Write a model of the family to a folder."""
    kind, shape = FAMILIES[name]
    config = getattr(transformers, f"{kind}Config")(**shape)
    model = transformers.AutoModelForCausalLM.from_config(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter, weight in model.named_parameters():
            weight.copy_(_weights(parameter, weight.shape, kind, generator))
        if model.get_input_embeddings().weight is model.get_output_embeddings().weight:
            model.get_input_embeddings().weight.mul_(0.35)
    model.save_pretrained(path)
    described = json.dumps(tiny.make().tokenizer(), ensure_ascii=False)
    (path / "tokenizer.json").write_text(described, "utf-8")
    return path


def _weights(name: str, shape: torch.Size, kind: str, generator: torch.Generator) -> torch.Tensor:
    numbers = torch.randn(shape, generator=generator)
    if len(shape) == 1:
        around = 0.0 if name.endswith("bias") or kind.startswith("Gemma") else 1.0
        return numbers * 0.2 + around
    if any(part in name for part in ("wte", "wpe", "embed_tokens", "embed_in")):
        return numbers * (0.3 if kind.startswith("Gemma") else 1.0)
    scale = 2.0 if any(part in name for part in ("lm_head", "embed_out")) else 1.2
    return numbers * (scale / shape[-1] ** 0.5)


def reference(path: pathlib.Path) -> Any:
    """The model in float64."""
    return transformers.AutoModelForCausalLM.from_pretrained(
        path, dtype=torch.float64, attn_implementation="eager", experts_implementation="eager"
    ).eval()
