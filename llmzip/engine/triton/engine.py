"""The GPU engine: the torch engine with kernels for a decoder's steps and for the tables.

The bits are the same.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.engine.base import Batches
from llmzip.engine.torch_engine import TorchEngine, indexed
from llmzip.engine.torch_session import TorchSession
from llmzip.engine.triton.distributions import TritonDistributions
from llmzip.engine.triton.operations import Operations
from llmzip.engine.triton.session import TritonSession
from llmzip.engine.triton.transformer import TritonTransformer
from llmzip.errors import UnsupportedModelError
from llmzip.model.integer_model import IntegerModel

MIN_CAPABILITY = (8, 0)
"""Triton compiles int8 products for no older device."""

_BATCHES = Batches(encode=1023, tables=512, rows=4096, idle=0.25, lanes=2)

_MAX_SLOTS = 1 << 16  # 2**15 times as much fits int32
_MAX_HEAD_DIM = 256


class TritonEngine(TorchEngine):
    """A model on a CUDA device (or, in Triton's interpreter, on a CPU)."""

    transformer: TritonTransformer

    def __init__(
        self,
        model: IntegerModel,
        device: str = "cuda",
        replays: bool | None = None,
        operations: Operations | None = None,
        threads: int | None = None,
    ) -> None:
        """Load the weights and test the kernels; operations: instead of those that pass the
        self-test.
        """
        if not model.spec.is_plain:
            raise UnsupportedModelError("the GPU kernels compute plain Llama decoders only")
        self._compute_with(
            model, TritonTransformer(model, indexed(device), operations), replays, threads
        )
        self.batches = self._with_threads(_BATCHES)

    def session(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Engine.session`. What is too large for the kernels goes the torch path."""
        slots = min(window + chunk + 3, self.model.spec.max_positions)
        fits = slots < _MAX_SLOTS and self.model.spec.head_dim <= _MAX_HEAD_DIM
        if not fits:
            return super().session(streams, window, chunk)
        return TritonSession(self.transformer, streams, window, chunk, self.replays)

    def distributions(  # type: ignore[override]
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> TritonDistributions:
        """See `Engine.distributions`. Those of this thread's latest step are there already."""
        latest = self.transformer.latest_predictor()
        return TritonDistributions(self.transformer, (vectors, scales), latest)
