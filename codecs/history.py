"""What lies before a block, for the copies in it: the same bytes for encoder and decoder (docs/format.md, "copies")."""

from __future__ import annotations

REACH = 1 << 26
"""How many bytes before its block a copy may reach."""


class History:
    """The last `REACH` bytes before a block: of the reference text, where there is one, and of the frame."""

    def __init__(self, first: bytes = b"") -> None:
        """first: what lies before the frame's first block."""
        self._bytes = bytearray(first[-REACH:])
        self.end = len(self._bytes)
        """The place of the next byte, counted from the first that has ever been held."""

    def __len__(self) -> int:
        """How many bytes can be reached."""
        return min(len(self._bytes), REACH)

    def extend(self, data: bytes) -> None:
        """The next block's bytes are history now."""
        self._bytes += data
        self.end += len(data)
        if len(self._bytes) > 2 * REACH:  # seldom, because it moves all that stays
            del self._bytes[:-REACH]

    def last(self, size: int) -> bytes:
        """Its last `size` bytes."""
        return bytes(self._bytes[len(self._bytes) - size :])
