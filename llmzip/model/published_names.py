"""Where a family of decoders keeps each tensor: names, stacked and transposed matrices.

Canonical names are those of `float_model`; a layer's parts are named without the layer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a matrix lies, alone or stacked with others by rows."""

    name: str
    """With `{}` for an expert's number, where each has a tensor of its own."""
    stack: tuple[str, ...] = ()
    """The canonical parts in the published matrix, in order; empty: it is alone."""
    by_head: bool = False
    """Whether the stack is made within each head."""
    transposed: bool = False
    """Whether it is published as [inputs, outputs]."""
    by_expert: bool = False
    """Whether the matrices of all experts are one tensor, [experts, outputs, inputs]."""


LLAMA: Mapping[str, Place] = {
    "embedding": Place("embed_tokens"),
    "norm": Place("norm"),
    "attention_norm": Place("input_layernorm"),
    "mlp_norm": Place("post_attention_layernorm"),
    "q": Place("self_attn.q_proj"),
    "k": Place("self_attn.k_proj"),
    "v": Place("self_attn.v_proj"),
    "o": Place("self_attn.o_proj"),
    "q_norm": Place("self_attn.q_norm"),
    "k_norm": Place("self_attn.k_norm"),
    "gate": Place("mlp.gate_proj"),
    "up": Place("mlp.up_proj"),
    "down": Place("mlp.down_proj"),
}

GEMMA_NORMS: Mapping[str, Place] = {
    "mlp_norm": Place("pre_feedforward_layernorm"),
    "attention_post_norm": Place("post_attention_layernorm"),
    "mlp_post_norm": Place("post_feedforward_layernorm"),
}

OLMO_NORMS: Mapping[str, Place] = {
    "attention_post_norm": Place("post_attention_layernorm"),
    "mlp_post_norm": Place("post_feedforward_layernorm"),
}

_QKV = ("q", "k", "v")

PHI3: Mapping[str, Place] = {
    **{part: Place("self_attn.qkv_proj", _QKV) for part in _QKV},
    **{part: Place("mlp.gate_up_proj", ("gate", "up")) for part in ("gate", "up")},
}

PHI: Mapping[str, Place] = {
    "norm": Place("final_layernorm"),
    "o": Place("self_attn.dense"),
    "gate": Place("mlp.fc1"),
    "down": Place("mlp.fc2"),
}

_GATED = ("gate", "up", "down")

QWEN_MOE: Mapping[str, Place] = {
    "router": Place("mlp.gate"),
    **{f"experts_{part}": Place(f"mlp.experts.{{}}.{part}_proj") for part in _GATED},
    "shared_router": Place("mlp.shared_expert_gate"),
    **{f"shared_{part}": Place(f"mlp.shared_expert.{part}_proj") for part in _GATED},
}

MIXTRAL: Mapping[str, Place] = {
    "router": Place("block_sparse_moe.gate"),
    "experts_gate": Place("block_sparse_moe.experts.{}.w1"),
    "experts_up": Place("block_sparse_moe.experts.{}.w3"),
    "experts_down": Place("block_sparse_moe.experts.{}.w2"),
}

_INPUTS = ("experts_gate", "experts_up"), ("shared_gate", "shared_up")

GRANITE_MOE: Mapping[str, Place] = {
    "router": Place("block_sparse_moe.router.layer"),
    **{
        part: Place("block_sparse_moe.input_linear", _INPUTS[0], by_expert=True)
        for part in _INPUTS[0]
    },
    "experts_down": Place("block_sparse_moe.output_linear", by_expert=True),
    **{part: Place("shared_mlp.input_linear", _INPUTS[1]) for part in _INPUTS[1]},
    "shared_down": Place("shared_mlp.output_linear"),
}

STARCODER2: Mapping[str, Place] = {"gate": Place("mlp.c_fc"), "down": Place("mlp.c_proj")}

GPT_NEOX: Mapping[str, Place] = {
    "embedding": Place("embed_in"),
    "norm": Place("final_layer_norm"),
    "head": Place("embed_out"),
    **{part: Place("attention.query_key_value", _QKV, by_head=True) for part in _QKV},
    "o": Place("attention.dense"),
    "gate": Place("mlp.dense_h_to_4h"),
    "down": Place("mlp.dense_4h_to_h"),
}

GPT2: Mapping[str, Place] = {
    "embedding": Place("wte"),
    "positions": Place("wpe"),
    "norm": Place("ln_f"),
    "attention_norm": Place("ln_1"),
    "mlp_norm": Place("ln_2"),
    **{part: Place("attn.c_attn", _QKV, transposed=True) for part in _QKV},
    "o": Place("attn.c_proj", transposed=True),
    "gate": Place("mlp.c_fc", transposed=True),
    "down": Place("mlp.c_proj", transposed=True),
}


def taken(
    array: Floats, place: Place, part: str, sizes: Mapping[str, int], head_dim: int
) -> Floats:
    """A part of a published tensor, or all of it: a matrix, or its bias.

    sizes: rows of each canonical part. An array that has not the rows of its stack comes back as it
    is: whoever asked refuses its shape.
    """
    if place.transposed and array.ndim == 2:
        array = array.T
    if not place.stack or len(array) != sum(sizes[one] for one in place.stack):
        return array
    if place.by_head:
        heads = array.reshape(-1, len(place.stack), head_dim, *array.shape[1:])
        found = heads[:, place.stack.index(part)]
        return np.ascontiguousarray(found).reshape(-1, *array.shape[1:])
    first = sum(sizes[one] for one in place.stack[: place.stack.index(part)])
    return array[first : first + sizes[part]]


def split_halves(array: Floats, head_dim: int) -> Floats:
    """Rows of heads whose neighbors turn together -> rows that turn with those half a head away."""
    if len(array) % head_dim:
        return array  # refused by whoever asked
    pairs = array.reshape(-1, head_dim // 2, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)
