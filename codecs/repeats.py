"""Finds long repeats: where the bytes of a block occur before, in the block itself or in its history.

An index holds every window of `WINDOW` bytes whose place is a multiple of `WINDOW`; the windows at all places of the block are
looked up in it (Bentley and McIlroy 1999). A repeat of 2 · WINDOW − 1 bytes and more holds one that is found.
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
_CHUNK = 1 << 20  # places that are looked up at once: it bounds the memory
_FILTER_BITS = 4  # the filter has 2^4 places per window, so that few others pass it
_FIRST_PIECE, _LAST_PIECE = 1 << 6, 1 << 16  # bytes compared at once

ByteArray = npt.NDArray[np.uint8]
Hashes = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]


class Copy(NamedTuple):
    """Bytes of a block that are those `distance` bytes before them."""

    gap: int
    """Bytes between the copy before and this one."""
    length: int
    distance: int
    """At least 1; where it is less than `length`, the copy repeats what it has begun with."""


class RepeatFinder:
    """Finds the repeats in one block after the other of a frame."""

    def __init__(self, history: History) -> None:
        """history: what lies before the next block; the caller extends it."""
        self.history = history
        self._hashes: Hashes = np.empty(0, np.uint64)  # ascending
        self._places: Places = np.empty(0, np.int64)  # in the history's count; those of equal hashes ascending

    def find(self, data: bytes, shortest: int = WINDOW, shortest_with_zeros: int = WINDOW) -> list[Copy]:
        """Copies of at least `shortest` bytes, or so many where there is a zero byte in them, in order; greedy from the left.

        None is found below `WINDOW`.
        """
        start = len(self.history)
        text = self.history.last(start) + data
        if len(text) <= WINDOW:
            return []
        octets = np.frombuffer(text, np.uint8)
        origin = self.history.end - start
        self._index(octets, origin)
        copies: list[Copy] = []
        end, distance = start, 0  # where the copy before ends, and how far it reaches
        for places, low, high in self._known_windows(octets, start, origin):
            i = 0
            while (i := bisect.bisect_left(places, end, i)) < len(places):
                place = places[i]
                stop = low[i] + int(self._places[low[i] : high[i]].searchsorted(place + origin))
                sources = (self._places[max(low[i], stop - _CANDIDATES) : stop] - origin).tolist()
                if distance:
                    sources.append(place - distance)
                length, ahead, source = max(_match(octets, text, place, s, end) for s in sources)
                begin = place + ahead - length
                needed = shortest_with_zeros if text.find(0, begin, place + ahead) >= 0 else shortest
                if length < needed:  # on with the next window that reaches beyond this match
                    i = bisect.bisect_left(places, place + max(ahead - WINDOW, 0) + 1, i)
                    continue
                distance = place - source
                copies.append(Copy(begin - end, length, distance))
                end = place + ahead
        return copies

    def _index(self, octets: ByteArray, origin: int) -> None:
        """Make the index hold the windows of a text that begins at place `origin`."""
        kept = (self._places >= origin) & (self._places + WINDOW <= self.history.end)  # not what never became history
        hashes, places = self._hashes[kept], self._places[kept]
        first = int(places.max()) + WINDOW if len(places) else -(-origin // WINDOW) * WINDOW
        count = max(origin + len(octets) - first, 0) // WINDOW
        rows = octets[first - origin :][: count * WINDOW].reshape(count, WINDOW)
        step = _CHUNK // WINDOW
        hashes = np.concatenate([hashes, *(_hashes_of_rows(rows[i : i + step]) for i in range(0, count, step))])
        order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[order]
        self._places = np.concatenate([places, first + WINDOW * np.arange(count)])[order]

    def _known_windows(
        self, octets: ByteArray, start: int, origin: int
    ) -> Iterator[tuple[list[int], list[int], list[int]]]:
        """Per chunk: the places from `start` on whose windows the index has from before, and between where it has them."""
        shift = np.uint64(64 - (len(self._hashes) << _FILTER_BITS).bit_length())
        present = np.zeros(1 << (64 - int(shift)), bool)
        present[self._hashes >> shift] = True
        for first in range(start, len(octets) - WINDOW + 1, _CHUNK):
            hashes = _rolling_hashes(octets[first : first + _CHUNK + WINDOW - 1])
            places = np.flatnonzero(present[hashes >> shift])
            hashes = hashes[places]
            places += first
            low = np.minimum(self._hashes.searchsorted(hashes), len(self._hashes) - 1)
            known = (self._hashes[low] == hashes) & (self._places[low] < places + origin)
            high = self._hashes.searchsorted(hashes[known], side="right")
            yield places[known].tolist(), low[known].tolist(), high.tolist()


def _rolling_hashes(octets: ByteArray) -> Hashes:
    """Of the window at each place: Σ byte · FACTOR^(WINDOW − 1 − i) modulo 2^64, twice as wide with each step."""
    hashes = octets.astype(np.uint64)
    width, factor = 1, _FACTOR
    while width < WINDOW:
        hashes = hashes[:-width] * np.uint64(factor) + hashes[width:]
        width, factor = 2 * width, factor * factor % (1 << 64)
    return hashes


def _hashes_of_rows(rows: ByteArray) -> Hashes:
    """The same of whole windows: [n, WINDOW] -> [n]."""
    hashes = rows.astype(np.uint64)
    factor = _FACTOR
    while hashes.shape[1] > 1:
        hashes = hashes[:, 0::2] * np.uint64(factor) + hashes[:, 1::2]
        factor = factor * factor % (1 << 64)
    return hashes[:, 0]


def _match(octets: ByteArray, text: bytes, place: int, source: int, end: int) -> tuple[int, int, int]:
    """How many bytes around `place` are as those around `source`, how many of them from there on, and the source.

    The match reaches back to `end` at most. The longest match is the greatest; of equal ones the nearest.
    """
    if source < 0:
        return 0, 0, source
    ahead = _common_ahead(octets, text, place, source)
    back = _common_back(octets, place, source, min(place - end, source)) if ahead >= WINDOW else 0
    return back + ahead, ahead, source


def _common_ahead(octets: ByteArray, text: bytes, place: int, source: int) -> int:
    """How many bytes from `place` on are as those from `source` on."""
    done, most, piece = 0, len(text) - place, _FIRST_PIECE
    while done < most:
        size = min(piece, most - done)
        here, there = place + done, source + done
        if text[here : here + size] != text[there : there + size]:
            different = octets[here : here + size] != octets[there : there + size]
            return done + int(different.argmax())
        done += size
        piece = min(2 * piece, _LAST_PIECE)
    return most


def _common_back(octets: ByteArray, place: int, source: int, most: int) -> int:
    """How many bytes before `place` are as those before `source`, up to `most`."""
    done, piece = 0, _FIRST_PIECE
    while done < most:
        size = min(piece, most - done)
        here, there = place - done, source - done
        different = np.flatnonzero(octets[here - size : here] != octets[there - size : there])
        if len(different):
            return done + size - 1 - int(different[-1])
        done += size
        piece = min(2 * piece, _LAST_PIECE)
    return most
