"""The text as characters, in cells: the smallest runs of parts that begin and end between
characters.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.types import Int64Array

_ESCAPED = 0xDC80, 0xDCFF
"""How Python's surrogateescape carries bytes that are no UTF-8."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """A text for a page, whose strings are UTF-16."""

    units: npt.NDArray[np.uint16]
    """The text as UTF-16; a byte b that is no UTF-8 is the lone surrogate DC00 + b."""
    starts: Int64Array
    """The first unit of each cell, [n]."""
    parts: Int64Array
    """The first part of each cell, [n]."""
    _byte_starts: Int64Array
    _unit_starts: Int64Array

    def unit_at(self, positions: Int64Array) -> Int64Array:
        """The units of these bytes of the text, or of the first characters behind them."""
        found: Int64Array = self._unit_starts[np.searchsorted(self._byte_starts, positions)]
        return found


def cells_of(text: bytes, sizes: list[int]) -> Cells:
    """The cells of a text whose parts have these sizes in bytes."""
    decoded = text.decode("utf-8", "surrogateescape")
    points = np.frombuffer(decoded.encode("utf-32-le", "surrogatepass"), "<u4")
    units = np.frombuffer(decoded.encode("utf-16-le", "surrogatepass"), "<u2")
    is_byte = (points < 0x80) | ((points >= _ESCAPED[0]) & (points <= _ESCAPED[1]))
    lengths = np.where(is_byte, 1, 2 + (points >= 0x800) + (points >= 0x10000).astype(np.int64))
    # One more than there are characters: the end.
    byte_starts = np.concatenate([[0], np.cumsum(lengths)])
    unit_starts = np.concatenate([[0], np.cumsum(1 + (points >= 0x10000).astype(np.int64))])
    begins = np.cumsum([0, *sizes[:-1]]) if sizes else np.empty(0, np.int64)
    places = np.searchsorted(byte_starts, begins)
    between = byte_starts[places] == begins
    return Cells(
        units.astype(np.uint16),
        unit_starts[places[between]],
        np.flatnonzero(between),
        byte_starts,
        unit_starts,
    )
