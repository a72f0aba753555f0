"""The head's predictions on the device, and their copies on the host."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.engine.triton.operations import Operations
from llmzip.mixing.base import TOP_TOKENS


@dataclasses.dataclass
class Prediction:
    """The head's prediction for M rows."""

    vectors: Tensor  # [M, d] int8
    scales: Tensor  # [M] float32
    found: Tensor  # [M, V] float32, the products
    maxima: Tensor  # [M, tiles]
    sums: Tensor  # [M, B] int64
    table: Tensor  # [M, B] int32
    totals: Tensor  # [M] int64
    top: Tensor  # [M, n] int32

    def rows(self, count: int) -> Prediction:
        """The first rows."""
        return Prediction(
            *(getattr(self, field.name)[:count] for field in dataclasses.fields(self))
        )


class Predictor(Protocol):
    """A session, whose next prediction overwrites the one before."""

    generation: int
    """Grows with each prediction."""

    def predicted(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> Prediction | None:
        """The latest prediction, if it is of these head inputs."""
        ...


def empty_prediction(
    operations: Operations, vectors: Tensor, scales: Tensor, found: Tensor, maxima: Tensor
) -> Prediction:
    """A prediction for head inputs [M, d] int8, [M], to be filled; its products go into memory that
    is there already.
    """
    rows, buckets, device = len(vectors), operations.buckets, vectors.device
    return Prediction(
        vectors,
        scales,
        found,
        maxima,
        sums=torch.empty(rows, buckets, dtype=torch.int64, device=device),
        table=torch.empty(rows, buckets, dtype=torch.int32, device=device),
        totals=torch.empty(rows, dtype=torch.int64, device=device),
        top=torch.empty(
            rows, min(TOP_TOKENS, operations.spec.vocab), dtype=torch.int32, device=device
        ),
    )


def to_host(*tensors: Tensor) -> list[npt.NDArray[Any]]:
    """The tensors' content on the host: from a GPU through pinned memory, with one synchronization
    for all.
    """
    if tensors[0].device.type != "cuda":
        return [x.cpu().numpy() for x in tensors]
    copies = [torch.empty(x.shape, dtype=x.dtype, device="cpu", pin_memory=True) for x in tensors]
    for copy, x in zip(copies, tensors, strict=True):
        copy.copy_(x, non_blocking=True)
    torch.cuda.current_stream(tensors[0].device).synchronize()
    return [copy.numpy() for copy in copies]
