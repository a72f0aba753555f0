"""The range coder in C (engine/native/range_coder.c): it leaves Python to other threads meanwhile.

It writes and reads the same bytes as `plain_coder`. Threads that share a coder wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.engine.native_core import address, check, core
from llmzip.exclusive import new_lock

_WORD_BITS = 32
_WHOLE = (1 << 64) - 1


def _state(point: int = 0, words: int = 0) -> npt.NDArray[np.uint64]:
    """Lower end, range, words so far, point: see native.h."""
    return np.array([0, _WHOLE, words, point], np.uint64)


def _tables(frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.uint32]:
    frequencies = np.ascontiguousarray(frequencies)
    if frequencies.dtype == np.int32:  # of a device: the numbers fit either
        return frequencies.view(np.uint32)
    return frequencies.astype(np.uint32, copy=False)


class Encoder:
    """Symbols -> an interval."""

    def __init__(self) -> None:
        self._core, self._lock = core(), new_lock()
        self._state = _state()
        self._words = np.empty(256, np.uint32)
        self._places = address(self._state), address(self._words)

    def encode(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """Append symbols [N] with their tables [N, n]. Raises ValueError."""
        symbols, tables = np.ascontiguousarray(symbols, np.int32), _tables(frequencies)
        if symbols.shape != tables.shape[:1] or tables.ndim != 2:
            raise ValueError(f"symbols of shape {symbols.shape} for tables of {tables.shape}")
        with self._lock:
            needed = int(self._state[2]) + len(symbols)
            if needed > len(self._words):
                more = np.empty(2 * needed, np.uint32)
                more[: len(self._words)] = self._words
                self._words = more
                self._places = address(self._state), address(more)
            arrays = address(symbols), address(tables)
            check(self._core.range_encode(*self._places, *arrays, *tables.shape))

    def interval(self) -> tuple[int, int, int]:
        """Its lower end, its width, and how many bytes those numbers have; the symbols are any
        number inside.
        """
        with self._lock:
            lower, width, count, _ = self._state.tolist()
            words = self._words[:count].astype(">u4").tobytes()
        return int.from_bytes(words, "big") << 64 | lower, width, len(words) + 8


class Decoder:
    """Words -> symbols."""

    def __init__(self, words: npt.NDArray[np.uint32]) -> None:
        """words: at least two."""
        self._core, self._lock = core(), new_lock()
        self._words = np.ascontiguousarray(words, np.uint32)
        self._state = _state(int(words[0]) << _WORD_BITS | int(words[1]), 2)
        self._places = address(self._state), address(self._words), len(words)

    def decode(self, frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.int32] | None:
        """The next N symbols, given their tables [N, n]; None where the words cannot have come from
        them.
        """
        tables = _tables(frequencies)
        symbols = np.empty(len(tables), np.int32)
        arrays = address(tables), *tables.shape, address(symbols)
        with self._lock:
            known = self._core.range_decode(*self._places, *arrays)
        return symbols if known == len(tables) else None


class Decoders:
    """See `coding.in_turn.Decoders`: all of them in one call."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self._decoders = decoders  # who own what the addresses below are of
        states, words, lengths = zip(*(decoder._places for decoder in decoders), strict=True)
        self._core, self._lock = core(), new_lock()
        self._arrays = (
            np.array(states, np.uintp),
            np.array(words, np.uintp),
            np.array(lengths, np.int32),
            *np.zeros((2, len(decoders)), np.int32),  # first rows, how many
        )
        self._known = np.zeros(len(decoders), np.int32)
        self._places = (*map(address, self._arrays), len(decoders))

    def decode(
        self, parts: Sequence[slice], frequencies: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int32], list[int]]:
        """See `coding.in_turn.Decoders.decode`."""
        tables = _tables(frequencies)
        symbols = np.zeros(len(tables), np.int32)
        with self._lock:
            *_, firsts, counts = self._arrays
            firsts[:] = [part.start for part in parts]
            counts[:] = [part.stop - part.start for part in parts]
            arrays = address(tables), tables.shape[1], address(symbols), address(self._known)
            self._core.range_decode_parts(*self._places, *arrays)
            failed: list[int] = np.flatnonzero(self._known != counts).tolist()
        for number in failed:
            symbols[parts[number]] = 0
        return symbols, failed
