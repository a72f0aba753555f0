"""The architectures of GGUF files as families of decoders: the same rows, under GGUF's keys and
names.

llama.cpp's converter has done some of what a row says: gains of 1 + w are stored as they are
multiplied, matrices are [outputs, inputs], and where llama.cpp turns pairs of neighbors, rows of
queries and keys lie so.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from llmzip.errors import UnsupportedModelError
from llmzip.model.families import FAMILIES
from llmzip.model.family import Family
from llmzip.model.files import shown
from llmzip.model.float_model import Metadata
from llmzip.model.published_names import Place
from llmzip.model.rotary import Divided
from llmzip.types import Float32Array


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One value of `general.architecture`."""

    model_type: str
    neighbors_turn: bool = False
    """Whether llama.cpp turns pairs of neighbors."""
    gated: bool = True
    stacked: bool = False
    """Whether queries, keys and values are one matrix."""
    normalized: bool | None = None
    """Whether weights of experts are normalized, which no key of the file says; None: the
    family has no such key, either.
    """


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture("llama", neighbors_turn=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "smollm3": Architecture("smollm3", neighbors_turn=True),
    "gemma": Architecture("gemma"),
    "gemma2": Architecture("gemma2"),
    "gemma3": Architecture("gemma3_text"),
    "granite": Architecture("granite", neighbors_turn=True),
    "qwen2moe": Architecture("qwen2_moe", normalized=False),
    "qwen3moe": Architecture("qwen3_moe", normalized=True),
    "olmoe": Architecture("olmoe", normalized=False),
    "granitemoe": Architecture("granitemoeshared", neighbors_turn=True),
    "olmo2": Architecture("olmo2"),
    "phi3": Architecture("phi3", stacked=True),
    "stablelm": Architecture("stablelm"),
    "starcoder2": Architecture("starcoder2", gated=False),
    "command-r": Architecture("cohere", neighbors_turn=True),
    "cohere2": Architecture("cohere2", neighbors_turn=True),
    "gptneox": Architecture("gpt_neox", gated=False, stacked=True),
    "gpt2": Architecture("gpt2", gated=False, stacked=True),
}

_PLACES: Mapping[str, str] = {
    "embedding": "token_embd",
    "positions": "position_embd",
    "norm": "output_norm",
    "head": "output",
    "attention_norm": "attn_norm",
    "mlp_norm": "ffn_norm",
    "attention_post_norm": "post_attention_norm",
    "mlp_post_norm": "post_ffw_norm",
    "q": "attn_q",
    "k": "attn_k",
    "v": "attn_v",
    "o": "attn_output",
    "q_norm": "attn_q_norm",
    "k_norm": "attn_k_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
    "router": "ffn_gate_inp",
    "experts_gate": "ffn_gate_exps",
    "experts_up": "ffn_up_exps",
    "experts_down": "ffn_down_exps",
    "shared_router": "ffn_gate_inp_shexp",
    "shared_gate": "ffn_gate_shexp",
    "shared_up": "ffn_up_shexp",
    "shared_down": "ffn_down_shexp",
}
_GLOBAL = ("embedding", "positions", "norm", "head")
ROTARY_TENSORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
"""By what frequencies are divided. The long factors are for texts beyond the original length."""

_KEYS: Mapping[str, str] = {
    "num_hidden_layers": "block_count",
    "hidden_size": "embedding_length",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "rope_theta": "rope.freq_base",
    "sliding_window": "attention.sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "use_parallel_residual": "use_parallel_residual",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "attention_multiplier": "attention.scale",
    "original_max_position_embeddings": "rope.scaling.original_context_length",
    "num_local_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
}
"""Keys of config.json -> GGUF's, behind the architecture's name."""

_27B_LAYERS = {"gemma2": 46, "gemma3": 62}
"""Of the one size of each whose scores are not divided by the root of the head size."""


def architecture_of(name: str, fields: Mapping[str, Any]) -> Architecture:
    """The architecture of a file with these fields."""
    found = ARCHITECTURES[name]
    if name == "olmo2" and f"{name}.attention.sliding_window" in fields:
        return dataclasses.replace(found, model_type="olmo3")
    if name == "llama" and fields.get("llama.expert_count"):
        return dataclasses.replace(found, model_type="mixtral")
    return found


def places_of(architecture: Architecture) -> dict[str, Place]:
    """Where the tensors lie."""
    places = {
        part: Place(name, by_expert=part.startswith("experts_")) for part, name in _PLACES.items()
    }
    if not architecture.gated:
        places["gate"] = Place("ffn_up")
    if architecture.stacked:
        places |= {part: Place("attn_qkv", ("q", "k", "v")) for part in "qkv"}
    if architecture.model_type == "phi3":
        places |= {part: Place("ffn_up", ("gate", "up")) for part in ("gate", "up")}
    return places


def family_of(architecture: Architecture, names: frozenset[str]) -> Family:
    """The family's row for a file with tensors of these names."""
    row, places = FAMILIES[architecture.model_type], places_of(architecture)

    biases = tuple(
        part
        for part, place in places.items()
        if f"{'' if part in _GLOBAL else 'blk.0.'}{place.name}.bias" in names
    )
    return dataclasses.replace(
        row,
        keys={},
        places=places,
        prefixes=("",),
        layers="blk",
        gain_offset=0.0,
        interleaved=architecture.neighbors_turn,
        biases=lambda config: biases,
    )


def config_of(
    name: str, fields: Mapping[str, Any], names: frozenset[str], load: Callable[[str], Float32Array]
) -> dict[str, Any]:
    """What config.json would say of a file with these fields and tensors, in Llama's words."""
    metadata, model_type = Metadata(fields), architecture_of(name, fields).model_type
    d_model = metadata.whole(f"{name}.embedding_length")
    heads = metadata.whole(f"{name}.attention.head_count")
    config: dict[str, Any] = {"model_type": model_type}
    for ours, theirs in _KEYS.items():
        if fields.get(f"{name}.{theirs}") is not None:
            config[ours] = fields[f"{name}.{theirs}"]
    for key in ("layer_norm_rms_epsilon", "layer_norm_epsilon"):
        if f"{name}.attention.{key}" in fields:
            config["rms_norm_eps"] = metadata.narrow(f"{name}.attention.{key}")
    config["tie_word_embeddings"] = "output.weight" not in names
    head_dim = metadata.whole(f"{name}.attention.key_length", max(d_model // heads, 1))
    config["head_dim"] = head_dim
    dims = metadata.whole(f"{name}.rope.dimension_count", head_dim)
    config["partial_rotary_factor"] = dims / head_dim
    if model_type in ("gemma2", "gemma3_text"):
        is_27b = config.get("num_hidden_layers") == _27B_LAYERS[name]
        config["query_pre_attn_scalar"] = d_model // heads if is_27b else head_dim
    if model_type == "gemma3_text":
        config["rope_local_base_freq"] = 1e4
    if model_type in ("cohere", "cohere2"):
        config["logit_scale"] = metadata.number(f"{name}.logit_scale")
    for key in ("shared_expert_intermediate_size", "shared_intermediate_size"):
        if f"{name}.expert_shared_feed_forward_length" in fields:
            config[key] = fields[f"{name}.expert_shared_feed_forward_length"]
    if (normalized := ARCHITECTURES[name].normalized) is not None:
        config["norm_topk_prob"] = normalized
        layers = min(metadata.whole(f"{name}.block_count"), len(names))
        config["mlp_only_layers"] = [
            i for i in range(layers) if f"blk.{i}.ffn_gate_inp.weight" not in names
        ]
    if model_type in ("granite", "granitemoeshared"):
        config["logits_scaling"] = metadata.number(f"{name}.logit_scale", 1.0)
        config.setdefault("attention_multiplier", 1.0 / head_dim**0.5)
    config["rope_parameters"] = _scaling(name, metadata, fields, names, load)
    return config


def _scaling(
    name: str,
    metadata: Metadata,
    fields: Mapping[str, Any],
    names: frozenset[str],
    load: Callable[[str], Float32Array],
) -> dict[str, Any]:
    """The rotary scaling; `rope_type` may be a `Divided`, which no config.json can hold."""
    kind = fields.get(f"{name}.rope.scaling.type", "none")
    for stored in ROTARY_TENSORS[:2]:
        if stored in names:
            divisors = np.asarray(load(stored), np.float64).ravel()
            found: dict[str, Any] = {"rope_type": Divided(tuple(divisors.tolist()))}
            if f"{name}.rope.scaling.attn_factor" in fields:
                found["attention_factor"] = metadata.number(f"{name}.rope.scaling.attn_factor")
            return found
    if kind in ("none", ""):
        return {}
    if kind not in ("linear", "yarn"):
        raise UnsupportedModelError(f"scaled rotary positions ({shown(kind)})")
    return {"rope_type": kind, "factor": metadata.number(f"{name}.rope.scaling.factor")}
