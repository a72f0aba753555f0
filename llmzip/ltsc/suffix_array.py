"""Suffix arrays by prefix doubling (Manber and Myers 1993), and the repeats that they show."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmzip.types import Int64Array


class Repeat(NamedTuple):
    """A sub-sequence that occurs more than once and cannot be extended to the right without losing
    an occurrence.
    """

    length: int
    first: int
    stop: int
    """Its occurrences begin at `order[first:stop]`."""


def suffix_array(ids: npt.NDArray[np.integer]) -> tuple[Int64Array, Int64Array]:
    """The order of the suffixes of ids [n], and the length of the common prefix of each with the
    next: [n], [n - 1].

    O(n log² n) with numpy's sorts, as many of them as doublings of the longest repeat.
    """
    size = len(ids)
    # 0 is beyond the end.
    ranks = [np.unique(ids, return_inverse=True)[1].astype(np.int64).reshape(size) + 1]
    order = np.argsort(ranks[0], kind="stable")
    width = 1
    while ranks[-1].max(initial=0) < size:
        rank = ranks[-1]
        follows = np.zeros(size, np.int64)
        follows[: max(size - width, 0)] = rank[width:]
        keys = rank * (size + 1) + follows
        order = np.argsort(keys, kind="stable")
        ordered = keys[order]
        doubled = np.empty(size, np.int64)
        doubled[order] = np.cumsum(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        ranks.append(doubled)
        width *= 2
    return order, _common_prefixes(order, ranks)


def _common_prefixes(order: Int64Array, ranks: list[Int64Array]) -> Int64Array:
    """By the ranks of prefixes of 2^k tokens, from the longest to the shortest."""
    here, there = order[:-1], order[1:]
    lengths = np.zeros(max(len(order) - 1, 0), np.int64)
    for k in reversed(range(len(ranks))):
        padded = np.append(ranks[k], 0)
        left, right = (np.minimum(position + lengths, len(order)) for position in (here, there))
        lengths += (padded[left] == padded[right]).astype(np.int64) << k
    return lengths


def repeats(lengths: Int64Array) -> list[Repeat]:
    """All repeats, given the common prefixes of neighbors [n - 1]: fewer than n."""
    found: list[Repeat] = []
    open_: list[tuple[int, int]] = []  # length and first position, both rising
    for position, length in enumerate([*lengths.tolist(), 0]):
        first = position
        while open_ and open_[-1][0] > length:
            longer, first = open_.pop()
            found.append(Repeat(longer, first, position + 1))
        if length and (not open_ or open_[-1][0] < length):
            open_.append((length, first))
    return found
