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
from llmzip.model.rotary import Rotary
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What conversion must know of a published decoder beside its features (docs/arithmetic.md,
    section 3.9).
    """

    layer_norm: bool = False
    """Whether norms subtract the mean."""
    biases: frozenset[str] = frozenset()
    """The matrices and norms that have a bias: `q`, `v`, `attention_norm`, `norm`, `head`, ..."""
    query_scale: float | None = None
    """By which scores are multiplied; None: 1 / sqrt(head size)."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """Of what attention and the MLP give."""
    logit_scale: float = 1.0
    rotary: tuple[Rotary, ...] = ()
    """Of each rotary table."""

    def folded_biases(self, gated: bool) -> tuple[str, ...]:
        """The matrices that have a bias once those of norms and of values are folded into them."""
        sources = {
            "q": {"q", "attention_norm"},
            "k": {"k", "attention_norm"},
            "o": {"o", "v", "attention_norm"},
            "gate": {"gate", "mlp_norm"},
            "up": {"up", "mlp_norm"} if gated else set(),
            "down": {"down"},
            "head": {"head", "norm"},
        }
        return tuple(sorted(part for part, of in sources.items() if of & self.biases))


PLAIN_RECIPE = Recipe()


@dataclasses.dataclass(frozen=True)
class FloatModel:
    """One float model: its specification, vocabulary, and arrays on demand."""

    spec: ModelSpec
    rope_theta: float
    """The rotary base of the first table."""
    vocabulary: Vocabulary
    tensor: Callable[[str], npt.NDArray[np.floating]]
    """Canonical name -> float32 array, float64 where an adapter has changed it."""
    recipe: Recipe = PLAIN_RECIPE

    def __post_init__(self) -> None:
        """Refuse a rotary base that makes no table: UnsupportedModelError."""
        if self.spec.features.rope_tables and not self.recipe.rotary:
            Rotary(self.rope_theta, self.spec.head_dim)

    @property
    def rotary(self) -> tuple[Rotary, ...]:
        """Of each rotary table."""
        if self.recipe.rotary or not self.spec.features.rope_tables:
            return self.recipe.rotary
        return (Rotary(self.rope_theta, self.spec.head_dim),)

    def names(self) -> list[str]:
        """The canonical names of all tensors."""
        features = self.spec.features
        norms = ["attention_norm", "mlp_norm"] if features.pre_norm else []
        norms += ["attention_post_norm", "mlp_post_norm"] if features.post_norm else []
        norms += ["q_norm", "k_norm"] if features.head_norm != "none" else []
        found = ["embedding", "norm", "head"]
        found += ["positions"] if features.learned_positions else []
        biases = self.recipe.biases
        found += [f"{part}.bias" for part in ("norm", "head") if part in biases]
        for layer in range(self.spec.layers):
            parts = [*features.parts_of(layer), *norms]
            parts += [f"{part}.bias" for part in parts if part in biases]
            for part in parts:
                numbers = range(features.experts) if part.startswith("experts_") else [None]
                found += [expert_name(f"layers.{layer}.{part}", number) for number in numbers]
        return found


def expert_name(name: str, number: int | None) -> str:
    """`layers.3.experts_up`, 7 -> `layers.3.experts_up.7`, what one of the experts has of a part;
    None: the part of a layer that has only one of it.
    """
    return name if number is None else f"{name}.{number}"


def layer_name(name: str) -> tuple[str, str]:
    """`layers.3.q` -> (`3`, `q`), `layers.3.q.bias` -> (`3`, `q.bias`)."""
    _, index, part = name.split(".", 2)
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
