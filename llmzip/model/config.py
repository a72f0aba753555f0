"""A config.json of Hugging Face's transformers: its values by kind, and what it calls things."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llmzip.errors import UnsupportedModelError
from llmzip.model.files import shown
from llmzip.model.float_model import Metadata

ACTIVATIONS: Mapping[str, str] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu_erf",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}
"""What configurations call an activation -> what it is here."""


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
