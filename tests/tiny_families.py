"""Tiny models of four families, the same bits everywhere: what the golden frames of decoders with
features are made with. `family_models` has others, which transformers makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests import tiny

_WIDTH, _HEADS, _SIZE, _INNER, _LAYERS, _POSITIONS = 32, 2, 16, 64, 3, 128
_EXPERTS, _EXPERT_INNER = 5, 24
_ROPE = {"rope_type": "default", "rope_theta": 10000.0}

_SHAPE: dict[str, Any] = {
    "hidden_size": _WIDTH,
    "intermediate_size": _INNER,
    "num_hidden_layers": _LAYERS,
    "num_attention_heads": _HEADS,
    "max_position_embeddings": _POSITIONS,
    "bos_token_id": 0,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "qwen3": {
        **_SHAPE,
        "model_type": "qwen3",
        "hidden_act": "silu",
        "num_key_value_heads": 1,
        "head_dim": _SIZE,
        "rms_norm_eps": 1e-6,
        "rope_parameters": _ROPE,
        "tie_word_embeddings": True,
    },
    "qwen3_moe": {
        **_SHAPE,
        "model_type": "qwen3_moe",
        "hidden_act": "silu",
        "num_key_value_heads": 1,
        "head_dim": _SIZE,
        "rms_norm_eps": 1e-6,
        "rope_parameters": _ROPE,
        "tie_word_embeddings": False,
        "num_experts": _EXPERTS,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": _EXPERT_INNER,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [1],
    },
    "gemma3": {
        **_SHAPE,
        "model_type": "gemma3_text",
        "hidden_activation": "gelu_pytorch_tanh",
        "num_key_value_heads": 1,
        "head_dim": _SIZE,
        "rms_norm_eps": 1e-6,
        "query_pre_attn_scalar": 24,
        "attn_logit_softcapping": 20.0,
        "final_logit_softcapping": 12.0,
        "sliding_window": 8,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "rope_parameters": {
            "full_attention": {**_ROPE, "rope_theta": 1000000.0},
            "sliding_attention": _ROPE,
        },
        "tie_word_embeddings": True,
    },
    "gpt_neox": {
        **_SHAPE,
        "model_type": "gpt_neox",
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": True,
        "rope_parameters": {**_ROPE, "partial_rotary_factor": 0.25},
        "tie_word_embeddings": False,
    },
}


def _llama_like(
    vocab: int, norms: tuple[str, ...], experts: int = 0
) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "model.embed_tokens.weight", (vocab, _WIDTH)
    yield "model.norm.weight", (_WIDTH,)
    for i in range(_LAYERS):
        layer = f"model.layers.{i}."
        for norm in norms:
            yield f"{layer}{norm}.weight", (_WIDTH,)
        for part, rows in (("q", _HEADS), ("k", 1), ("v", 1)):
            yield f"{layer}self_attn.{part}_proj.weight", (rows * _SIZE, _WIDTH)
        for part in "qk":
            yield f"{layer}self_attn.{part}_norm.weight", (_SIZE,)
        yield f"{layer}self_attn.o_proj.weight", (_WIDTH, _HEADS * _SIZE)
        if experts and i != 1:
            yield f"{layer}mlp.gate.weight", (experts, _WIDTH)
            for e in range(experts):
                yield from _mlp(f"{layer}mlp.experts.{e}.", _EXPERT_INNER)
        else:
            yield from _mlp(f"{layer}mlp.", _INNER)


def _mlp(name: str, inner: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for part in ("gate", "up"):
        yield f"{name}{part}_proj.weight", (inner, _WIDTH)
    yield f"{name}down_proj.weight", (_WIDTH, inner)


def _qwen3(vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    return _llama_like(vocab, ("input_layernorm", "post_attention_layernorm"))


def _qwen3_moe(vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "lm_head.weight", (vocab, _WIDTH)
    yield from _llama_like(vocab, ("input_layernorm", "post_attention_layernorm"), _EXPERTS)


def _gemma3(vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    behind = ("post_attention_layernorm", "post_feedforward_layernorm")
    return _llama_like(vocab, ("input_layernorm", "pre_feedforward_layernorm", *behind))


def _gpt_neox(vocab: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "gpt_neox.embed_in.weight", (vocab, _WIDTH)
    yield "embed_out.weight", (vocab, _WIDTH)
    norms = ["gpt_neox.final_layer_norm"]
    for i in range(_LAYERS):
        layer = f"gpt_neox.layers.{i}."
        norms += [f"{layer}input_layernorm", f"{layer}post_attention_layernorm"]
        for name, shape in (
            ("attention.query_key_value", (3 * _WIDTH, _WIDTH)),
            ("attention.dense", (_WIDTH, _WIDTH)),
            ("mlp.dense_h_to_4h", (_INNER, _WIDTH)),
            ("mlp.dense_4h_to_h", (_WIDTH, _INNER)),
        ):
            yield f"{layer}{name}.weight", shape
            yield f"{layer}{name}.bias", shape[:1]
    for norm in norms:
        yield f"{norm}.weight", (_WIDTH,)
        yield f"{norm}.bias", (_WIDTH,)


_TENSORS: dict[str, Callable[[int], Iterator[tuple[str, tuple[int, ...]]]]] = {
    "qwen3": _qwen3,
    "qwen3_moe": _qwen3_moe,
    "gemma3": _gemma3,
    "gpt_neox": _gpt_neox,
}


def make(kind: str) -> tiny.TinyModel:
    """The model of one of `CONFIGS`."""
    tokens = tiny.make().tokens
    generator = np.random.Generator(np.random.PCG64(len(kind)))
    tensors = {}
    for name, shape in _TENSORS[kind](len(tokens)):
        if len(shape) == 2:
            tensors[name] = generator.integers(-100, 101, shape) / 256
        else:
            around = 0.0 if name.endswith("bias") or kind == "gemma3" else 1.0
            tensors[name] = around + generator.integers(-30, 31, shape) / 64
    config = {**CONFIGS[kind], "vocab_size": len(tokens)}
    return tiny.TinyModel(
        config, {name: array.astype(np.float32) for name, array in tensors.items()}, tokens
    )
