"""Which tokens are scored with which context: spans of a token sequence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

BPC_WINDOW, BPC_STRIDE = 1900, 512
"""The protocol of "Compression represents intelligence linearly" (arXiv 2404.09937, section
3.2).
"""


@dataclasses.dataclass(frozen=True)
class Span:
    """Tokens begin ... end - 1 are read; of these, scored ... end - 1 are scored."""

    begin: int
    scored: int
    end: int

    @property
    def length(self) -> int:
        """The number of tokens that are read."""
        return self.end - self.begin


def segments(count: int, length: int) -> list[Span]:
    """Independent segments of `length` tokens, the last one shorter; every token is scored once."""
    return [Span(begin, begin, min(begin + length, count)) for begin in range(0, count, length)]


def sliding(count: int, window: int = BPC_WINDOW, stride: int = BPC_STRIDE) -> list[Span]:
    """Windows that move by `stride`; each scores the tokens that no earlier one has, the last one
    included.

    >>> sliding(7, window=4, stride=2)
    [Span(begin=0, scored=0, end=4), Span(begin=2, scored=4, end=6), Span(begin=4, scored=6, end=7)]
    """
    spans, done, begin = [], 0, 0
    while done < count:
        end = min(begin + window, count)
        spans.append(Span(begin, done, end))
        done, begin = end, begin + stride
    return spans


def with_context(targets: Sequence[tuple[int, int]], context: int) -> list[Span]:
    """The same targets [start, end) with `context` tokens before them, whatever else the text
    has.
    """
    return [Span(start - context, start, end) for start, end in targets]
