"""The native CPU engine: docs/arithmetic.md in C (native/), one call per step, without torch.

The C core is built with the package where there is a compiler; `native_is_available` says whether it is here.
"""

from __future__ import annotations

import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.engine.base import Batches, HeadInput
from llmzip.engine.native_core import (
    LAYER_TENSORS,
    PARTS,
    TENSORS,
    Spec,
    address,
    check,
    core,
    kernel_names,
    native_is_available,
    why_not_available,
)
from llmzip.engine.native_distributions import NativeDistributions
from llmzip.engine.native_mixer import NativeContextMixer
from llmzip.errors import LLMZipError
from llmzip.model.integer_model import IntegerModel
from llmzip.turns import new_lock

__all__ = ["NativeEngine", "NativeSession", "kernel_names", "native_is_available", "why_not_available"]

CPU_VARIABLE = "LLMZIP_CPU"
"""Environment variable that forces a set of kernels: avx512vnni, avxvnni, avx2, dotprod or portable."""

_MAX_SIZE = 2**31 - 1
_WEIGHTS_PER_THREAD = 1 << 20  # below this a step is so short that waiting for another thread costs more


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _kernels(cpu: str | None) -> str:
    """The set of kernels of this name, of the environment, or the best. Raises ValueError, for the variable LLMZipError."""
    chosen = cpu or os.environ.get(CPU_VARIABLE)
    name: bytes | None = core().kernels(chosen.encode("utf-8", "surrogateescape") if chosen else None)
    if name is not None:
        return name.decode()
    there = f"this processor runs {', '.join(kernel_names())}"
    if cpu:
        raise ValueError(f"{cpu!r} kernels: {there}")
    raise LLMZipError(f"the environment variable {CPU_VARIABLE} is {chosen!r}: {there}; correct it or unset it")


class NativeEngine:
    """A model on this machine's processor."""

    def __init__(self, model: IntegerModel, threads: int | None = None, cpu: str | None = None) -> None:
        """Pack the weights.

        threads: how many to compute with; None or 0: as many as there are processors that this process may use.
        cpu: the kernels, one of `kernel_names()`; by default what LLMZIP_CPU says, else the best.
        """
        self._core = core()
        self.model = model
        self.batches = Batches()
        self.threads = threads or _processors()
        if self.threads < 0:
            raise ValueError(f"{threads} threads: 0 for all processors, or how many")
        self.kernels = _kernels(cpu)

        spec = model.spec
        described = Spec(*(getattr(spec, field[0]) for field in Spec._fields_))
        self._kept = [self._tensor(name) for name in ("embedding.weight", "embedding.scale", "rope")]
        useful = min(self.threads, 1 + spec.weight_bytes // _WEIGHTS_PER_THREAD)
        self._handle = self._core.engine_new(described, useful, self.kernels.encode(), *map(address, self._kept))
        if self._handle is None:
            raise MemoryError("the native engine is out of memory or threads")
        self._finalizer = weakref.finalize(self, self._core.engine_free, self._handle)
        self._put_all()
        self._spare: list[npt.NDArray[np.float32]] = []

    def _tensor(self, name: str) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self.model.tensors[name])

    def _put_all(self) -> None:
        places = [(f"layers.{i}.{part}", part, i) for i in range(self.model.spec.layers) for part in LAYER_TENSORS]
        for name, part, layer in [*places, ("head", "head", 0)]:
            weight, scale = self._tensor(f"{name}.weight"), self._tensor(f"{name}.scale")
            self._core.engine_put(self._handle, TENSORS.index(part), layer, address(weight), address(scale))

    def session(self, streams: int, window: int, chunk: int) -> NativeSession:
        """See `Engine.session`."""
        return NativeSession(self, streams, window, chunk)

    def token_weights(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """See `Engine.token_weights`."""
        out = np.empty((len(vectors), self.model.spec.vocab), np.int32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            self.distributions(vectors[part], scales[part]).weights(out[part])
        return out

    def distributions(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> NativeDistributions:
        """Head inputs [N, d_model] int8, [N] float32 -> the two coding steps' frequencies, computed on demand.

        The result holds N * vocab numbers of 4 bytes: pass many rows in pieces of about `ROWS_AT_ONCE`.
        """
        return NativeDistributions(self, vectors, scales)

    def mixer(self, capacity_bits: int) -> NativeContextMixer:
        """See `Engine.mixer`."""
        return NativeContextMixer(self, capacity_bits)

    def profile(self) -> dict[str, float]:
        """Seconds that the first thread has spent in each part since the last call."""
        nanoseconds = np.empty(len(PARTS), np.int64)
        self._core.engine_profile(self._handle, address(nanoseconds))
        return {part: ns * 1e-9 for part, ns in zip(PARTS, nanoseconds.tolist(), strict=True)}

    def product(self, tensor: str, layer: int, rows: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
        """One product alone, for benchmarks: rows [M, K] holding x + 128 -> out [M, N of the stacked tensors].

        K and N are rounded up to multiples of 32.
        """
        check(self._core.product(self._handle, TENSORS.index(tensor), layer, address(rows), len(rows), address(out)))


ROWS_AT_ONCE = 64
"""Rows that the head takes at a time: few enough for the processor's cache, many enough for its multipliers."""


class NativeSession:
    """S streams and their key/value cache, in C. Threads that use the same one spoil each other's text, but not the process."""

    def __init__(
        self, engine: NativeEngine, streams: int, window: int, chunk: int, origin: NativeSession | None = None
    ) -> None:
        """See `Engine.session`; origin: what this session is a fork of."""
        if min(streams, window, chunk) < 1:
            raise ValueError(f"{streams} streams, window {window}, chunk {chunk}: each must be at least 1")
        self.engine = engine  # also keeps the C engine alive
        self._window = window
        make, source = (
            (engine._core.session_fork, origin._handle) if origin else (engine._core.session_new, engine._handle)
        )
        self._lock = new_lock()
        with origin._lock if origin else self._lock:
            self._fed: int = origin._fed if origin else 0
            if origin and self._fed > min(window, origin._window):
                raise ValueError(f"{self._fed} tokens do not fit a window of {min(window, origin._window)}")
            handle = make(source, streams, min(window, _MAX_SIZE), min(chunk, _MAX_SIZE))
        if handle is None:
            raise MemoryError(f"no memory for the key/value cache of {streams} streams with window {window}")
        self._handle: int = handle
        weakref.finalize(self, engine._core.session_free, handle)

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        if tokens.ndim != 2:
            raise ValueError(f"tokens of shape {tokens.shape}: [streams, count] is needed")
        tokens = np.ascontiguousarray(tokens, np.int32)
        streams, count = tokens.shape
        vectors = np.empty((streams, count, self.engine.model.spec.d_model), np.int8)
        scales = np.empty((streams, count), np.float32)
        with self._lock:
            status = self.engine._core.advance(
                self._handle, address(tokens), streams, count, address(vectors), address(scales)
            )
            self._fed += count if status == 0 else 0
        if status == -2:
            raise ValueError(
                f"tokens of shape {tokens.shape} exceed the session's streams, its chunk or the model's positions, "
                f"or a token lies outside the vocabulary"
            )
        check(status)
        return HeadInput(vectors, scales)

    def fork(self, streams: int, window: int, chunk: int) -> NativeSession:
        """See `Session.fork`."""
        return NativeSession(self.engine, streams, window, chunk, self)
