"""A model's weights as the kernels read them, and the head."""

from __future__ import annotations

import dataclasses
import threading
import weakref

import torch
from torch import Tensor

from llmzip.engine.torch_blocks import TransformerBlock
from llmzip.engine.torch_layers import Linear
from llmzip.engine.torch_transformer import TorchTransformer
from llmzip.engine.triton.operations import Operations, Weights
from llmzip.engine.triton.prediction import Prediction, Predictor, empty_prediction
from llmzip.engine.triton.self_test import checked_operations
from llmzip.model.integer_model import IntegerModel


@dataclasses.dataclass(frozen=True)
class LayerWeights:
    """The products of one layer for the kernels."""

    qkv: Weights
    o: Weights
    gate_up: Weights
    down: Weights


class TritonTransformer(TorchTransformer):
    """A model's layers for torch and for the kernels, and the kernels."""

    def __init__(
        self, model: IntegerModel, device: torch.device, operations: Operations | None = None
    ) -> None:
        """Load the weights and test the kernels; operations: instead of those that pass the
        self-test.
        """
        super().__init__(model, device, kernel=None, threads=None)
        with self.working():
            self.operations = operations or checked_operations(self)
            self.layer_weights = [self._layer_weights(i) for i in range(self.spec.layers)]
            self.head_weights = self._shared(self.head, "head")
        self._latest = threading.local()

    def latest_predictor(self) -> Predictor | None:
        """The session of this thread's latest step: a decoder asks for its tables next."""
        latest: weakref.ref[Predictor] | None = getattr(self._latest, "predictor", None)
        return latest() if latest else None

    def note_predictor(self, predictor: Predictor) -> None:
        """This session has made the latest step."""
        self._latest.predictor = weakref.ref(predictor)

    def _layer_weights(self, index: int) -> LayerWeights:
        block, name = self.blocks[index], f"layers.{index}"
        assert isinstance(block, TransformerBlock)  # decoders with features have another engine
        return LayerWeights(
            qkv=self._shared(block.attention.qkv, *(f"{name}.{part}" for part in "qkv")),
            o=self._shared(block.attention.o, f"{name}.o"),
            gate_up=self._shared(block.mlp.gate_up, f"{name}.gate", f"{name}.up"),
            down=self._shared(block.mlp.down, f"{name}.down"),
        )

    def _shared(self, linear: Linear, *names: str) -> Weights:
        """The weights row by row: the torch path's memory where it is laid out so, else a copy."""
        weight = linear.weight.t()
        rows = [self._model.tensors[f"{name}.weight"] for name in names]
        shape = (sum(map(len, rows)), rows[0].shape[1])
        if weight.dtype != torch.int8 or weight.shape != shape or not weight.is_contiguous():
            weight = torch.cat([torch.from_numpy(array) for array in rows]).to(self.device)
        return Weights(weight, linear.scale, linear)

    def prediction(self, vectors: Tensor, scales: Tensor) -> Prediction:
        """Head inputs [M, d] int8, [M] -> the prediction, in memory of its own."""
        prediction = empty_prediction(
            self.operations, vectors, scales, *self.head_room(len(vectors))
        )
        self.run_head(prediction)
        return prediction

    def head_room(self, rows: int) -> tuple[Tensor, Tensor]:
        """Memory for the head's products [rows, V] and for the maxima of their tiles."""
        shapes = (rows, self.spec.vocab), (rows, self.operations.tiles)
        found, maxima = (
            torch.empty(shape, dtype=torch.float32, device=self.device) for shape in shapes
        )
        return found, maxima

    def run_head(self, prediction: Prediction) -> None:
        """From head inputs to tables, in place."""
        run, p = self.operations, prediction
        run.head(p.vectors, self.head_weights, p.found, p.maxima)
        run.bucket_sums(p.found, p.scales, p.maxima, p.sums)
        run.top(p.found, p.maxima, p.top)
        run.bucket_table(p.sums, p.table, p.totals)
