"""The owner of a model in the C core, shared by the engine, its sessions, distributions, mixers,
and the groups of threads that compute with it.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.engine.native_core import (
    PHASES,
    TENSORS,
    VECTORS,
    Spec,
    address,
    check,
    core,
    when_gone,
)
from llmzip.exclusive import new_lock
from llmzip.model.bounds import vector_shapes
from llmzip.model.features import ACTIVATIONS, HEAD_NORMS, WIDE_PRODUCTS, rope_names
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec

# Below this a step is so short that waiting for another thread costs more.
_WEIGHTS_PER_THREAD = 1 << 20


def described_spec(spec: ModelSpec) -> Spec:
    """A specification as the C core has it."""
    features = spec.features
    values: dict[str, Any] = {
        "featured": not spec.is_plain,
        "activation": ACTIVATIONS.index(features.activation),
        "head_norm": HEAD_NORMS.index(features.head_norm),
    }
    for name in (field[0] for field in Spec._fields_):
        if name not in values:
            values[name] = getattr(spec if hasattr(spec, name) else features, name)
    return Spec(**values)


class Group:
    """Threads, and the C core's view of a model that they compute with.

    Who computes with one holds the model's handle, too.
    """

    def __init__(self, library: Any, pointer: int | None) -> None:
        """pointer: an engine of the C core, which is freed with this object. Raises MemoryError for
        none.
        """
        if pointer is None:
            raise MemoryError("the native engine is out of memory or threads")
        self.pointer: int = pointer
        self._spare_buffers: list[npt.NDArray[np.float32]] = []
        when_gone(self, library.engine_free, pointer)

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
        when_gone(owner, self._spare_buffers.append, buffer)
        return buffer


class MixingHandle:
    """A model without weights, and threads: enough for mixers beside another engine.

    It lives as long as anything that holds it.
    """

    def __init__(self, spec: ModelSpec, threads: int, kernels: str) -> None:
        """threads: how many to start. Raises MemoryError."""
        described = described_spec(spec)
        described.layers = 0
        self._start(spec, described, threads, kernels, (None, None, None, None))

    def _start(
        self,
        spec: ModelSpec,
        described: Spec,
        threads: int,
        kernels: str,
        arrays: Iterable[int | None],
    ) -> None:
        self.core = core()
        self.spec = spec
        pointer = self.core.engine_new(described, threads, kernels.encode(), *arrays)
        self._all = Group(self.core, pointer)
        self.pointer = self._all.pointer

    @property
    def group(self) -> Group:
        """The threads that compute for the calling one."""
        return self._all


class NativeHandle(MixingHandle):
    """A model packed for a set of kernels, and its threads: all of them, or in lanes."""

    def __init__(self, model: IntegerModel, threads: int, kernels: str) -> None:
        """Pack the weights; threads: the largest number to start. Raises MemoryError."""
        self._model = model
        tables = [self._tensor(name) for name in rope_names(model.spec.features.rope_tables)]
        self._used_in_place = [
            self._tensor("embedding.weight"),
            self._tensor("embedding.scale"),
            np.concatenate(tables) if tables else np.zeros(1, np.int16),
        ]
        self._threads = threads
        useful, has_experts = self._useful(threads), model.spec.features.has_experts
        layer_experts = np.array([has_experts(i) for i in range(model.spec.layers)], np.uint8)
        arrays = map(address, [*self._used_in_place, layer_experts])
        self._start(model.spec, described_spec(model.spec), useful, kernels, arrays)
        self._put_all()
        self._lanes: list[Group] = []
        self._lock = new_lock()
        self._here = threading.local()

    def _useful(self, threads: int) -> int:
        return max(1, min(threads, 1 + self._model.spec.weight_bytes // _WEIGHTS_PER_THREAD))

    @property
    def group(self) -> Group:
        """See `MixingHandle.group`."""
        group: Group = getattr(self._here, "group", self._all)
        return group

    @contextlib.contextmanager
    def lane(self, number: int, count: int) -> Iterator[None]:
        """A context in which this thread computes with its part of the threads, which none of the
        other `count` lanes uses. Raises MemoryError.
        """
        if count == 1:
            yield
            return
        lanes = self._lanes
        if len(lanes) != count:  # other ones go with the last that computes with them
            bounds = [i * self._threads // count for i in range(count + 1)]
            sizes = [last - first for first, last in itertools.pairwise(bounds)]
            lanes = [self._share(self._useful(size)) for size in sizes]
            with self._lock:  # makes nothing: a collection of garbage may compute with lanes
                if len(self._lanes) != count:
                    self._lanes = lanes
                lanes = self._lanes
        before = self.group
        self._here.group = lanes[number]
        try:
            yield
        finally:
            self._here.group = before  # of the lane in which a callback has begun this one, if any

    def _share(self, threads: int) -> Group:
        return Group(self.core, self.core.engine_share(self.pointer, threads))

    def _tensor(self, name: str) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self._model.tensors[name])

    def _put_all(self) -> None:
        tensors = [
            (f"layers.{i}.{part}", part, i)
            for i in range(self.spec.layers)
            for part in self.spec.features.parts_of(i)
        ]
        for name, part, layer in [*tensors, ("head", "head", 0)]:
            weight, scale = self._tensor(f"{name}.weight"), self._tensor(f"{name}.scale")
            self.core.engine_put(
                self.pointer, TENSORS.index(part), layer, address(weight), address(scale)
            )
        if not self.spec.is_plain:
            self._put_features()

    def _put_features(self) -> None:
        features = self.spec.features
        for layer in range(self.spec.layers):
            wide = sum(1 << WIDE_PRODUCTS.index(part) for part in features.wide_of(layer))
            self.core.engine_layer(
                self.pointer, layer, features.rope_of(layer), features.window_of(layer), wide
            )
        for name in vector_shapes(self.spec):
            *_, layer_name, part, kind = ("0", *name.removeprefix("layers.").split("."))
            vector, values = VECTORS.index(f"{part}_{kind}"), self._tensor(name)
            self.core.engine_vector(self.pointer, vector, int(layer_name), address(values))
        if features.learned_positions:
            table = [self._tensor("positions.weight"), self._tensor("positions.scale")]
            self._used_in_place += table
            self.core.engine_positions(self.pointer, *map(address, table))

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

    def peak(self, rounds: int) -> int:
        """See `NativeEngine.peak`."""
        multiply_adds = np.empty(1, np.int64)
        check(self.core.peak(self.pointer, rounds, address(multiply_adds)))
        return int(multiply_adds[0])

    def read(self, data: npt.NDArray[np.uint8]) -> None:
        """See `NativeEngine.read`."""
        check(self.core.read(self.pointer, address(data), data.nbytes >> 20))
