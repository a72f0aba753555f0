"""The mixer in C (native/mixing*.c): docs/arithmetic.md, section 6, one call per step of recall,
mix and learn.
"""

from __future__ import annotations

import weakref

import numpy as np
import numpy.typing as npt

from llmzip.engine.native_core import address, check
from llmzip.engine.native_handle import MixingHandle
from llmzip.exclusive import new_lock
from llmzip.mixing.base import MAX_CAPACITY_BITS, MIN_CAPACITY_BITS, MIXING_VERSION

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
        weakref.finalize(self, self._core.mixer_free, pointer)

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
        rows = len(vectors)
        if (
            vectors.shape != (rows, self._handle.spec.d_model)
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
            columns = self._core.mixer_recall(
                self._pointer,
                address(vectors),
                address(top_tokens),
                *top_tokens.shape,
                address(tokens),
            )
            check(min(columns, 0))
            self._shape = rows, columns
        return tokens[: rows * columns].reshape(rows, columns)

    def mix(
        self, weights: npt.NDArray[np.int32], totals: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """See `ContextMixer.mix`."""
        weights, totals = (
            np.ascontiguousarray(weights, np.int32),
            np.ascontiguousarray(totals, np.int64),
        )
        mixed = np.empty(weights.shape, np.int64)
        with self._lock:
            if weights.shape != self._shape or totals.shape != self._shape[:1]:
                raise ValueError(
                    f"weights of shape {weights.shape} for {totals.shape} rows: "
                    f"recalled are {self._shape}"
                )
            self._core.mixer_mix(self._pointer, address(weights), address(totals), address(mixed))
        return mixed

    def evidence(self) -> npt.NDArray[np.float32]:
        """See `ContextMixer.evidence`."""
        with self._lock:
            found = np.empty((*self._shape, self._core.mixer_experts()), np.float32)
            self._core.mixer_evidence(self._pointer, address(found))
        return found

    def learn(self, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int32]) -> None:
        """See `ContextMixer.learn`."""
        tokens, weights = (
            np.ascontiguousarray(tokens, np.int32),
            np.ascontiguousarray(weights, np.int32),
        )
        with self._lock:
            if tokens.shape != self._shape[:1] or weights.shape != tokens.shape:
                raise ValueError(
                    f"{tokens.shape} tokens with {weights.shape} weights: "
                    f"recalled are {self._shape} rows"
                )
            check(self._core.mixer_learn(self._pointer, address(tokens), address(weights)))

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
