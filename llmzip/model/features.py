"""What a decoder has beyond the plain Llama decoder, as data (docs/arithmetic.md, section 2.6).

An engine looks at these once, when it loads a model. A model without features is described without
them, so that its specification, and with it its fingerprint, is that of a plain decoder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from llmzip.errors import UnsupportedModelError
from llmzip.model.files import shown

ACTIVATIONS = ("silu", "gelu_tanh", "gelu_erf")
HEAD_NORMS = ("none", "head", "all")
BIASES = ("down", "gate", "head", "k", "o", "q", "up")
"""The matrices that may have a bias; that of values is folded into that of `o`."""

MAX_ROPE_TABLES = 4
NO_ROPE = -1
"""Stands for a rotary table in a layer without rotary positions."""

_OF_LAYERS = ("layer_rope", "layer_window", "layer_experts")
"""The lists that have an entry for each layer, or none."""

MIN_CAP, MAX_CAP = 2.0**-6, 2.0**16

MAX_EXPERTS = 1 << 10  # so that no weight of the likeliest expert is rounded to 0
MAX_EXPERT_WIDTH = 1 << 17

WIDE_PRODUCTS = ("q", "o", "gate", "down")
"""The products of a layer whose inputs may have 16 bits, by their first matrix: `q` with k and v
(and in parallel with gate and up), `gate` with up.
"""


@dataclasses.dataclass(frozen=True)
class Features:
    """See the module; the defaults are the plain decoder's."""

    activation: str = "silu"
    """One of `ACTIVATIONS`."""
    gated: bool = True
    """Whether the MLP multiplies what is activated by a second product, `up`."""
    parallel: bool = False
    """Whether attention and the MLP both read the layer's input."""
    pre_norm: bool = True
    """Whether attention and the MLP read a normalized vector."""
    post_norm: bool = False
    """Whether what they give is normalized before it is added."""
    head_norm: str = "none"
    """One of `HEAD_NORMS`: queries and keys are normalized, each head or all heads together."""
    biases: tuple[str, ...] = ()
    """A sorted subset of `BIASES`."""
    attention_cap: float = 0.0
    """Scores are kept within ± this by a tanh, in bits, rounded to float32; 0: they are not."""
    logit_cap: float = 0.0
    """The same of logits."""
    learned_positions: bool = False
    """Whether each position adds a vector of its own to the embedding."""
    rope_tables: int = 1
    layer_rope: tuple[int, ...] = ()
    """Of each layer the number of its rotary table, or NO_ROPE. Empty: 0 everywhere."""
    layer_window: tuple[int, ...] = ()
    """Of each layer how many positions it sees, its own included; 0: all. Empty: 0 everywhere."""
    model_rotation: int = 0
    """Block size of the rotation of the residual stream, a power of two; 0: `rotation_size`'s."""
    rotated_keys: bool = False
    """Whether queries and keys are rotated within heads before they are rounded."""
    wide_inputs: tuple[str, ...] = ()
    """The products whose inputs have 16 bits, `layers.3.down`: by layers, then in the order of
    `WIDE_PRODUCTS`.
    """
    experts: int = 0
    """How many experts a layer has in the place of its MLP; 0: none."""
    experts_used: int = 0
    """How many of them each position passes."""
    expert_ff: int = 0
    """The inner width of each."""
    experts_normalized: bool = False
    """Whether the weights of those that a position passes add up to 1."""
    shared_ff: int = 0
    """The inner width of one more expert, which every position passes; 0: there is none."""
    shared_weighted: bool = False
    """Whether that one has a weight, too; else it counts 1."""
    layer_experts: tuple[int, ...] = ()
    """Of each layer 1 if it has experts, 0 if it has one MLP. Empty: 1 everywhere."""

    def __post_init__(self) -> None:
        """Refuse what docs/arithmetic.md, 2.6, does not allow: UnsupportedModelError."""
        for name in ("biases", "wide_inputs", *_OF_LAYERS):  # JSON has lists
            value = getattr(self, name)
            if not isinstance(value, (list, tuple)):
                raise _refused(name, value)
            object.__setattr__(self, name, tuple(value))
        for name, allowed in (("activation", ACTIVATIONS), ("head_norm", HEAD_NORMS)):
            if getattr(self, name) not in allowed:
                raise _refused(name, getattr(self, name))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if type(field.default) is bool and type(value) is not bool:
                raise _refused(field.name, value)
        for name in ("attention_cap", "logit_cap"):
            value = getattr(self, name)
            if type(value) is not float or not (value == 0.0 or MIN_CAP <= value <= MAX_CAP):
                raise _refused(name, value)
        if self.biases != tuple(name for name in BIASES if name in self.biases):
            raise _refused("biases", self.biases)
        if type(self.rope_tables) is not int or not 0 <= self.rope_tables <= MAX_ROPE_TABLES:
            raise _refused("rope_tables", self.rope_tables)
        if not all(type(n) is int and NO_ROPE <= n < self.rope_tables for n in self.layer_rope):
            raise _refused("layer_rope", self.layer_rope)
        if not all(type(n) is int and 0 <= n < 1 << 31 for n in self.layer_window):
            raise _refused("layer_window", self.layer_window)
        if type(self.model_rotation) is not int or not 0 <= self.model_rotation <= 1 << 17:
            raise _refused("model_rotation", self.model_rotation)
        if not all(isinstance(name, str) for name in self.wide_inputs):
            raise _refused("wide_inputs", self.wide_inputs)
        if not self.layer_rope and not self.rope_tables:
            raise _refused("rope_tables", self.rope_tables)
        if not self.pre_norm and not self.post_norm:  # nothing would bound the residual vector
            raise _refused("pre_norm", self.pre_norm)
        if (self.parallel and self.post_norm) or ("up" in self.biases and not self.gated):
            raise UnsupportedModelError(
                "model specification: parallel attention with norms behind it, or a bias of a "
                "matrix that is not there, is not supported"
            )
        self._check_experts()

    def _check_experts(self) -> None:
        for name, most in (
            ("experts", MAX_EXPERTS),
            ("experts_used", self.experts),
            ("expert_ff", MAX_EXPERT_WIDTH),
            ("shared_ff", MAX_EXPERT_WIDTH),
        ):
            value, least = getattr(self, name), 0 if name == "shared_ff" else min(self.experts, 1)
            if type(value) is not int or not least <= value <= (most if self.experts else 0):
                raise _refused(name, value)
        if self.shared_weighted and not self.shared_ff:
            raise _refused("shared_weighted", self.shared_weighted)
        if self.experts_normalized and not self.experts:
            raise _refused("experts_normalized", self.experts_normalized)
        if not all(type(n) is int and 0 <= n <= min(self.experts, 1) for n in self.layer_experts):
            raise _refused("layer_experts", self.layer_experts)
        if self.experts and (self.parallel or {"gate", "up", "down"} & {*self.biases}):
            raise UnsupportedModelError(
                "model specification: experts beside attention in parallel, or with biases, "
                "are not supported"
            )

    def has_experts(self, layer: int) -> bool:
        """Whether a layer has experts in the place of its MLP."""
        return bool(self.layer_experts[layer] if self.layer_experts else self.experts)

    def parts_of(self, layer: int) -> tuple[str, ...]:
        """The matrices of a layer."""
        attention, mlp = ("q", "k", "v", "o"), ("gate", *(("up",) if self.gated else ()), "down")
        if not self.has_experts(layer):
            return attention + mlp
        shared = tuple(f"shared_{part}" for part in mlp) if self.shared_ff else ()
        weighted = ("shared_router",) if self.shared_weighted else ()
        return (*attention, "router", *(f"experts_{part}" for part in mlp), *shared, *weighted)

    def rope_of(self, layer: int) -> int:
        """The number of a layer's rotary table, or NO_ROPE."""
        return self.layer_rope[layer] if self.layer_rope else 0

    def window_of(self, layer: int) -> int:
        """How many positions a layer sees, its own included; 0: all."""
        return self.layer_window[layer] if self.layer_window else 0

    def wide_of(self, layer: int) -> tuple[str, ...]:
        """The products of a layer whose inputs have 16 bits."""
        return tuple(part for part in WIDE_PRODUCTS if f"layers.{layer}.{part}" in self.wide_inputs)

    def changes(self) -> dict[str, Any]:
        """What differs from the plain decoder, by name, as JSON has it."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }

    @classmethod
    def from_changes(cls, changes: Mapping[str, Any]) -> Features:
        """The features with these `changes`. Raises TypeError for unknown names,
        UnsupportedModelError for values that are not allowed.
        """
        return cls(**changes)


PLAIN = Features()
"""The Llama decoder."""


def rope_names(tables: int) -> list[str]:
    """The names of the tensors with rotary tables."""
    return ["rope", *(f"rope.{i}" for i in range(1, tables))][:tables]


def checked_layers(features: Features, layers: int) -> None:
    """Refuse lists that do not have an entry for each layer, and names of what is not there:
    UnsupportedModelError.
    """
    for name in _OF_LAYERS:
        if len(getattr(features, name)) not in (0, layers):
            raise UnsupportedModelError(
                f"model specification: {name} of {len(getattr(features, name))} for {layers} layers"
            )
    wide = {*features.wide_inputs}
    if features.wide_inputs != tuple(n for n in wide_names(features, layers) if n in wide):
        raise _refused("wide_inputs", features.wide_inputs)


def wide_names(features: Features, layers: int) -> list[str]:
    """All products that `wide_inputs` may name, in its order."""
    found = []
    for layer in range(layers):
        without = {"gate"} if features.parallel else set()
        without |= {"gate", "down"} if features.has_experts(layer) else set()
        found += [f"layers.{layer}.{part}" for part in WIDE_PRODUCTS if part not in without]
    return found


def narrowed_cap(cap: float, log2_e: float) -> float:
    """A soft cap of logits as `attention_cap` and `logit_cap` have it: in bits, float32."""
    import numpy as np

    with np.errstate(over="ignore"):  # is refused
        return float(np.float32(cap * log2_e)) if math.isfinite(cap) else cap


def _refused(name: str, value: object) -> UnsupportedModelError:
    return UnsupportedModelError(f"model specification: {name} is {shown(value)}: not supported")
