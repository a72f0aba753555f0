"""The operations of a step, each by one kernel.

`reference` has the same ones in torch: they define what is right.

Shapes: M rows, each a stream's token; d, F, V of the model; H heads, G key/value heads, D head
size; B buckets.
"""

from __future__ import annotations

import dataclasses

from torch import Tensor

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.engine.torch_layers import Linear
from llmzip.engine.triton import attention, products, rows, tables
from llmzip.engine.triton.launch import (
    ceil_div,
    depth_block,
    launch,
    position_splits,
    power_of_two,
    row_block,
)
from llmzip.model.spec import ModelSpec

TILE = 128
"""Columns of a program of the head: half a bucket."""


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Sizes of attention's programs, the quickest of some on an H100 (docs/notes/gpu.md).

    No bit depends on them.
    """

    scores_positions: int = 128
    """For heads of 64; fewer for larger ones."""
    scores_warps: int = 2
    values_positions: int = 128
    values_warps: int = 8
    values_stages: int = 4
    values_scan: int = 512
    qkv_rows: int = 16
    """Of a program, where there are many."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """A product's weights for the kernels and for the torch path."""

    weight: Tensor  # [N, K] int8
    scale: Tensor  # [N] float32
    linear: Linear


@dataclasses.dataclass(frozen=True)
class TritonLayerCache:
    """One layer's cache as the kernels read it: P slots, of which the last ones may be padding."""

    keys: Tensor  # [M, G, P, D] int8
    values: Tensor  # [M, G, D, P] int8
    key_scales: Tensor  # [M, G, P] float32
    value_scales: Tensor  # [M, G, P] float32
    largest: Tensor  # [M, G] float32, of the value scales so far


class Operations:
    """The kernels.

    An operation writes to its last arguments, unless its docstring says otherwise.
    """

    def __init__(self, spec: ModelSpec, tuning: Tuning | None = None) -> None:
        self.spec = spec
        self.tuning = tuning or Tuning()
        self.buckets = ceil_div(spec.vocab, BUCKET_SIZE)
        self.tiles = ceil_div(spec.vocab, TILE)
        self.score_tile = max(
            32, self.tuning.scores_positions * 64 // power_of_two(spec.head_dim, 32)
        )

    def splits(self, streams: int, used: int) -> int:
        """The number of splits that `values` makes of the positions."""
        return position_splits(streams * self.spec.kv_heads, used, self.tuning.values_positions)[0]

    def score_tiles(self, slots: int) -> int:
        """The number of tiles that `scores` makes of so many slots."""
        return ceil_div(slots, self.score_tile)

    def embed(self, ids: Tensor, table: Tensor, scale: Tensor, x: Tensor) -> None:
        """Section 4.1: ids [M] int64, table [V, d] int8, scale [V] -> x [M, d] float32."""
        d = self.spec.d_model
        launch(rows.embed_kernel, (len(ids),), ids, table, scale, x, d=d, BLOCK=power_of_two(d))

    def assign_slot(
        self, position: Tensor, window: int, ring: int, slot_positions: Tensor, visible: Tensor
    ) -> None:
        """The new position [1] int64 into its slot: slot_positions [P] int64, visible [P] int8."""
        slots = len(slot_positions)
        grid = (ceil_div(slots, 256),)
        launch(
            rows.assign_slot_kernel,
            grid,
            position,
            slot_positions,
            visible,
            slots,
            window,
            ring,
            BLOCK=256,
        )

    def rms_norm(self, x: Tensor, q: Tensor, scale: Tensor) -> None:
        """Section 4.2: x [M, d] float32 -> q [M, d] int8, scale [M]."""
        d = self.spec.d_model
        launch(
            rows.rms_norm_kernel, (len(x),), x, q, scale,
            norm_eps=self.spec.norm_eps, inverse_width=1.0 / d, d=d, BLOCK=power_of_two(d),
        )  # fmt: skip

    def qkv(
        self, q: Tensor, scale: Tensor, weights: Weights, rope: Tensor, position: Tensor, ring: int,
        queries: Tensor, query_scales: Tensor, cache: TritonLayerCache,
    ) -> None:  # fmt: skip
        """Section 4.3: q [M, d], scale [M] -> queries [M, H, D] int8, query_scales [M, H], a
        position of the cache.
        """
        spec = self.spec
        block = row_block(len(q), 32 if len(q) <= 128 else self.tuning.qkv_rows)
        grid = (spec.heads + 2 * spec.kv_heads, ceil_div(len(q), block))
        into = (
            queries,
            query_scales,
            cache.keys,
            cache.values,
            cache.key_scales,
            cache.value_scales,
            cache.largest,
        )
        numbers = (len(q), ring, cache.keys.shape[2])
        launch(
            products.qkv_kernel, grid, q, scale, weights.weight, weights.scale, rope, position,
            *into, *numbers, **self._heads(), K=spec.d_model, ROWS=block,
            HALF=power_of_two(spec.head_dim // 2, 16), DEPTH=depth_block(spec.d_model), stages=4,
        )  # fmt: skip

    def scores(
        self,
        queries: Tensor,
        query_scales: Tensor,
        cache: TritonLayerCache,
        visible: Tensor,
        used: int,
        scores: Tensor,
        maxima: Tensor,
    ) -> None:
        """Scores t_j of the first `used` slots: scores [M, H, P] float32, and each tile's maximum
        [M, H, `score_tiles(P)`].
        """
        spec = self.spec
        grid = (len(queries) * spec.kv_heads, self.score_tiles(used))
        launch(
            attention.scores_kernel, grid, queries, query_scales, cache.keys, cache.key_scales,
            visible, scores, maxima, used, cache.keys.shape[2], maxima.shape[2], **self._heads(),
            SHARED=power_of_two(spec.heads // spec.kv_heads, 16),
            DIM=power_of_two(spec.head_dim, 32), POSITIONS=self.score_tile,
            warps=self.tuning.scores_warps,
        )  # fmt: skip

    def values(
        self, scores: Tensor, maxima: Tensor, cache: TritonLayerCache, used: int, splits: Tensor
    ) -> None:
        """From scores to sums: splits [`self.splits(M, used)`, M, H * D] int32, to be added up."""
        spec = self.spec
        pairs = len(scores) * spec.kv_heads
        count, length = position_splits(pairs, used, self.tuning.values_positions)
        launch(
            attention.values_kernel, (pairs, count), scores, maxima, cache.values,
            cache.value_scales, cache.largest, splits, len(scores), used, cache.keys.shape[2],
            length, maxima.shape[2], self.score_tiles(used), **self._heads(),
            SHARED=power_of_two(spec.heads // spec.kv_heads, 4),
            DIM=power_of_two(spec.head_dim, 16),
            SCAN=self.tuning.values_scan, POSITIONS=self.tuning.values_positions,
            warps=self.tuning.values_warps, stages=self.tuning.values_stages,
        )  # fmt: skip

    def merge(self, splits: Tensor, largest: Tensor, q: Tensor, scale: Tensor) -> None:
        """Add up the splits: q [M, H * D] int8 and the rows' factors maximum / 127: scale [M]."""
        width = self.spec.heads * self.spec.head_dim
        launch(
            rows.merge_kernel, (len(q),), splits, largest, q, scale, len(q), len(splits),
            **self._heads(), BLOCK=power_of_two(width),
        )  # fmt: skip

    def residual(self, q: Tensor, row_scale: Tensor, weights: Weights, x: Tensor) -> None:
        """x [M, d] += linear(weights, q) * row_scale: q [M, K] int8, row_scale [M]."""
        outputs, depth = weights.weight.shape
        block = row_block(len(q), 32)
        columns = 32 if len(q) <= 16 else 64
        launch(
            products.residual_kernel, (ceil_div(outputs, columns), ceil_div(len(q), block)),
            q, row_scale, weights.weight, weights.scale, x, len(q),
            N=outputs, K=depth, ROWS=block, COLUMNS=columns, DEPTH=depth_block(depth), stages=4,
        )  # fmt: skip

    def gate_up(self, q: Tensor, scale: Tensor, weights: Weights, inner: Tensor) -> None:
        """The first half of section 4.6: q [M, d], scale [M] -> m: inner [M, F] float32."""
        spec = self.spec
        block = row_block(len(q))
        columns = 32 if len(q) <= 16 else 64
        launch(
            products.gate_up_kernel, (ceil_div(spec.d_ff, columns), ceil_div(len(q), block)),
            q, scale, weights.weight, weights.scale, inner, len(q), F=spec.d_ff, K=spec.d_model,
            ROWS=block, COLUMNS=columns, DEPTH=depth_block(spec.d_model), stages=4,
        )  # fmt: skip

    def rotate(self, inner: Tensor, scale: Tensor, q: Tensor, row_scale: Tensor) -> None:
        """m to integers, rotated, to q [M, F] int8, and the factor of each row of the product that
        follows [M].
        """
        size, width = self.spec.mlp_rotation, self.spec.d_ff
        blocks = power_of_two(width // size)
        launch(
            rows.rotate_kernel, (len(inner),), inner, scale, q, row_scale, width=width,
            BLOCKS=blocks, SIZE=size, BITS=size.bit_length() - 1,
            warps=max(4, min(16, blocks * size // 1024)),
        )  # fmt: skip

    def head(self, q: Tensor, weights: Weights, found: Tensor, maxima: Tensor) -> None:
        """linear(head, q): found [M, V] float32, and the largest of each `TILE` tokens: maxima [M,
        tiles].
        """
        spec = self.spec
        block = row_block(len(q), 128)
        launch(
            products.head_kernel, (ceil_div(len(q), block), self.tiles), q, weights.weight,
            weights.scale, found, maxima, len(q), N=spec.vocab, K=spec.d_model, TILES=self.tiles,
            ROWS=block, COLUMNS=TILE, DEPTH=depth_block(spec.d_model),
            warps=8 if block == 128 else 4, stages=4,
        )  # fmt: skip

    def bucket_sums(self, found: Tensor, scales: Tensor, maxima: Tensor, sums: Tensor) -> None:
        """The sums of the token weights of each bucket: sums [M, B] int64."""
        launch(
            tables.bucket_sums_kernel, (len(found), ceil_div(self.buckets, 8)), found, scales,
            maxima, sums, **self._vocabulary(), buckets=self.buckets, BLOCK=8,
        )  # fmt: skip

    def top(self, found: Tensor, maxima: Tensor, top: Tensor) -> None:
        """The likeliest tokens: top [M, n] int32, best first."""
        launch(
            tables.top_kernel,
            (len(found),),
            found,
            maxima,
            top,
            **self._vocabulary(),
            count=top.shape[1],
            TILE=TILE,
        )

    def bucket_table(self, sums: Tensor, table: Tensor, totals: Tensor) -> None:
        """Frequencies of the buckets [M, B] int32, and the sums of all weights [M] int64."""
        block = power_of_two(self.buckets)
        launch(
            tables.bucket_table_kernel,
            (len(sums),),
            sums,
            table,
            totals,
            buckets=self.buckets,
            BLOCK=block,
        )

    def token_table(
        self, found: Tensor, scales: Tensor, maxima: Tensor, chosen: Tensor, tokens: Tensor,
        replaced: Tensor, table: Tensor,
    ) -> None:  # fmt: skip
        """Frequencies in the buckets chosen [M] int32, with replaced [M, C] int64 for tokens [M, C]
        int32: [M, 256] int32.
        """
        launch(
            tables.token_table_kernel, (len(chosen),), found, scales, maxima, chosen, tokens,
            replaced, table, tokens.shape[1], **self._vocabulary(),
        )  # fmt: skip

    def weights_of(
        self, found: Tensor, scales: Tensor, maxima: Tensor, tokens: Tensor, weights: Tensor
    ) -> None:
        """Weights of tokens [M, C] int32, 0 of negative ones: weights [M, C] int32."""
        grid = (len(tokens), ceil_div(tokens.shape[1], 128))
        launch(
            tables.weights_of_kernel, grid, found, scales, maxima, tokens, weights, tokens.shape[1],
            **self._vocabulary(), BLOCK=128,
        )  # fmt: skip

    def replace(
        self,
        found: Tensor,
        scales: Tensor,
        maxima: Tensor,
        tokens: Tensor,
        replaced: Tensor,
        sums: Tensor,
    ) -> None:
        """Change sums [M, B] int64 as if tokens [M, C] had the weights replaced [M, C] int64."""
        grid = (len(tokens), ceil_div(tokens.shape[1], 128))
        launch(
            tables.replace_kernel, grid, found, scales, maxima, tokens, replaced, sums,
            tokens.shape[1], **self._vocabulary(), buckets=self.buckets, BLOCK=128,
        )  # fmt: skip

    def _heads(self) -> dict[str, int]:
        return {
            "heads": self.spec.heads,
            "groups": self.spec.kv_heads,
            "head_dim": self.spec.head_dim,
        }

    def _vocabulary(self) -> dict[str, int]:
        return {"vocab": self.spec.vocab, "tiles": self.tiles, "TILES": power_of_two(self.tiles)}
