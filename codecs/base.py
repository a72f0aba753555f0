"""What a block codec is: an id on the wire, and bytes -> payload -> the same bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Progress = Callable[[int, int], None]
"""Called with the uncompressed bytes and the tokens of a block that are done."""


class BlockCodec(Protocol):
    """One codec; docs/format.md lists the ids."""

    id: int
    name: str

    def encode(self, data: bytes) -> bytes:
        """The payload for a block of at least one byte."""
        ...

    def decode(self, payload: bytes, size: int) -> bytes:
        """The block of `size` bytes. Raises IntegrityError or FormatError where the payload does not yield it."""
        ...
