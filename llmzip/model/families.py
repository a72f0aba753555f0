"""The families of decoders that llmzip computes exactly, as data: what in a config.json means which
feature (docs/arithmetic.md, section 3.9).

A family is a row of `FAMILIES`. What a row does not say is as in Llama.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from llmzip.arithmetic.constants import LOG2_E
from llmzip.errors import UnsupportedModelError
from llmzip.model import published_names as names
from llmzip.model.config import Config
from llmzip.model.family import Family
from llmzip.model.features import narrowed_cap
from llmzip.model.spec import MAX_LAYERS

_ATTENTION, _MLP = ("q", "k", "v", "o"), ("gate", "up", "down")
_NORMS = ("attention_norm", "mlp_norm", "norm")


def _llama_biases(config: Config) -> tuple[str, ...]:
    attention, mlp = config.flag("attention_bias"), config.flag("mlp_bias")
    return (_ATTENTION if attention else ()) + (_MLP if mlp else ())


def _attention_biases(config: Config) -> tuple[str, ...]:
    return _ATTENTION if config.flag("attention_bias") else ()


def _always(config: Config, layer: int) -> bool:
    return True


def _qwen_window(config: Config, layer: int) -> bool:
    return config.flag("use_sliding_window") and layer >= config.count("max_window_layers", 28)


def _qwen2_moe_window(config: Config, layer: int) -> bool:
    below = layer < config.count("max_window_layers", 28)
    return config.flag("use_sliding_window") and below and bool((layer + 1) % 2)


def _smollm3_rope(config: Config, layer: int, has_window: bool) -> bool:
    listed = config.list_of("no_rope_layers", (int,), layer + 1)
    if listed is not None:
        return bool(listed[layer])
    return bool((layer + 1) % config.whole("no_rope_layer_interval", 4))


def _gemma_scale(config: Config) -> dict[str, Any]:
    return {"embedding_scale": math.sqrt(config.whole("hidden_size"))}


def _gemma2_recipe(config: Config) -> dict[str, Any]:
    scalar = config.number("query_pre_attn_scalar", 256.0)
    if not 1.0 <= scalar <= 2.0**20:
        raise UnsupportedModelError(f"query_pre_attn_scalar is {scalar!r}: not from 1 to 2^20")
    return {**_gemma_scale(config), "query_scale": 1.0 / math.sqrt(scalar)}


def _gemma_caps(config: Config) -> dict[str, Any]:
    caps = (("attention_cap", "attn_logit_softcapping"), ("logit_cap", "final_logit_softcapping"))
    found = {
        name: narrowed_cap(config.number(key), LOG2_E) for name, key in caps if config.has(key)
    }
    return {"post_norm": True, **found}


def _granite_recipe(config: Config) -> dict[str, Any]:
    return {
        "query_scale": config.factor("attention_multiplier", 1.0),
        "embedding_scale": config.factor("embedding_multiplier", 1.0),
        "residual_scale": config.factor("residual_multiplier", 1.0),
        "logit_scale": 1.0 / config.factor("logits_scaling", 1.0),
    }


def _experts(config: Config, width: str = "intermediate_size", **changes: Any) -> dict[str, Any]:
    """Changes of `Features` for experts of this width in all layers; changes: beside that."""
    key = "num_local_experts" if config.has("num_local_experts") else "num_experts"
    return {
        "experts": config.whole(key),
        "experts_used": config.whole("num_experts_per_tok"),
        "expert_ff": config.whole(width),
        **changes,
    }


def _qwen_experts(config: Config, **changes: Any) -> dict[str, Any]:
    layers, step = config.whole("num_hidden_layers"), config.whole("decoder_sparse_step", 1)
    if layers > MAX_LAYERS:  # is refused
        return {}
    without = {*(config.list_of("mlp_only_layers", (int,)) or ())}
    kinds = tuple(int(i not in without and (i + 1) % step == 0) for i in range(layers))
    if not any(kinds):
        return {}
    if not all(kinds):
        changes["layer_experts"] = kinds
    normalized = config.flag("norm_topk_prob")
    return _experts(config, "moe_intermediate_size", experts_normalized=normalized, **changes)


def _qwen2_moe_features(config: Config) -> dict[str, Any]:
    shared = config.whole("shared_expert_intermediate_size")
    return _qwen_experts(config, shared_ff=shared, shared_weighted=True)


def _olmoe_features(config: Config) -> dict[str, Any]:
    normalized = config.flag("norm_topk_prob")
    return {"head_norm": "all", **_experts(config, experts_normalized=normalized)}


def _granite_moe_features(config: Config) -> dict[str, Any]:
    shared = config.count("shared_intermediate_size", 0)
    return _experts(config, experts_normalized=True, shared_ff=shared)


def _neox_features(config: Config) -> dict[str, Any]:
    return {"gated": False, "parallel": config.flag("use_parallel_residual", True)}


def _neox_biases(config: Config) -> tuple[str, ...]:
    attention = _ATTENTION if config.flag("attention_bias", True) else ()
    return (*attention, "gate", "down", *_NORMS)


def _stablelm_biases(config: Config) -> tuple[str, ...]:
    return (("q", "k", "v") if config.flag("use_qkv_bias") else ()) + _NORMS


def _starcoder2_biases(config: Config) -> tuple[str, ...]:
    return ((*_ATTENTION, "gate", "down") if config.flag("use_bias", True) else ()) + _NORMS


_GEMMA = Family(
    gain_offset=1.0,
    activation="gelu_tanh",
    biases=_attention_biases,
    recipe=_gemma_scale,
    defaults={"tie_word_embeddings": True, "head_dim": 256, "rms_norm_eps": 1e-6},
)
_GEMMA2 = dataclasses.replace(
    _GEMMA,
    places=names.GEMMA_NORMS,
    features=_gemma_caps,
    recipe=_gemma2_recipe,
    has_window=lambda config, layer: layer % 2 == 0,
    defaults={
        **_GEMMA.defaults,
        "sliding_window": 4096,
        "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0,
    },
)
_GEMMA3 = dataclasses.replace(
    _GEMMA2,
    prefixes=("model.", "language_model.model.", "model.language_model."),
    text_config=True,
    other_parts=(
        "vision_tower.",
        "multi_modal_projector.",
        "model.vision_tower.",
        "model.multi_modal_projector.",
    ),
    features=lambda config: {**_gemma_caps(config), "head_norm": "head"},
    has_window=lambda config, layer: bool(
        (layer + 1)
        % config.whole(
            "sliding_window_pattern" if config.has("sliding_window_pattern") else "_pattern", 6
        )
    ),
    local_rope=True,
    must_be={"use_bidirectional_attention": False},
    defaults={**_GEMMA.defaults, "sliding_window": 4096, "rope_theta": 1e6},
)
_OLMO2 = Family(
    places=names.OLMO_NORMS,
    biases=_attention_biases,
    features=lambda config: {"pre_norm": False, "post_norm": True, "head_norm": "all"},
    must_be={"clip_qkv": None},
    defaults={"rms_norm_eps": 1e-5},
)
_COHERE = Family(
    keys={"rms_norm_eps": "layer_norm_eps"},
    layer_norm=True,
    one_norm=lambda config: True,
    interleaved=True,
    biases=_attention_biases,
    features=lambda config: {"parallel": True},
    recipe=lambda config: {"logit_scale": config.factor("logit_scale", 0.0625)},
    must_be={"use_qk_norm": False},
    defaults={"tie_word_embeddings": True, "rms_norm_eps": 1e-5},
)
_QWEN2 = Family(biases=lambda config: ("q", "k", "v"), has_window=_qwen_window)
_GRANITE_MOE = Family(
    places=names.GRANITE_MOE,
    biases=_attention_biases,
    recipe=_granite_recipe,
    features=_granite_moe_features,
)

FAMILIES: Mapping[str, Family] = {
    "llama": Family(biases=_llama_biases),
    "mistral": Family(has_window=_always, defaults={"sliding_window": None}),
    "qwen2": _QWEN2,
    "qwen3": dataclasses.replace(
        _QWEN2,
        biases=_attention_biases,
        features=lambda config: {"head_norm": "head"},
        defaults={"head_dim": 128},
    ),
    "smollm3": Family(
        biases=_llama_biases,
        has_window=lambda config, layer: (
            config.flag("use_sliding_window") and not _smollm3_rope(config, layer, False)
        ),
        has_rope=_smollm3_rope,
        defaults={"tie_word_embeddings": True, "rope_theta": 2e6},
    ),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA3,
    "gemma3": _GEMMA3,
    "olmo2": _OLMO2,
    "olmo3": dataclasses.replace(
        _OLMO2,
        has_window=lambda config, layer: bool((layer + 1) % 4),
        local_rope=True,
        defaults={**_OLMO2.defaults, "sliding_window": 4096},
    ),
    "granite": Family(biases=_llama_biases, recipe=_granite_recipe),
    "granitemoe": _GRANITE_MOE,
    "granitemoeshared": _GRANITE_MOE,
    "mixtral": Family(
        places=names.MIXTRAL,
        features=lambda config: _experts(config, experts_normalized=True),
        has_window=_always,
        defaults={"sliding_window": None, "rope_theta": 1e6, "rms_norm_eps": 1e-5},
    ),
    "qwen2_moe": Family(
        places=names.QWEN_MOE,
        biases=lambda config: ("q", "k", "v") if config.flag("qkv_bias", True) else (),
        features=_qwen2_moe_features,
        has_window=_qwen2_moe_window,
    ),
    "qwen3_moe": Family(
        places=names.QWEN_MOE,
        biases=_attention_biases,
        features=lambda config: {"head_norm": "head", **_qwen_experts(config)},
        has_window=lambda config, layer: config.flag("use_sliding_window"),
    ),
    "olmoe": Family(
        places=names.QWEN_MOE,
        biases=_attention_biases,
        features=_olmoe_features,
        must_be={"clip_qkv": None},
    ),
    "flex_olmo": dataclasses.replace(
        _OLMO2,
        places={**names.OLMO_NORMS, **names.QWEN_MOE},
        features=lambda config: {**_OLMO2.features(config), **_olmoe_features(config)},
        defaults={"rms_norm_eps": 1e-6, "rope_theta": 5e5},
    ),
    "phi3": Family(
        places=names.PHI3,
        has_window=_always,
        defaults={"rms_norm_eps": 1e-5, "sliding_window": None},
    ),
    "phi": Family(
        keys={"rms_norm_eps": "layer_norm_eps"},
        places=names.PHI,
        layer_norm=True,
        biases=lambda config: (*_ATTENTION, "gate", "down", "head", *_NORMS),
        features=lambda config: {"gated": False, "parallel": True},
        one_norm=lambda config: True,
        must_be={"qk_layernorm": False},
        defaults={
            "rms_norm_eps": 1e-5,
            "partial_rotary_factor": 0.5,
            "hidden_act": "gelu_new",
        },
    ),
    "stablelm": Family(
        keys={"rms_norm_eps": "layer_norm_eps"},
        layer_norm=True,
        biases=_stablelm_biases,
        features=lambda config: {"parallel": config.flag("use_parallel_residual")},
        one_norm=lambda config: config.flag("use_parallel_residual"),
        must_be={"qk_layernorm": False},
        defaults={"rms_norm_eps": 1e-5, "partial_rotary_factor": 0.25},
    ),
    "starcoder2": Family(
        keys={"rms_norm_eps": "norm_epsilon"},
        places=names.STARCODER2,
        layer_norm=True,
        biases=_starcoder2_biases,
        features=lambda config: {"gated": False},
        has_window=_always,
        must_be={"mlp_type": "default", "norm_type": "layer_norm"},
        defaults={
            "rms_norm_eps": 1e-5,
            "hidden_act": "gelu_pytorch_tanh",
            "tie_word_embeddings": True,
            "sliding_window": None,
        },
    ),
    "cohere": _COHERE,
    "cohere2": dataclasses.replace(
        _COHERE,
        has_window=lambda config, layer: bool(
            (layer + 1) % config.whole("sliding_window_pattern", 4)
        ),
        has_rope=lambda config, layer, has_window: has_window,
        defaults={**_COHERE.defaults, "sliding_window": 4096, "head_dim": 128},
    ),
    "gpt_neox": Family(
        keys={
            "rms_norm_eps": "layer_norm_eps",
            "rope_theta": "rotary_emb_base",
            "partial_rotary_factor": "rotary_pct",
        },
        places=names.GPT_NEOX,
        prefixes=("gpt_neox.",),
        buffers=("attention.rotary_emb.inv_freq", "attention.bias", "attention.masked_bias"),
        layer_norm=True,
        biases=_neox_biases,
        features=_neox_features,
        defaults={
            "rms_norm_eps": 1e-5,
            "partial_rotary_factor": 0.25,
            "hidden_act": "gelu",
        },
    ),
    "gpt2": Family(
        keys={
            "hidden_size": "n_embd",
            "num_hidden_layers": "n_layer",
            "num_attention_heads": "n_head",
            "intermediate_size": "n_inner",
            "max_position_embeddings": "n_positions",
            "rms_norm_eps": "layer_norm_epsilon",
            "hidden_act": "activation_function",
        },
        places=names.GPT2,
        prefixes=("transformer.", ""),
        layers="h",
        buffers=("attn.bias", "attn.masked_bias"),
        layer_norm=True,
        biases=lambda config: (*_ATTENTION, "gate", "down", *_NORMS),
        features=lambda config: {"gated": False, "learned_positions": True, "rope_tables": 0},
        has_rope=lambda config, layer, has_window: False,
        inner_factor=4,
        must_be={
            "scale_attn_weights": True,
            "scale_attn_by_inverse_layer_idx": False,
            "add_cross_attention": False,
        },
        defaults={
            "rms_norm_eps": 1e-5,
            "hidden_act": "gelu_new",
            "tie_word_embeddings": True,
        },
    ),
}
"""By the `model_type` of config.json."""
