"""The native CPU engine: docs/arithmetic.md in C (native/), one call per step, without torch.

The C core is built with the package where there is a compiler; `native_is_available` says whether
it is here.
"""

from __future__ import annotations

import contextlib
import functools
import sys

import numpy as np
import numpy.typing as npt

from llmzip.engine import host_memory
from llmzip.engine.base import Batches
from llmzip.engine.native_core import kernel_names, native_is_available, why_not_available
from llmzip.engine.native_distributions import ROWS_AT_ONCE, NativeDistributions
from llmzip.engine.native_handle import NativeHandle
from llmzip.engine.native_machine import (
    CPU_VARIABLE,
    chosen_kernels,
    processors,
    useful_blocks,
)
from llmzip.engine.native_mixer import NativeContextMixer
from llmzip.engine.native_session import NativeSession
from llmzip.mixing.base import MIXING_VERSION
from llmzip.mixing.token_classes import token_classes
from llmzip.model.integer_model import IntegerModel

__all__ = [
    "CPU_VARIABLE",
    "NativeEngine",
    "kernel_names",
    "native_is_available",
    "why_not_available",
]

DRAFT_ROWS = 8
"""Rows of a step that cost little beside its weights' way from memory (docs/notes/speed.md, "A
single stream").
"""

_FEW_ROWS, _THREAD_ROWS = 32, 16
"""Streams of short blocks that go together at least, and for each thread: more take as long for
each row. Fewer are no lane either: they share the weights' way from memory.
"""


class NativeEngine:
    """A model on this machine's processor.

    Blocks side by side are lanes: each has a part of the threads for itself.
    """

    def __init__(
        self,
        model: IntegerModel,
        threads: int | None = None,
        cpu: str | None = None,
        jobs: int | None = None,
    ) -> None:
        """Pack the weights.

        threads: how many to compute with; None or 0: as many as there are processors that this
        process may use.
        cpu: the kernels, one of `kernel_names()`; by default those that LLMZIP_CPU names, else the
        best.
        jobs: the most blocks that go side by side; None or 0: as many as make good use of the
        threads.
        """
        self.model = model
        self.threads = threads or processors()
        if self.threads < 0:
            raise ValueError(f"{threads} threads: 0 for all processors, or how many")
        blocks = min(jobs or useful_blocks(self.threads), self.threads)
        self.batches = Batches(
            rows=sys.maxsize,
            blocks=blocks,
            few_rows=0 if jobs else max(_FEW_ROWS, self.threads * _THREAD_ROWS),
            threads=blocks,
            lanes=blocks,
            lane_rows=1 if jobs else _FEW_ROWS,
            divided=True,
            draft_rows=DRAFT_ROWS,
        )
        self.kernels = chosen_kernels(cpu)
        self._handle = NativeHandle(model, self.threads, self.kernels)

    def session(self, streams: int, window: int, chunk: int) -> NativeSession:
        """See `Engine.session`."""
        return NativeSession(self._handle, streams, window, chunk)

    def token_weights(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int32]:
        """See `Engine.token_weights`."""
        out = np.empty((len(vectors), self.model.spec.vocab), np.int32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            span = slice(start, start + ROWS_AT_ONCE)
            self.distributions(vectors[span], scales[span]).weights(out[span])
        return out

    def distributions(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> NativeDistributions:
        """Head inputs [N, d_model] int8, [N] float32 -> the two coding steps' frequencies, computed
        on demand.

        The result holds N * vocab numbers of 4 bytes: pass many rows in pieces of about
        `ROWS_AT_ONCE`.
        """
        return NativeDistributions(self._handle, vectors, scales)

    def lane(self, number: int, count: int) -> contextlib.AbstractContextManager[None]:
        """See `Engine.lane`: a lane has a part of the threads, and no other lane computes there."""
        return self._handle.lane(number, count)

    def free_bytes(self) -> int | None:
        """See `Engine.free_bytes`."""
        return host_memory.free_bytes()

    def mixer(self, capacity_bits: int, version: int = MIXING_VERSION) -> NativeContextMixer:
        """See `Engine.mixer`."""
        return NativeContextMixer(self._handle, capacity_bits, self._classes, version)

    @functools.cached_property
    def _classes(self) -> npt.NDArray[np.uint8]:
        return token_classes(self.model.vocabulary.token_bytes)

    def profile(self) -> dict[str, float]:
        """Seconds that the first thread has spent in each phase since the last call."""
        return self._handle.profile()

    def product(
        self, tensor: str, layer: int, rows: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]
    ) -> None:
        """One product alone, for benchmarks: rows [M, K] holding x + 128 -> out [M, N of the
        stacked tensors].

        K is rounded up to a multiple of 64, N to one of 32.
        """
        self._handle.product(tensor, layer, rows, out)

    def peak(self, rounds: int) -> int:
        """The processor's dot product alone on all threads, for benchmarks: how many multiply-adds
        were done.
        """
        return self._handle.peak(rounds)

    def read(self, data: npt.NDArray[np.uint8]) -> None:
        """Read whole mebibytes of memory once, on all threads, for benchmarks."""
        self._handle.read(data)
