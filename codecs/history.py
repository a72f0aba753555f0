"""The bytes before a block, where its matches may begin: the same for encoder and decoder
(docs/format.md, "ldm").
"""

from __future__ import annotations

import bisect
from collections import deque

from llmzip.container.block import MAX_LOOKBACK

_PIECE = 1 << 20  # pieces are at least so large, so that there are few


class History:
    """The last `MAX_LOOKBACK` bytes before a block, and some more: of the dictionary, where there
    is one, and of the frame.

    They lie in pieces, so that nothing moves when more come, and a match costs its length, wherever
    it begins.
    """

    def __init__(self, first: bytes = b"") -> None:
        """first: what lies before the frame's first block."""
        self._pieces: deque[bytes | bytearray] = deque()
        # Of the pieces, counted from the first byte that has ever been held.
        self._starts: deque[int] = deque()
        self.end = 0
        """The position of the next byte, counted from the first that has ever been held."""
        self.extend(first[-MAX_LOOKBACK:])

    def __len__(self) -> int:
        """How many bytes before the next block a match can begin."""
        return min(self.end - self._starts[0], MAX_LOOKBACK) if self._starts else 0

    def extend(self, data: bytes) -> None:
        """The next block's bytes are history now."""
        if not data:
            return
        if (
            self._pieces
            and isinstance(self._pieces[-1], bytearray)
            and len(self._pieces[-1]) < _PIECE
        ):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data) if len(data) < _PIECE else data)
            self._starts.append(self.end)
        self.end += len(data)
        while self.end - self._starts[0] - len(self._pieces[0]) >= MAX_LOOKBACK:
            self._pieces.popleft()
            self._starts.popleft()

    def last(self, size: int) -> bytes:
        """Its last `size` bytes."""
        return self.between(self.end - size, self.end)

    def between(self, start: int, stop: int) -> bytes:
        """The bytes from position `start` to `stop` - 1, all of them held."""
        first = bisect.bisect_right(self._starts, start) - 1
        parts = []
        while start < stop:
            at = start - self._starts[first]
            parts.append(bytes(self._pieces[first][at : at + stop - start]))
            start += len(parts[-1])
            first += 1
        return b"".join(parts)
