"""The decoder specification: everything about a model's shape that its arithmetic needs, as plain
data.
"""

from __future__ import annotations

import dataclasses
import json

from llmzip.errors import FormatError, UnsupportedModelError
from llmzip.model.features import PLAIN, Features, checked_layers
from llmzip.model.files import shown

ARITHMETIC_VERSION = 1
"""Version of docs/arithmetic.md; part of every fingerprint, so a change of arithmetic is a change
of model.
"""

MAX_EXACT_ROTATION = 512  # 32767 * 512 < 2**24: the rotation's sums stay exact in float32

MAX_LAYERS = 256
MAX_WIDTH = 1 << 17  # 128 * 127 * 2**17 < 2**31: a product's sums fit int32
MAX_HEAD_DIM = 1040  # 127 * 127 * 1040 < 2**24: a score stays exact in float32
MAX_POSITIONS = 1 << 17  # 127 * (2**16 + 2**17 / 2) < 2**24: so does what attention sums up
MAX_VOCAB = 1 << 20  # at most 2**16 buckets, and far from it
MIN_NORM_EPS, MAX_NORM_EPS = 2.0**-60, 1.0


_MAX_ROTARY_NUMBERS = 1 << 24  # of a converted model's table: seconds to compute


def usable_positions(published: int, head_dim: int) -> int:
    """How many positions a converted model has (docs/arithmetic.md, section 3)."""
    return max(1, min(published, MAX_POSITIONS, _MAX_ROTARY_NUMBERS // head_dim))


def rotation_size(width: int, limit: int) -> int:
    """The largest power of two that divides `width` and is at most `limit`."""
    return min(width & -width, limit)


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """Shape of one decoder (docs/arithmetic.md, section 2).

    `start_token` is fed before a stream's first token. `escape_token` never stands for text: coding
    it announces one raw byte (docs/format.md, "Tokens").
    """

    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    vocab: int
    max_positions: int
    norm_eps: float
    start_token: int
    escape_token: int
    features: Features = PLAIN

    def __post_init__(self) -> None:
        """Refuse what docs/arithmetic.md, section 2.5, does not allow: UnsupportedModelError."""
        for name, most in _MOST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise UnsupportedModelError(
                    f"model specification: {name} is {shown(value)}, not from 1 to {most:,}"
                )
        if self.heads * self.head_dim > MAX_WIDTH:
            raise UnsupportedModelError(
                f"model specification: {self.heads} heads of {self.head_dim} are "
                f"wider than {MAX_WIDTH:,}"
            )
        if self.heads % self.kv_heads:
            raise UnsupportedModelError(
                f"model specification: {self.heads} heads do not share {self.kv_heads} key heads"
            )
        if self.head_dim % 2:
            raise UnsupportedModelError(f"model specification: odd head size {self.head_dim}")
        if type(self.norm_eps) is not float or not MIN_NORM_EPS <= self.norm_eps <= MAX_NORM_EPS:
            raise UnsupportedModelError(
                f"model specification: norm_eps is {shown(self.norm_eps)}, "
                f"not from 2^-60 to {MAX_NORM_EPS:g}"
            )
        for name in ("start_token", "escape_token"):
            value = getattr(self, name)
            if type(value) is not int or not 0 <= value < self.vocab:
                raise UnsupportedModelError(
                    f"model specification: {name} {shown(value)} "
                    f"is outside the vocabulary of {self.vocab}"
                )
        checked_layers(self.features, self.layers)
        if rotation := self.features.model_rotation:
            limit = MAX_EXACT_ROTATION if self.features.post_norm else MAX_WIDTH
            if rotation & (rotation - 1) or self.d_model % rotation or rotation > limit:
                raise UnsupportedModelError(
                    f"model specification: model_rotation is {rotation}: not a power of two that "
                    f"divides {self.d_model} and is at most {limit:,}"
                )

    @property
    def is_plain(self) -> bool:
        """Whether it computes as the Llama decoder does, without further features: how much of the
        residual vector is rotated together makes no difference.
        """
        return dataclasses.replace(self.features, model_rotation=0) == PLAIN

    @property
    def model_rotation(self) -> int:
        """Block size of the Hadamard rotation of the residual stream."""
        return self.features.model_rotation or rotation_size(self.d_model, 64)

    @property
    def head_rotation(self) -> int:
        """Block size of the Hadamard rotation of values inside a head."""
        return rotation_size(self.head_dim, 64)

    @property
    def mlp_rotation(self) -> int:
        """Block size of the Hadamard rotation of the MLP's inner vector."""
        return rotation_size(self.d_ff, MAX_EXACT_ROTATION)

    @property
    def key_rotation(self) -> int:
        """Block size of the Hadamard rotation of queries and keys inside a head; 1: none."""
        size = rotation_size(self.head_dim, MAX_EXACT_ROTATION)
        return size if self.features.rotated_keys else 1

    @property
    def expert_rotation(self) -> int:
        """Block size of the Hadamard rotation of each expert's inner vector."""
        return rotation_size(self.features.expert_ff, MAX_EXACT_ROTATION)

    @property
    def shared_rotation(self) -> int:
        """The same of the shared expert's."""
        return rotation_size(self.features.shared_ff, MAX_EXACT_ROTATION)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the integer weights, without scales and tables."""
        features, heads = self.features, 2 * (self.heads + self.kv_heads) * self.head_dim
        with_experts = sum(features.has_experts(layer) for layer in range(self.layers))
        matrices = 2 + features.gated
        widths = (
            self.layers * heads
            + (self.layers - with_experts) * matrices * self.d_ff
            + with_experts * matrices * (features.experts * features.expert_ff + features.shared_ff)
            + with_experts * (features.experts + features.shared_weighted)
        )
        positions = self.max_positions if features.learned_positions else 0
        return (widths + 2 * self.vocab + positions) * self.d_model

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no spaces. It is hashed into the fingerprint."""
        described = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del described["features"]
        if self.features != PLAIN:
            described["features"] = self.features.changes()
        return json.dumps(described, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The specification written by `to_json`. Raises FormatError for anything else."""
        try:
            described = json.loads(text)
            if "features" in described:
                described["features"] = Features.from_changes(described["features"])
            return cls(**described)
        except (TypeError, ValueError, RecursionError) as error:
            raise FormatError(f"not a model specification: {error}") from error


_MOST = {
    "layers": MAX_LAYERS,
    "d_model": MAX_WIDTH,
    "heads": MAX_WIDTH,
    "kv_heads": MAX_WIDTH,
    "head_dim": MAX_HEAD_DIM,
    "d_ff": MAX_WIDTH,
    "vocab": MAX_VOCAB,
    "max_positions": MAX_POSITIONS,
}
