"""The GPU engine's sessions: a token of each stream by kernels, replayed as one graph; few streams'
chunks by the torch path.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.engine.base import HeadInput
from llmzip.engine.torch_session import TorchSession, step_slots
from llmzip.engine.triton.cache import TritonKVCache
from llmzip.engine.triton.launch import POSITION_MULTIPLE, ceil_div
from llmzip.engine.triton.prediction import (
    HostCopies,
    Prediction,
    empty_prediction,
    to_device,
    to_host,
)
from llmzip.engine.triton.transformer import TritonTransformer

STEP_STREAMS = 64
"""From so many streams on, chunks are fed token by token: the kernels' steps are then quicker than
the torch path's chunks.
"""


_IDS = 2
"""Where the ids lie behind the position: at a multiple of 16 bytes, as kernels like it."""


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


class PendingHead(HeadInput):
    """Head inputs of a step [M, 1, d] that are waited for when they are looked at; nobody may
    change them.
    """

    def __init__(self, copies: HostCopies) -> None:
        """copies: vectors [M, d], scales [M], and what else belongs to them."""
        object.__setattr__(self, "_copies", copies)

    def arrays(self) -> list[npt.NDArray[Any]]:
        """All copies."""
        copies: HostCopies = self.__dict__["_copies"]
        found = copies.arrays()
        for array in found[:2]:
            array.setflags(write=False)
        return found

    @property
    def vectors(self) -> npt.NDArray[np.int8]:
        """See `HeadInput`."""
        vectors: npt.NDArray[np.int8] = self.arrays()[0][:, None]
        return vectors

    @property
    def scales(self) -> npt.NDArray[np.float32]:
        """See `HeadInput`."""
        scales: npt.NDArray[np.float32] = self.arrays()[1][:, None]
        return scales


def _is_same(mine: npt.NDArray[Any], given: npt.NDArray[Any]) -> bool:
    """Whether two arrays hold the same, which is plain where they are the same memory."""
    places = [(x.__array_interface__["data"][0], x.shape, x.strides) for x in (mine, given)]
    return places[0] == places[1] or np.array_equal(mine, given)


class TritonSession(TorchSession):
    """S streams and their cache, whose values lie with their positions in a row, as the kernels
    read them.
    """

    cache: TritonKVCache
    cache_type = TritonKVCache
    _transformer: TritonTransformer

    def __init__(
        self,
        transformer: TritonTransformer,
        streams: int,
        window: int,
        chunk: int,
        replays: bool = False,
    ) -> None:
        super().__init__(transformer, streams, window, chunk, replays)
        self.generation = 0
        self._space: Workspace | None = None
        self._products: tuple[Tensor, Tensor] | None = None
        self._latest: tuple[PendingHead, Prediction] | None = None

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        streams, count = tokens.shape
        spec = self._transformer.spec
        fits = self.position + count <= spec.max_positions and count <= self._chunk
        if not fits or (count > 1 and streams < STEP_STREAMS):
            return super().advance(tokens)
        if tokens.min() < 0 or tokens.max() >= spec.vocab:
            raise ValueError(f"a token lies outside the vocabulary of {spec.vocab}")
        with self._transformer.working():
            if count == 1:
                return self._keep(self._advance(tokens[:, 0], predicts=True))
            heads = [self._advance(tokens[:, t], predicts=False) for t in range(count)]
            vectors, scales = to_host(
                *(torch.stack(parts, dim=1) for parts in zip(*heads, strict=True))
            )
            return HeadInput(vectors, scales)

    def _advance(self, tokens: npt.NDArray[np.int32], predicts: bool) -> tuple[Tensor, ...]:
        """Feed a token [M] to each stream; returns the results of `_step`."""
        device, slots = self._transformer.device, self.cache.slots
        used = min(self.position + 1, slots)
        if self._replays:
            used = step_slots(used, slots)
        used = ceil_div(used, POSITION_MULTIPLE) * POSITION_MULTIPLE
        given = np.zeros(_IDS + len(tokens), np.int64)
        given[0], given[_IDS:] = self.position, tokens
        inputs = to_device(given, device)
        step = functools.partial(self._step, used=used, predicts=predicts)
        self.generation += predicts
        results = (
            self.replay((used, predicts), step, inputs, copies=not predicts)
            if self._replays
            else step(inputs)
        )
        self.position += 1
        self._last = 1
        return results

    def _keep(self, results: tuple[Tensor, ...]) -> HeadInput:
        """The head inputs, on their way to the host; the prediction stays on the device."""
        q, scale, sums, table, totals, top = results
        assert self._products is not None
        found, maxima = (part[: len(q)] for part in self._products)
        prediction = Prediction(q, scale, found, maxima, sums, table, totals, top)
        head = PendingHead(HostCopies(q, scale, top, totals))
        self._latest = head, prediction
        self._transformer.note_predictor(self)
        return head

    def predicted(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> tuple[Prediction, list[npt.NDArray[Any]]] | None:
        """See `Predictor.predicted`: of the first streams of the latest step."""
        if self._latest is None:
            return None
        head, prediction = self._latest
        latest_vectors, latest_scales, top, totals = head.arrays()
        rows = len(vectors)
        if not _is_same(latest_vectors[:rows], vectors) or not _is_same(
            latest_scales[:rows], scales
        ):
            return None
        return prediction.rows(rows), [top[:rows], totals[:rows]]

    def _step(self, inputs: Tensor, used: int, predicts: bool) -> tuple[Tensor, ...]:
        """The position, and from _IDS on the ids [M], int64 -> head inputs, and if asked for the
        head's prediction.

        May be done again.
        """
        position, ids = inputs[:1], inputs[_IDS:]
        transformer, cache, rows = self._transformer, self.cache, len(ids)
        run, device = transformer.operations, transformer.device
        run.assign_slot(position, cache.window, cache.ring, cache.padded_positions, cache.visible)
        q = torch.empty(rows, transformer.spec.d_model, dtype=torch.int8, device=device)
        scale = torch.empty(rows, dtype=torch.float32, device=device)
        self._layers(ids, position, used, q, scale)
        if not predicts:
            return q, scale
        if self._products is None:
            self._products = transformer.head_room(self.streams)
        prediction = empty_prediction(run, q, scale, *(part[:rows] for part in self._products))
        transformer.run_head(prediction)
        return q, scale, prediction.sums, prediction.table, prediction.totals, prediction.top

    def _layers(self, ids: Tensor, position: Tensor, used: int, q: Tensor, scale: Tensor) -> None:
        """All layers, from ids to the head inputs q [M, d] and scale [M]."""
        transformer, run = self._transformer, self._transformer.operations
        space = self._workspace(len(ids))
        run.embed(ids, *transformer.embedding, space.x)
        splits = torch.empty(
            run.splits(len(space.x), used),
            *space.attended.shape,
            dtype=torch.int32,
            device=space.x.device,
        )
        for i, weights in enumerate(transformer.layer_weights):
            cache = self.cache.kernel_layer(i, len(ids))
            run.rms_norm(space.x, space.q, space.scale)
            run.qkv(
                space.q, space.scale, weights.qkv, transformer.rope.table, position,
                self.cache.ring, space.queries, space.query_scales, cache,
            )  # fmt: skip
            run.scores(
                space.queries, space.query_scales, cache, self.cache.visible, used,
                space.scores, space.maxima,
            )  # fmt: skip
            run.values(space.scores, space.maxima, cache, used, splits)
            run.merge(splits, cache.largest, space.attended, space.row_scale)
            run.residual(space.attended, space.row_scale, weights.o, space.x)
            run.rms_norm(space.x, space.q, space.scale)
            run.gate_up(space.q, space.scale, weights.gate_up, space.inner)
            run.rotate(space.inner, space.scale, space.rotated, space.row_scale)
            run.residual(space.rotated, space.row_scale, weights.down, space.x)
        run.rms_norm(space.x, q, scale)

    def _workspace(self, rows: int) -> Workspace:
        """Memory for so many rows; that for another number of rows is freed."""
        if self._space is None or len(self._space.x) != rows:
            self._space = self._new_workspace(rows)
        return self._space

    def _new_workspace(self, rows: int) -> Workspace:
        spec, device = self._transformer.spec, self._transformer.device
        slots = len(self.cache.padded_positions)
        empty = functools.partial(torch.empty, dtype=torch.float32, device=device)
        return Workspace(
            x=empty(rows, spec.d_model),
            q=empty(rows, spec.d_model, dtype=torch.int8),
            scale=empty(rows),
            queries=empty(rows, spec.heads, spec.head_dim, dtype=torch.int8),
            query_scales=empty(rows, spec.heads),
            scores=empty(rows, spec.heads, slots),
            maxima=empty(rows, spec.heads, self._transformer.operations.score_tiles(slots)),
            attended=empty(rows, spec.heads * spec.head_dim, dtype=torch.int8),
            row_scale=empty(rows),
            inner=empty(rows, spec.d_ff),
            rotated=empty(rows, spec.d_ff, dtype=torch.int8),
        )

    def copy(self) -> TritonSession:
        """See `TorchSession.copy`."""
        other = super().copy()
        other._space, other._products, other._latest = None, None, None
        return other
