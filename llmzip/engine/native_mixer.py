"""The mixer in C (native/mixing*.c): docs/arithmetic.md, section 6, one call per step of recall,
mix and learn, for one mixer or for several.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.engine.native_core import address, check, when_gone
from llmzip.engine.native_handle import MixingHandle
from llmzip.exclusive import new_lock
from llmzip.mixing.base import (
    MAX_CAPACITY_BITS,
    MIN_CAPACITY_BITS,
    MIXING_VERSION,
    ContextMixer,
    ContextMixers,
    Parts,
)
from llmzip.mixing.in_turn import MixersInTurn

MAX_VOCAB = 2**24 - 1
"""The matches' slots hold token + 1 in 24 bits."""


class NativeContextMixer:
    """See `ContextMixer`.

    Threads that share one disturb each other's steps, but cannot corrupt the process.
    """

    def __init__(
        self,
        handle: MixingHandle,
        capacity_bits: int,
        classes: npt.NDArray[np.uint8],
        version: int = MIXING_VERSION,
        pointer: int | None = None,
    ) -> None:
        """See `Engine.mixer`; classes: of all tokens, [vocab]; pointer: a mixer that the C core has
        already made.
        """
        spec, self._core = handle.spec, handle.core
        if not MIN_CAPACITY_BITS <= capacity_bits <= MAX_CAPACITY_BITS:
            raise ValueError(
                f"2**{capacity_bits} positions: "
                f"2**{MIN_CAPACITY_BITS} to 2**{MAX_CAPACITY_BITS} are possible"
            )
        if spec.vocab > MAX_VOCAB:
            raise ValueError(
                f"a vocabulary of {spec.vocab} tokens: the mixer takes at most {MAX_VOCAB}"
            )
        if classes.shape != (spec.vocab,):
            raise ValueError(f"classes of shape {classes.shape} for {spec.vocab} tokens")
        classes = np.ascontiguousarray(classes, np.uint8)
        if pointer is None:
            pointer = self._core.mixer_new(
                handle.group.pointer, capacity_bits, version, spec.start_token, address(classes)
            )
        if pointer is None:
            raise MemoryError(f"no memory for 2**{capacity_bits} positions to remember")
        self.capacity_bits, self.version = capacity_bits, version
        self._classes = classes
        self._handle, self._group = handle, handle.group
        self._pointer = pointer
        self._shape = 0, 0  # of the recalled tokens
        self._lock = new_lock()
        when_gone(self, self._core.mixer_free, pointer)

    def start(self, streams: int, context: npt.NDArray[np.int32]) -> None:
        """See `ContextMixer.start`."""
        context = np.ascontiguousarray(context, np.int32)
        with self._lock:
            group = self._handle.group
            check(
                self._core.mixer_start(
                    self._pointer, group.pointer, streams, address(context), len(context)
                )
            )
            self._group = group  # whose threads it now uses
            self._shape = 0, 0

    def recall(
        self, vectors: npt.NDArray[np.int8], top_tokens: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """See `ContextMixer.recall`."""
        return _NativeMixers([self]).recall([slice(0, len(vectors))], vectors, top_tokens)

    def mix(
        self, weights: npt.NDArray[np.int32], totals: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """See `ContextMixer.mix`."""
        return _NativeMixers([self]).mix([slice(0, len(weights))], weights, totals)

    def evidence(self) -> npt.NDArray[np.float32]:
        """See `ContextMixer.evidence`."""
        with self._lock:
            found = np.empty((*self._shape, self._core.mixer_experts()), np.float32)
            self._core.mixer_evidence(self._pointer, address(found))
        return found

    def learn(self, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]) -> None:
        """See `ContextMixer.learn`."""
        _NativeMixers([self]).learn([slice(0, len(tokens))], tokens, weights)

    def follow(self, tokens: npt.NDArray[np.int32]) -> None:
        """See `ContextMixer.follow`."""
        tokens = np.ascontiguousarray(tokens, np.int32)
        with self._lock:
            if tokens.shape != self._shape[:1]:
                raise ValueError(f"{tokens.shape} tokens: recalled are {self._shape} rows")
            check(self._core.mixer_follow(self._pointer, address(tokens)))

    def draft(
        self, streams: int, most: int
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """See `ContextMixer.draft`."""
        tokens = np.empty((streams, most), np.int32)
        chances = np.empty((streams, most), np.float32)
        with self._lock:
            check(
                self._core.mixer_draft(
                    self._pointer, streams, most, address(tokens), address(chances)
                )
            )
        return tokens, chances

    def select(self, streams: npt.NDArray[np.int32]) -> None:
        """See `ContextMixer.select`."""
        streams = np.ascontiguousarray(streams, np.int32)
        with self._lock:
            check(self._core.mixer_select(self._pointer, address(streams), len(streams)))
            self._shape = 0, 0

    def copy(self) -> NativeContextMixer:
        """See `ContextMixer.copy`."""
        with self._lock:
            pointer, group = self._core.mixer_copy(self._pointer), self._group
        if pointer is None:
            raise MemoryError(f"no memory for another mixer of 2**{self.capacity_bits} positions")
        copied = NativeContextMixer(
            self._handle, self.capacity_bits, self._classes, self.version, pointer
        )
        copied._group = group
        return copied

    def beside(self, others: Sequence[ContextMixer]) -> ContextMixers:
        """See `ContextMixer.beside`."""
        natives = [mixer for mixer in others if isinstance(mixer, NativeContextMixer)]
        if len(natives) == len(others) and all(m._group is self._group for m in natives):
            return _NativeMixers([self, *natives])
        return MixersInTurn([self, *others])


class _NativeMixers:
    """See `ContextMixers`: the rows of all are spread over the threads, whosever they are."""

    def __init__(self, mixers: Sequence[NativeContextMixer]) -> None:
        """mixers: different ones, which compute with the same threads."""
        self._mixers = mixers
        self._core = mixers[0]._core
        self._lock = mixers[0]._lock if len(mixers) == 1 else _Locks(mixers)
        pointers = np.array([mixer._pointer for mixer in mixers], np.uintp)
        self._parts: list[slice] = []
        self._arrays = pointers, *np.zeros((2, len(mixers)), np.int32)  # first rows, how many
        self._places = (*map(address, self._arrays), len(mixers))
        """What the C core's functions begin with."""

    def recall(
        self, parts: Parts, vectors: npt.NDArray[np.int8], top_tokens: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        """See `ContextMixers.recall`."""
        rows = len(vectors)
        if (
            vectors.shape != (rows, self._mixers[0]._handle.spec.d_model)
            or top_tokens.ndim != 2
            or len(top_tokens) != rows
        ):
            raise ValueError(
                f"head inputs of shape {vectors.shape} and top tokens of shape {top_tokens.shape}"
            )
        vectors, top_tokens = (
            np.ascontiguousarray(vectors, np.int8),
            np.ascontiguousarray(top_tokens, np.int32),
        )
        tokens = np.empty(rows * self._core.mixer_columns(), np.int32)
        with self._lock:
            self._place(parts)
            columns = self._core.mixers_recall(
                *self._places,
                address(vectors),
                address(top_tokens),
                *top_tokens.shape,
                address(tokens),
            )
            check(min(columns, 0))
            for mixer, part in zip(self._mixers, parts, strict=True):
                mixer._shape = part.stop - part.start, columns
        return tokens[: rows * columns].reshape(rows, columns)

    def mix(
        self, parts: Parts, weights: npt.NDArray[np.int32], totals: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """See `ContextMixers.mix`."""
        weights, totals = (
            np.ascontiguousarray(weights, np.int32),
            np.ascontiguousarray(totals, np.int64),
        )
        if weights.ndim != 2 or totals.shape != weights.shape[:1]:
            raise ValueError(f"weights of shape {weights.shape} for totals of {totals.shape}")
        mixed = np.empty(weights.shape, np.int64)
        with self._lock:
            self._place(parts)
            self._compare(weights.shape[1:])
            check(
                self._core.mixers_mix(
                    *self._places, address(weights), address(totals), *weights.shape, address(mixed)
                )
            )
        return mixed

    def learn(
        self, parts: Parts, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]
    ) -> None:
        """See `ContextMixers.learn`."""
        tokens, weights = (
            np.ascontiguousarray(tokens, np.int32),
            np.ascontiguousarray(weights, np.int32),
        )
        if tokens.ndim != 1 or weights.shape != tokens.shape:
            raise ValueError(f"tokens of shape {tokens.shape} with weights of {weights.shape}")
        with self._lock:
            self._place(parts)
            self._compare()
            check(
                self._core.mixers_learn(
                    *self._places, address(tokens), address(weights), len(tokens)
                )
            )

    def _place(self, parts: Parts) -> None:
        """Say which rows each mixer has."""
        if parts == self._parts:
            return
        if len(parts) != len(self._mixers):
            raise ValueError(f"{len(parts)} parts for {len(self._mixers)} mixers")
        _, firsts, counts = self._arrays
        firsts[:] = [part.start for part in parts]
        counts[:] = [part.stop - part.start for part in parts]
        self._parts = list(parts)

    def _compare(self, columns: tuple[int, ...] = ()) -> None:
        """Raise ValueError for other rows, or columns, than those that each mixer has recalled."""
        for mixer, part in zip(self._mixers, self._parts, strict=True):
            shape = part.stop - part.start, *columns
            if shape != mixer._shape[: len(shape)]:
                raise ValueError(f"shape {shape}, but recalled are {mixer._shape}")


class _Locks:
    """The locks of several mixers, as one."""

    def __init__(self, mixers: Sequence[NativeContextMixer]) -> None:
        # In the same order for all threads.
        self._locks = [mixer._lock for mixer in sorted(mixers, key=id)]

    def __enter__(self) -> None:
        for lock in self._locks:
            lock.acquire()

    def __exit__(self, *_: object) -> None:
        for lock in self._locks:
            lock.release()
