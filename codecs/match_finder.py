"""Finds long-distance matches: where the bytes of a block occur before, in the block itself or in
its history.

An index holds every window of `WINDOW` bytes whose position is a multiple of `WINDOW`; the windows
at all positions of the block are looked up in it (Bentley and McIlroy 1999). A repeat of 2 · WINDOW
− 1 bytes and more holds one that is found.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from llmzip.codecs.history import History

WINDOW = 32
"""Bytes; a power of two."""

_CANDIDATES = 4
"""How many of the latest occurrences are compared."""

_FACTOR = 0x9E3779B97F4A7C15
_CHUNK = 1 << 20  # positions that are looked up at once: it bounds the memory
_FILTER_BITS = 4  # the filter has 2^4 entries per window, so that few others pass it
_FIRST_STEP, _LAST_STEP = 1 << 6, 1 << 16  # bytes compared at once

ByteArray = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]


class Match(NamedTuple):
    """Literals, then bytes equal to those `offset` bytes before: a sequence, as zstd calls it."""

    literal_length: int
    """Bytes between the match before and this one."""
    match_length: int
    offset: int
    """At least 1; where it is less than `match_length`, the match repeats what it has begun
    with.
    """


class MatchFinder:
    """Finds the matches in one block after the other of a frame."""

    def __init__(self, history: History) -> None:
        """history: what lies before the next block; the caller extends it."""
        self.history = history
        self._hashes: Hashes = np.empty(0, np.uint64)  # ascending
        # As the history counts; those of equal hashes ascending.
        self._positions: Positions = np.empty(0, np.int64)

    def find(
        self, data: bytes, min_match: int = WINDOW, min_match_with_zeros: int = WINDOW
    ) -> list[Match]:
        """Matches of at least `min_match` bytes, or so many where there is a zero byte in them, in
        order.

        The search is greedy from the left; below `WINDOW` bytes it finds nothing.
        """
        start = len(self.history)
        text = self.history.last(start) + data
        if len(text) <= WINDOW:
            return []
        octets = np.frombuffer(text, np.uint8)
        origin = self.history.end - start
        self._index(octets, origin)
        matches: list[Match] = []
        end, offset = start, 0  # where the match before ends, and its offset
        for positions, low, high in self._known_windows(octets, start, origin):
            i = 0
            while (i := bisect.bisect_left(positions, end, i)) < len(positions):
                position = positions[i]
                stop = low[i] + int(
                    self._positions[low[i] : high[i]].searchsorted(position + origin)
                )
                sources = (
                    self._positions[max(low[i], stop - _CANDIDATES) : stop] - origin
                ).tolist()
                if offset:
                    sources.append(position - offset)
                length, ahead, source = max(
                    _common_around(octets, text, position, s, end) for s in sources
                )
                begin = position + ahead - length
                needed = (
                    min_match_with_zeros
                    if text.find(0, begin, position + ahead) >= 0
                    else min_match
                )
                if length < needed:  # on with the next window that reaches beyond this match
                    i = bisect.bisect_left(positions, position + max(ahead - WINDOW, 0) + 1, i)
                    continue
                offset = position - source
                matches.append(Match(begin - end, length, offset))
                end = position + ahead
        return matches

    def _index(self, octets: ByteArray, origin: int) -> None:
        """Make the index hold the windows of a text that begins at position `origin`."""
        # Not what never became history.
        kept = (self._positions >= origin) & (self._positions + WINDOW <= self.history.end)
        hashes, positions = self._hashes[kept], self._positions[kept]
        first = int(positions.max()) + WINDOW if len(positions) else -(-origin // WINDOW) * WINDOW
        count = max(origin + len(octets) - first, 0) // WINDOW
        rows = octets[first - origin :][: count * WINDOW].reshape(count, WINDOW)
        step = _CHUNK // WINDOW
        hashes = np.concatenate(
            [hashes, *(_hashes_of_rows(rows[i : i + step]) for i in range(0, count, step))]
        )
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._positions = np.concatenate([positions, first + WINDOW * np.arange(count)])[order]

    def _known_windows(
        self, octets: ByteArray, start: int, origin: int
    ) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """Windows of a text that the index has from before: [position], and where the index has
        them: [low], [high].

        In chunks, from position `start` on.
        """
        shift = np.uint64(64 - (len(self._hashes) << _FILTER_BITS).bit_length())
        present = np.zeros(1 << (64 - int(shift)), bool)
        present[self._hashes >> shift] = True
        for first in range(start, len(octets) - WINDOW + 1, _CHUNK):
            hashes = _rolling_hashes(octets[first : first + _CHUNK + WINDOW - 1])
            positions = np.flatnonzero(present[hashes >> shift])
            hashes = hashes[positions]
            positions += first
            low = np.minimum(self._hashes.searchsorted(hashes), len(self._hashes) - 1)
            known = (self._hashes[low] == hashes) & (self._positions[low] < positions + origin)
            high = self._hashes.searchsorted(hashes[known], side="right")
            yield positions[known].tolist(), low[known].tolist(), high.tolist()


def _rolling_hashes(octets: ByteArray) -> Hashes:
    """The hash of the window at each position: Σ byte · FACTOR^(WINDOW − 1 − i) modulo 2^64.

    Each step makes those of windows that are twice as wide.
    """
    hashes = octets.astype(np.uint64)
    width, factor = 1, _FACTOR
    while width < WINDOW:
        hashes = hashes[:-width] * np.uint64(factor) + hashes[width:]
        width, factor = 2 * width, factor * factor % (1 << 64)
    return hashes


def _hashes_of_rows(rows: ByteArray) -> Hashes:
    """The same hash of whole windows: [n, WINDOW] -> [n]."""
    hashes = rows.astype(np.uint64)
    factor = _FACTOR
    while hashes.shape[1] > 1:
        hashes = hashes[:, 0::2] * np.uint64(factor) + hashes[:, 1::2]
        factor = factor * factor % (1 << 64)
    return hashes[:, 0]


def _common_around(
    octets: ByteArray, text: bytes, position: int, source: int, end: int
) -> tuple[int, int, int]:
    """How many bytes around `position` are as those around `source`, how many of them from there
    on, and the source.

    They begin at `end` at the earliest. The longest match is the greatest; of equal ones the
    nearest.
    """
    if source < 0:
        return 0, 0, source
    ahead = _common_ahead(octets, text, position, source)
    back = (
        _common_back(octets, position, source, min(position - end, source))
        if ahead >= WINDOW
        else 0
    )
    return back + ahead, ahead, source


def _common_ahead(octets: ByteArray, text: bytes, position: int, source: int) -> int:
    """How many bytes from `position` on are as those from `source` on."""
    done, limit, step = 0, len(text) - position, _FIRST_STEP
    while done < limit:
        size = min(step, limit - done)
        here, there = position + done, source + done
        if text[here : here + size] != text[there : there + size]:
            different = octets[here : here + size] != octets[there : there + size]
            return done + int(different.argmax())
        done += size
        step = min(2 * step, _LAST_STEP)
    return limit


def _common_back(octets: ByteArray, position: int, source: int, limit: int) -> int:
    """How many bytes before `position` are as those before `source`, up to `limit`."""
    done, step = 0, _FIRST_STEP
    while done < limit:
        size = min(step, limit - done)
        here, there = position - done, source - done
        different = np.flatnonzero(octets[here - size : here] != octets[there - size : there])
        if len(different):
            return done + size - 1 - int(different[-1])
        done += size
        step = min(2 * step, _LAST_STEP)
    return limit
