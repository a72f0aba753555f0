"""The owner of a model in the C core, shared by the engine, its sessions, distributions, mixers."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.engine.native_core import LAYER_TENSORS, PHASES, TENSORS, Spec, address, check, core
from llmzip.model.integer_model import IntegerModel

# Below this a step is so short that waiting for another thread costs more.
_WEIGHTS_PER_THREAD = 1 << 20


class NativeHandle:
    """A model packed for a set of kernels, and its threads.

    It lives as long as anything that holds it.
    """

    def __init__(self, model: IntegerModel, threads: int, kernels: str) -> None:
        """Pack the weights; threads: the largest number to start. Raises MemoryError."""
        self.core = core()
        self.spec = model.spec
        self._model = model
        described = Spec(*(getattr(model.spec, field[0]) for field in Spec._fields_))
        self._used_in_place = [
            self._tensor(name) for name in ("embedding.weight", "embedding.scale", "rope")
        ]
        useful = min(threads, 1 + model.spec.weight_bytes // _WEIGHTS_PER_THREAD)
        pointer = self.core.engine_new(
            described, useful, kernels.encode(), *map(address, self._used_in_place)
        )
        if pointer is None:
            raise MemoryError("the native engine is out of memory or threads")
        self.pointer: int = pointer
        weakref.finalize(self, self.core.engine_free, pointer)
        self._put_all()
        self._spare_buffers: list[npt.NDArray[np.float32]] = []

    def _tensor(self, name: str) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self._model.tensors[name])

    def _put_all(self) -> None:
        tensors = [
            (f"layers.{i}.{part}", part, i)
            for i in range(self.spec.layers)
            for part in LAYER_TENSORS
        ]
        for name, part, layer in [*tensors, ("head", "head", 0)]:
            weight, scale = self._tensor(f"{name}.weight"), self._tensor(f"{name}.scale")
            self.core.engine_put(
                self.pointer, TENSORS.index(part), layer, address(weight), address(scale)
            )

    def take_buffer(self, owner: object, size: int) -> npt.NDArray[np.float32]:
        """A buffer of at least `size` numbers, used again once `owner` is gone: fresh megabytes
        cost page faults.
        """
        try:
            buffer = self._spare_buffers.pop()
        except IndexError:  # asked instead of looked for: other threads take from it too
            buffer = np.empty(0, np.float32)
        if len(buffer) < size:
            buffer = np.empty(size, np.float32)
        weakref.finalize(owner, self._spare_buffers.append, buffer)
        return buffer

    def profile(self) -> dict[str, float]:
        """Seconds that the first thread has spent in each phase since the last call."""
        nanoseconds = np.empty(len(PHASES), np.int64)
        self.core.engine_profile(self.pointer, address(nanoseconds))
        return {phase: ns * 1e-9 for phase, ns in zip(PHASES, nanoseconds.tolist(), strict=True)}

    def product(
        self, tensor: str, layer: int, rows: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]
    ) -> None:
        """See `NativeEngine.product`."""
        check(
            self.core.product(
                self.pointer, TENSORS.index(tensor), layer, address(rows), len(rows), address(out)
            )
        )
