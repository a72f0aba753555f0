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
    ) -> tuple[Prediction, list[npt.NDArray[Any]]] | None:
        """The latest prediction and its top and totals on the host, if it is of these head
        inputs.
        """
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


class HostCopies:
    """Tensors on their way to the host, while the device goes on."""

    def __init__(self, *tensors: Tensor) -> None:
        """Begin to copy: from a GPU through pinned memory, behind what it has been given so far."""
        self._event: torch.cuda.Event | None = None
        if tensors[0].device.type != "cuda":
            self._copies = [x.clone() for x in tensors]
            return
        self._copies = [
            torch.empty(x.shape, dtype=x.dtype, device="cpu", pin_memory=True) for x in tensors
        ]
        for copy, x in zip(self._copies, tensors, strict=True):
            copy.copy_(x, non_blocking=True)
        self._event = torch.cuda.current_stream(tensors[0].device).record_event()

    def arrays(self) -> list[npt.NDArray[Any]]:
        """The tensors' content, as soon as it is there."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return [copy.numpy() for copy in self._copies]


def to_host(*tensors: Tensor) -> list[npt.NDArray[Any]]:
    """The tensors' content on the host, with one wait for all."""
    return HostCopies(*tensors).arrays()


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """A copy of an array on the device; a GPU's comes through pinned memory, without a wait."""
    if device.type != "cuda":
        return torch.from_numpy(np.array(array, order="C")).to(device)
    staged = torch.empty(array.shape, dtype=_KINDS[array.dtype.type], device="cpu", pin_memory=True)
    staged.numpy()[...] = array
    return staged.to(device, non_blocking=True)


_KINDS = {np.int32: torch.int32, np.int64: torch.int64}
