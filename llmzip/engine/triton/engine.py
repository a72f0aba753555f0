"""The GPU engine: the torch engine with kernels for a decoder's steps and for the tables. The bits are the same."""

from __future__ import annotations

import dataclasses
import weakref

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.engine.base import Batches
from llmzip.engine.torch_engine import Linear, TorchEngine
from llmzip.engine.torch_session import TorchSession
from llmzip.engine.triton.distributions import Prediction, TritonDistributions, empty_prediction
from llmzip.engine.triton.operations import Operations, Weights
from llmzip.engine.triton.self_test import checked_operations
from llmzip.engine.triton.session import TritonSession
from llmzip.model.integer_model import IntegerModel

MIN_CAPABILITY = (8, 0)
"""Triton compiles int8 products for no older device."""

_BATCHES = Batches(encode=2048, tables=512)

_MAX_SLOTS = 1 << 16  # 2**15 times as much fits int32
_MAX_HEAD_DIM = 256


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """The products of one layer for the kernels; as in `torch_engine.Layer`."""

    qkv: Weights
    o: Weights
    gate_up: Weights
    down: Weights


class TritonEngine(TorchEngine):
    """A model on a CUDA device (or, in Triton's interpreter, on a CPU)."""

    def __init__(
        self,
        model: IntegerModel,
        device: str = "cuda",
        replays: bool | None = None,
        operations: Operations | None = None,
    ) -> None:
        """Load the weights and test the kernels; operations: instead of those that pass the self-test."""
        super().__init__(model, device, replays=replays)
        self.batches = _BATCHES
        with self.working():
            self.operations = operations or checked_operations(self)
            names = [[*"qkv"], ["o"], ["gate", "up"], ["down"]]
            self.layer_weights = [
                LayerWeights(
                    *(
                        self._shared(linear, [f"layers.{i}.{part}" for part in parts])
                        for linear, parts in zip((layer.qkv, layer.o, layer.gate_up, layer.down), names, strict=True)
                    )
                )
                for i, layer in enumerate(self.layers)
            ]
            self.head_weights = self._shared(self.head, ["head"])
        self.latest: weakref.ref[TritonSession] | None = None
        """The session that has made the latest step: a decoder asks for its tables next."""

    def session(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Engine.session`. What is too large for the kernels goes the torch path."""
        slots = min(window + chunk + 3, self.model.spec.max_positions)
        fits = slots < _MAX_SLOTS and self.model.spec.head_dim <= _MAX_HEAD_DIM
        return (TritonSession if fits else TorchSession)(self, streams, window, chunk)

    def distributions(  # type: ignore[override]
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> TritonDistributions:
        """See `Engine.distributions`. Those of the latest step's head inputs are there already."""
        session = self.latest() if self.latest else None
        prediction = session.predicted(vectors, scales) if session else None
        if prediction:
            return TritonDistributions(self, prediction, session)
        with self.working():
            q = torch.from_numpy(np.array(vectors, order="C")).to(self.device)
            s = torch.from_numpy(np.array(scales, order="C")).to(self.device)
            return TritonDistributions(self, self.predict(q, s))

    def predict(self, vectors: Tensor, scales: Tensor) -> Prediction:
        """Head inputs [M, d] int8, [M] -> what the head says of them, in memory of its own."""
        found, maxima = self.room(len(vectors))
        prediction = empty_prediction(self, vectors, scales, found, maxima)
        self.run_head(prediction)
        return prediction

    def room(self, rows: int) -> tuple[Tensor, Tensor]:
        """Memory for the head's products [rows, V] and for the maxima of their tiles."""
        shapes = (rows, self.model.spec.vocab), (rows, self.operations.tiles)
        found, maxima = (torch.empty(shape, dtype=torch.float32, device=self.device) for shape in shapes)
        return found, maxima

    def run_head(self, prediction: Prediction) -> None:
        """From head inputs to tables, in place."""
        run, p = self.operations, prediction
        run.head(p.vectors, self.head_weights, p.found, p.maxima)
        run.bucket_sums(p.found, p.scales, p.maxima, p.sums)
        run.top(p.found, p.maxima, p.top)
        run.bucket_table(p.sums, p.table, p.totals)

    def _shared(self, linear: Linear, names: list[str]) -> Weights:
        """The weights row by row: the torch path's memory where it is laid out so, else a copy."""
        weight = linear.weight.t()
        rows = [self.model.tensors[f"{name}.weight"] for name in names]
        shape = (sum(map(len, rows)), rows[0].shape[1])
        if weight.dtype != torch.int8 or weight.shape != shape or not weight.is_contiguous():
            weight = torch.cat([torch.from_numpy(array) for array in rows]).to(self.device)
        return Weights(weight, linear.scale, linear)
