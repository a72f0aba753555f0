"""A float model as published, whatever its format: named arrays, and what metadata say of them.

Names are canonical (`layers.3.q`, `embedding`, `head`, ...), matrices are [outputs, inputs]
float32, queries and keys are in the split-half rotary layout of Hugging Face.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.errors import UnsupportedModelError
from llmzip.model.files import shown
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary

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
GLOBAL_PARTS = {
    "embedding": ("token_embd", "model.embed_tokens"),
    "norm": ("output_norm", "model.norm"),
    "head": ("output", "lm_head"),
}

MIN_ROPE_THETA, MAX_ROPE_THETA = 1.0, 2.0**64
"""No frequency above one radian a position, and none that 192-bit numbers do not hold."""


@dataclasses.dataclass(frozen=True)
class FloatModel:
    """One float model: its specification, rotary base, vocabulary, and arrays on demand."""

    spec: ModelSpec
    rope_theta: float
    vocabulary: Vocabulary
    tensor: Callable[[str], npt.NDArray[np.floating]]
    """Canonical name -> float32 array, float64 where an adapter has changed it."""

    def __post_init__(self) -> None:
        """Refuse a rotary base that makes no table: UnsupportedModelError."""
        if not MIN_ROPE_THETA <= self.rope_theta <= MAX_ROPE_THETA:
            raise UnsupportedModelError(
                f"rotary base {self.rope_theta!r}: not from {MIN_ROPE_THETA:g} to 2^64"
            )

    def names(self) -> list[str]:
        """The canonical names of all tensors."""
        return [
            *GLOBAL_PARTS,
            *(f"layers.{i}.{part}" for i in range(self.spec.layers) for part in LAYER_PARTS),
        ]


def layer_name(name: str) -> tuple[str, str]:
    """`layers.3.q` -> (`3`, `q`)."""
    _, index, part = name.split(".")
    return index, part


class Metadata:
    """Values of a model's metadata by key, each of the type that is wanted. A value of null counts
    as missing.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def whole(self, key: str, default: int | None = None) -> int:
        """A positive whole number. Raises KeyError where it is missing, UnsupportedModelError for
        anything else.
        """
        value = self._value(key, default)
        if type(value) is not int or not 1 <= value < 1 << 31:
            raise UnsupportedModelError(
                f"{key} is {shown(value)}: not understood, a positive whole number is needed"
            )
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A number. Raises KeyError where it is missing, UnsupportedModelError for anything
        else.
        """
        value = self._value(key, default)
        if type(value) not in (int, float):
            raise UnsupportedModelError(
                f"{key} is {shown(value)}: not understood, a number is needed"
            )
        try:
            return float(value)
        except OverflowError as error:
            raise UnsupportedModelError(
                f"{key} is {shown(value)}: not understood: {error}"
            ) from error

    def narrow(self, key: str) -> float:
        """A number, rounded to float32."""
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float32(self.number(key)))

    def _value(self, key: str, default: Any) -> Any:
        value = self._values.get(key)
        if value is None and default is None:
            raise KeyError(key)
        return default if value is None else value
