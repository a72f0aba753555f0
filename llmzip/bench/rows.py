"""What is found: a row for each way of compression, with what was measured and what the whole file
would take.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from llmzip.bench.coded import Coded


@dataclasses.dataclass(frozen=True)
class Row:
    """One way of compression."""

    name: str
    """As it is asked for: `llmzip -6`, `xz:preset=9`."""
    level: int | None
    """Of llmzip; None for a codec."""
    model: str | None
    coded: Coded
    """What was coded and decoded."""
    compressed_bytes: int
    """Of the whole file, as the rest."""
    compression_seconds: float
    decompression_seconds: float
    memory: int | None
    """Bytes that decoding takes at most, as a file's header states them, without the model; None
    for codecs.
    """
    size_error: float = 0.0
    """How far off `compressed_bytes` is, relative, about: one standard deviation of the forecast; 0
    where all was coded, and of codecs, whose samples are most of a file.
    """
    on_front: bool = False
    """Whether no other row needs less of one of bytes and both times, and no more of the rest."""

    @property
    def costs(self) -> tuple[float, float, float]:
        """What is better the smaller it is."""
        return self.compressed_bytes, self.compression_seconds, self.decompression_seconds


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found of one file."""

    filename: str
    bytes: int
    sample_bytes: int
    """What levels have coded: pieces, evenly spread over the file."""
    pieces: int
    rows: tuple[Row, ...]
    left_out: tuple[str, ...]
    """What was not measured, with the reason."""


def marked(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows by falling size of the file, those on the front marked."""
    ordered = sorted(rows, key=lambda row: (-row.compressed_bytes, row.name))
    return tuple(
        dataclasses.replace(row, on_front=not any(_beats(other, row) for other in rows))
        for row in ordered
    )


def _beats(other: Row, row: Row) -> bool:
    return other.costs != row.costs and all(
        theirs <= its for theirs, its in zip(other.costs, row.costs, strict=True)
    )
