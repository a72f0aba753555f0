"""The families of decoders that llmzip computes exactly, as data: what in a config.json means which
feature (docs/arithmetic.md, section 3.9).

A family is a row of `FAMILIES`. What a row does not say is as in Llama.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmzip.arithmetic.constants import LOG2_E
from llmzip.errors import UnsupportedModelError
from llmzip.model import published_names as names
from llmzip.model.features import NO_ROPE, narrowed_cap
from llmzip.model.files import shown
from llmzip.model.float_model import Metadata
from llmzip.model.published_names import Place
from llmzip.model.spec import MAX_LAYERS

ACTIVATIONS: Mapping[str, str] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
"""What configurations call an activation -> what it is here."""

_ATTENTION, _MLP = ("q", "k", "v", "o"), ("gate", "up", "down")
_NORMS = ("attention_norm", "mlp_norm", "norm")


class Config(Metadata):
    """A config.json."""

    def flag(self, key: str, default: bool = False) -> bool:
        """A truth value. Raises UnsupportedModelError for anything else."""
        value = self._value(key, default)
        if type(value) is not bool:
            raise UnsupportedModelError(f"{key} is {shown(value)}: not understood")
        return value

    def list_of(
        self, key: str, kinds: tuple[type, ...], length: int | None = None
    ) -> Sequence[Any] | None:
        """A list of so many, or however many, or None where there is none. Raises
        UnsupportedModelError.
        """
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(one) in kinds for one in value):
            raise UnsupportedModelError(f"{key} is {shown(value)}: not understood")
        if length is not None and len(value) < length:
            raise UnsupportedModelError(f"{key} has {len(value)} entries for {length} layers")
        return value[:length]

    def count(self, key: str, default: int) -> int:
        """A whole number that may be 0. Raises UnsupportedModelError for anything else."""
        value = self._value(key, default)
        if type(value) is not int or not 0 <= value < 1 << 31:
            raise UnsupportedModelError(f"{key} is {shown(value)}: not understood")
        return value

    def factor(self, key: str, default: float) -> float:
        """A positive number from 2^-20 to 2^20. Raises UnsupportedModelError for anything else."""
        value = self.number(key, default)
        if not 2.0**-20 <= value <= 2.0**20:
            raise UnsupportedModelError(f"{key} is {value!r}: not from 2^-20 to 2^20")
        return value

    def has(self, key: str) -> bool:
        """Whether there is a value that is not null."""
        return self._values.get(key) is not None


def _no_biases(config: Config) -> tuple[str, ...]:
    return ()


def _llama_biases(config: Config) -> tuple[str, ...]:
    attention, mlp = config.flag("attention_bias"), config.flag("mlp_bias")
    return (_ATTENTION if attention else ()) + (_MLP if mlp else ())


def _attention_biases(config: Config) -> tuple[str, ...]:
    return _ATTENTION if config.flag("attention_bias") else ()


def _nothing(config: Config) -> dict[str, Any]:
    return {}


def _never(config: Config, layer: int) -> bool:
    return False


def _always(config: Config, layer: int) -> bool:
    return True


@dataclasses.dataclass(frozen=True)
class Family:
    """How one model_type differs from Llama."""

    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """What it calls a key of Llama's config.json."""
    defaults: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What holds where config.json does not say it."""
    places: Mapping[str, Place] = dataclasses.field(default_factory=dict)
    prefixes: tuple[str, ...] = ("model.",)
    """What may stand before the names of tensors other than the head's."""
    layers: str = "layers"
    text_config: bool = False
    """Whether the decoder may be described by `text_config`."""
    layer_norm: bool = False
    """Whether norms subtract the mean."""
    gain_offset: float = 0.0
    """What is added to the gains of norms."""
    interleaved: bool = False
    """Whether the neighbors of a head turn together, rather than its halves."""
    activation: str | None = None
    """The only activation, whatever config.json says."""
    must_be: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Keys that have this value or are missing; another is a feature that is not covered."""
    biases: Callable[[Config], tuple[str, ...]] = _no_biases
    features: Callable[[Config], dict[str, Any]] = _nothing
    """Changes of `Features`."""
    recipe: Callable[[Config], dict[str, Any]] = _nothing
    """Changes of `Recipe`."""
    slides: Callable[[Config, int], bool] = _never
    """Whether a layer has the window `sliding_window`, where there is no `layer_types`."""
    turns: Callable[[Config, int, bool], bool] = lambda config, layer, slides: True
    """Whether a layer has rotary positions; slides: whether it has a window."""
    one_norm: Callable[[Config], bool] = lambda config: False
    """Whether attention and the MLP share a norm."""
    inner_factor: int | None = None
    """The MLP's width in model widths, where config.json does not say it."""
    local_rope: bool = False
    """Whether layers with a window have a rotary table of their own."""
    buffers: tuple[str, ...] = ("self_attn.rotary_emb.inv_freq",)
    """What older programs published of a layer beside its weights: it follows from config.json."""
    other_parts: tuple[str, ...] = ()
    """How the names of tensors begin that belong to another part than the decoder of text."""


def _qwen_slides(config: Config, layer: int) -> bool:
    return config.flag("use_sliding_window") and layer >= config.count("max_window_layers", 28)


def _qwen2_moe_slides(config: Config, layer: int) -> bool:
    below = layer < config.count("max_window_layers", 28)
    return config.flag("use_sliding_window") and below and bool((layer + 1) % 2)


def _smollm3_turns(config: Config, layer: int, slides: bool) -> bool:
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
    slides=lambda config, layer: layer % 2 == 0,
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
    slides=lambda config, layer: bool(
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
_QWEN2 = Family(biases=lambda config: ("q", "k", "v"), slides=_qwen_slides)
_GRANITE_MOE = Family(
    places=names.GRANITE_MOE,
    biases=_attention_biases,
    recipe=_granite_recipe,
    features=_granite_moe_features,
)

FAMILIES: Mapping[str, Family] = {
    "llama": Family(biases=_llama_biases),
    "mistral": Family(slides=_always, defaults={"sliding_window": None}),
    "qwen2": _QWEN2,
    "qwen3": dataclasses.replace(
        _QWEN2,
        biases=_attention_biases,
        features=lambda config: {"head_norm": "head"},
        defaults={"head_dim": 128},
    ),
    "smollm3": Family(
        biases=_llama_biases,
        slides=lambda config, layer: (
            config.flag("use_sliding_window") and not _smollm3_turns(config, layer, False)
        ),
        turns=_smollm3_turns,
        defaults={"tie_word_embeddings": True, "rope_theta": 2e6},
    ),
    "gemma": _GEMMA,
    "gemma2": _GEMMA2,
    "gemma3_text": _GEMMA3,
    "gemma3": _GEMMA3,
    "olmo2": _OLMO2,
    "olmo3": dataclasses.replace(
        _OLMO2,
        slides=lambda config, layer: bool((layer + 1) % 4),
        local_rope=True,
        defaults={**_OLMO2.defaults, "sliding_window": 4096},
    ),
    "granite": Family(biases=_llama_biases, recipe=_granite_recipe),
    "granitemoe": _GRANITE_MOE,
    "granitemoeshared": _GRANITE_MOE,
    "mixtral": Family(
        places=names.MIXTRAL,
        features=lambda config: _experts(config, experts_normalized=True),
        slides=_always,
        defaults={"sliding_window": None, "rope_theta": 1e6, "rms_norm_eps": 1e-5},
    ),
    "qwen2_moe": Family(
        places=names.QWEN_MOE,
        biases=lambda config: ("q", "k", "v") if config.flag("qkv_bias", True) else (),
        features=_qwen2_moe_features,
        slides=_qwen2_moe_slides,
    ),
    "qwen3_moe": Family(
        places=names.QWEN_MOE,
        biases=_attention_biases,
        features=lambda config: {"head_norm": "head", **_qwen_experts(config)},
        slides=lambda config, layer: config.flag("use_sliding_window"),
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
        slides=_always,
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
        slides=_always,
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
        slides=lambda config, layer: bool((layer + 1) % config.whole("sliding_window_pattern", 4)),
        turns=lambda config, layer, slides: slides,
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
        turns=lambda config, layer, slides: False,
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


def layer_features(
    family: Family, config: Config, layers: int, positions: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of each layer the rotary table, 0 or with a table of their own 1 for layers with a window, or
    NO_ROPE; and the window, 0 where it hides nothing.
    """
    kinds = config.list_of("layer_types", (str,), layers)
    window = config.count("sliding_window", 0)
    ropes, windows = [], []
    for layer in range(layers):
        if kinds is None:
            slides = bool(window) and family.slides(config, layer)
        elif kinds[layer] in ("sliding_attention", "full_attention"):
            slides = kinds[layer] == "sliding_attention"
        else:
            raise UnsupportedModelError(f"layers of the type {shown(kinds[layer])}")
        if slides and not window:
            raise UnsupportedModelError("layers with a window, but no sliding_window")
        turns = family.turns(config, layer, slides)
        ropes.append((int(slides and family.local_rope)) if turns else NO_ROPE)
        windows.append(window if slides and window < positions else 0)
    return tuple(ropes), tuple(windows)
