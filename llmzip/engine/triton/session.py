"""The GPU engine's sessions: a token of each stream by kernels, replayed as one graph; few streams' chunks by the torch path."""

from __future__ import annotations

import copy
import dataclasses
import functools
import weakref
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.engine.base import HeadInput
from llmzip.engine.torch_graph import Replay
from llmzip.engine.torch_session import TorchSession, step_slots
from llmzip.engine.triton.distributions import Prediction, empty_prediction, to_host
from llmzip.engine.triton.launch import POSITION_MULTIPLE, SLOT_MULTIPLE, ceil_div
from llmzip.engine.triton.operations import LayerCache

if TYPE_CHECKING:
    from llmzip.engine.triton.engine import TritonEngine

STEP_STREAMS = 64
"""From so many streams on, chunks are fed token by token: the kernels' steps are then quicker than the torch path's chunks."""


@dataclasses.dataclass(frozen=True)
class Workspace:
    """Memory of a step for M rows, used again in each layer."""

    x: Tensor  # [M, d] float32, the residual vectors
    q: Tensor  # [M, d] int8
    scale: Tensor  # [M]
    queries: Tensor  # [M, H, D] int8
    query_scales: Tensor  # [M, H]
    scores: Tensor  # [M, H, P]
    maxima: Tensor  # [M, H, tiles], of the scores
    attended: Tensor  # [M, H * D] int8
    row_scale: Tensor  # [M]
    inner: Tensor  # [M, F]
    rotated: Tensor  # [M, F] int8


class TritonSession(TorchSession):
    """S streams and their cache, whose values lie with their positions in a row, as the kernels read them."""

    engine: TritonEngine

    def __init__(self, engine: TritonEngine, streams: int, window: int, chunk: int) -> None:
        super().__init__(engine, streams, window, chunk)
        self.generation = 0
        self._space: Workspace | None = None
        self._products: tuple[Tensor, Tensor] | None = None
        self._told: tuple[npt.NDArray[np.int8], npt.NDArray[np.float32], Prediction] | None = None

    def _allocate(self, shape: tuple[int, ...], head_dim: int, device: torch.device) -> None:
        *outer, slots = shape
        padded = ceil_div(slots, SLOT_MULTIPLE) * SLOT_MULTIPLE
        zeros = functools.partial(torch.zeros, device=device)
        self._storage = (
            zeros(*outer, padded, head_dim, dtype=torch.int8),
            zeros(*outer, head_dim, padded, dtype=torch.int8),
            zeros(*outer, padded, dtype=torch.float32),
            zeros(*outer, padded, dtype=torch.float32),
        )
        # An empty slot holds a position that never comes: no token sees it.
        self._padded_positions = torch.full((padded,), self.engine.model.spec.max_positions, device=device)
        self._visible = zeros(padded, dtype=torch.int8)
        self._view(slots)

    def _view(self, slots: int) -> None:
        """The cache as the torch path sees it."""
        keys, values, key_scales, value_scales = self._storage
        self.keys, self.values = keys[..., :slots, :], values[..., :slots].transpose(-1, -2)
        self.key_scales, self.value_scales = key_scales[..., :slots], value_scales[..., :slots]
        self.slot_positions = self._padded_positions[:slots]

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        streams, count = tokens.shape
        fits = self.position + count <= self.engine.model.spec.max_positions and count <= self.ring - self.window + 1
        if not fits or (count > 1 and streams < STEP_STREAMS):
            return super().advance(tokens)
        if tokens.min() < 0 or tokens.max() >= self.engine.model.spec.vocab:
            raise ValueError(f"a token lies outside the vocabulary of {self.engine.model.spec.vocab}")
        with self.engine.working():
            if count == 1:
                return self._tell(self._advance(tokens[:, 0], predicts=True))
            heads = [self._advance(tokens[:, t], predicts=False) for t in range(count)]
            vectors, scales = to_host(*(torch.stack(parts, dim=1) for parts in zip(*heads, strict=True)))
            return HeadInput(vectors, scales)

    def _advance(self, tokens: npt.NDArray[np.int32], predicts: bool) -> tuple[Tensor, ...]:
        """Feed a token [M] to each stream: what `_step` returns."""
        engine, slots = self.engine, len(self.slot_positions)
        used = min(self.position + 1, slots)
        if engine.replays:
            used = step_slots(used, slots)
        used = ceil_div(used, POSITION_MULTIPLE) * POSITION_MULTIPLE
        ids = torch.from_numpy(np.array(tokens, np.int64)).to(engine.device)
        position = torch.full((1,), self.position, device=engine.device)
        step = functools.partial(self._step, used=used, predicts=predicts)
        self.generation += predicts
        replayed = engine.replays and len(tokens) == self.streams
        results = self.replay((used, predicts), step, ids, position) if replayed else step(ids, position)
        self.position += 1
        return results

    def _tell(self, results: tuple[Tensor, ...]) -> HeadInput:
        """The head inputs on the host; the engine keeps what else is known."""
        q, scale, sums, table, totals, top = results
        assert self._products is not None
        found, maxima = (part[: len(q)] for part in self._products)
        prediction = empty_prediction(self.engine, q, scale, found, maxima)
        prediction = dataclasses.replace(prediction, sums=sums, table=table, totals=totals, top=top)
        vectors, scales = to_host(q, scale)
        self._told = vectors.copy(), scales.copy(), prediction
        self.engine.latest = weakref.ref(self)
        return HeadInput(vectors[:, None], scales[:, None])

    def predicted(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> Prediction | None:
        """What the head said in the latest step, if these are the head inputs of its first streams."""
        if self._told is None:
            return None
        told_vectors, told_scales, prediction = self._told
        rows = len(vectors)
        same = np.array_equal(told_vectors[:rows], vectors) and np.array_equal(told_scales[:rows], scales)
        return prediction.rows(rows) if same else None

    def _step(self, ids: Tensor, position: Tensor, used: int, predicts: bool) -> tuple[Tensor, ...]:
        """ids [M] int64, position [1] int64 -> head inputs, and if asked for what the head says of them. May be done again."""
        engine, rows = self.engine, len(ids)
        run, device = engine.operations, engine.device
        run.place(position, self.window, self.ring, self._padded_positions, self._visible)
        q = torch.empty(rows, engine.model.spec.d_model, dtype=torch.int8, device=device)
        scale = torch.empty(rows, dtype=torch.float32, device=device)
        self._layers(ids, position, used, q, scale)
        if not predicts:
            return q, scale
        if self._products is None:
            self._products = engine.room(self.streams)
        prediction = empty_prediction(engine, q, scale, *(part[:rows] for part in self._products))
        engine.run_head(prediction)
        return q, scale, prediction.sums, prediction.table, prediction.totals, prediction.top

    def _layers(self, ids: Tensor, position: Tensor, used: int, q: Tensor, scale: Tensor) -> None:
        """The way through the layers, to the head inputs q [M, d] and scale [M]."""
        engine, run = self.engine, self.engine.operations
        space = self._workspace(len(ids))
        run.embed(ids, *engine.embedding, space.x)
        parts = torch.empty(
            run.parts(len(space.x), used), *space.attended.shape, dtype=torch.int32, device=space.x.device
        )
        for i, weights in enumerate(engine.layer_weights):
            cache = self._layer_cache(i, len(ids))
            run.normalize(space.x, space.q, space.scale)
            run.qkv(
                space.q, space.scale, weights.qkv, engine.rope, position, self.ring,
                space.queries, space.query_scales, cache,
            )  # fmt: skip
            run.scores(space.queries, space.query_scales, cache, self._visible, used, space.scores, space.maxima)
            run.values(space.scores, space.maxima, cache, used, parts)
            run.merge(parts, cache.largest, space.attended, space.row_scale)
            run.residual(space.attended, space.row_scale, weights.o, space.x)
            run.normalize(space.x, space.q, space.scale)
            run.gate_up(space.q, space.scale, weights.gate_up, space.inner)
            run.rotate(space.inner, space.scale, space.rotated, space.row_scale)
            run.residual(space.rotated, space.row_scale, weights.down, space.x)
        run.normalize(space.x, q, scale)

    def _layer_cache(self, layer: int, streams: int) -> LayerCache:
        keys, values, key_scales, value_scales = (storage[layer, :streams] for storage in self._storage)
        return LayerCache(keys, values, key_scales, value_scales, self.largest_value[layer, :streams])

    def _workspace(self, rows: int) -> Workspace:
        """Memory for so many rows; that for another number of them is let go."""
        if self._space is None or len(self._space.x) != rows:
            self._space = self._new_workspace(rows)
        return self._space

    def _new_workspace(self, rows: int) -> Workspace:
        spec, device = self.engine.model.spec, self.engine.device
        slots = self._storage[0].shape[3]
        empty = functools.partial(torch.empty, dtype=torch.float32, device=device)
        return Workspace(
            x=empty(rows, spec.d_model),
            q=empty(rows, spec.d_model, dtype=torch.int8),
            scale=empty(rows),
            queries=empty(rows, spec.heads, spec.head_dim, dtype=torch.int8),
            query_scales=empty(rows, spec.heads),
            scores=empty(rows, spec.heads, slots),
            maxima=empty(rows, spec.heads, self.engine.operations.score_tiles(slots)),
            attended=empty(rows, spec.heads * spec.head_dim, dtype=torch.int8),
            row_scale=empty(rows),
            inner=empty(rows, spec.d_ff),
            rotated=empty(rows, spec.d_ff, dtype=torch.int8),
        )

    def copy(self) -> TritonSession:
        """See `TorchSession.copy`."""
        other = copy.copy(self)
        other._storage = tuple(x.clone() for x in self._storage)  # type: ignore[assignment]
        other._padded_positions = self._padded_positions.clone()
        other._visible = self._visible.clone()
        other.largest_value = self.largest_value.clone()
        other._view(len(self.slot_positions))
        other.replay = Replay(self.engine.device)
        other._space, other._products, other._told = None, None, None
        return other
