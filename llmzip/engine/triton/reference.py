"""The operations of a step in torch, with the arguments of `Operations`: what kernels are tested
against and replaced by.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmzip.arithmetic.constants import (
    ATTENTION_ONE_BITS,
    ATTENTION_TOTAL_BITS,
    BUCKET_SIZE,
    EXP2_MAX,
    EXP2_MIN,
    INT8_MAX,
    INT16_MAX,
    WEIGHT_BITS,
)
from llmzip.arithmetic.elementwise import exp2_, largest, quantize_, round_to_range_
from llmzip.arithmetic.frequencies import frequencies
from llmzip.engine.base import SINK_TOKENS
from llmzip.engine.torch_transformer import TorchTransformer
from llmzip.engine.triton.operations import TILE, Operations, TritonLayerCache, Weights


class TorchOperations(Operations):
    """Plain and slow.

    `frequencies` is numpy's, so that tables wait for the host; all else may be recorded as a graph.
    """

    def __init__(self, transformer: TorchTransformer) -> None:
        super().__init__(transformer.spec)
        self._transformer = transformer

    def embed(self, ids: Tensor, table: Tensor, scale: Tensor, x: Tensor) -> None:
        """See `Operations.embed`."""
        x.copy_(table[ids].to(torch.float32).mul_(scale[ids, None]))

    def assign_slot(
        self, position: Tensor, window: int, ring: int, slot_positions: Tensor, visible: Tensor
    ) -> None:
        """See `Operations.assign_slot`."""
        slot_positions[_slots(position, ring)] = position
        recent = (slot_positions > position - window) | (slot_positions < SINK_TOKENS)
        visible.copy_((slot_positions <= position) & recent)

    def rms_norm(self, x: Tensor, q: Tensor, scale: Tensor) -> None:
        """See `Operations.rms_norm`."""
        integers, row_scale = self._transformer.norm(x)
        q.copy_(integers)
        scale.copy_(row_scale[:, 0])

    def qkv(
        self, q: Tensor, scale: Tensor, weights: Weights, rope: Tensor, position: Tensor, ring: int,
        queries: Tensor, query_scales: Tensor, cache: TritonLayerCache,
    ) -> None:  # fmt: skip
        """See `Operations.qkv`."""
        heads, rotated_heads = self.spec.heads, self.spec.heads + self.spec.kv_heads
        y = weights.linear(q).view(len(q), -1, self.spec.head_dim)
        a, b = y[:, :rotated_heads].chunk(2, dim=-1)
        cosine, sine = rope[position].unbind(1)
        rotated = a * cosine - b * sine
        b.copy_(b * cosine + a * sine)
        a.copy_(rotated)
        y, maximum = quantize_(y)
        scales = maximum[..., 0] * (1.0 / INT8_MAX) * scale[:, None]
        slot = _slots(position, ring)
        queries.copy_(y[:, :heads])
        query_scales.copy_(scales[:, :heads])
        cache.keys[:, :, slot] = y[:, heads:rotated_heads, None]
        cache.values[:, :, :, slot] = y[:, rotated_heads:, :, None]
        cache.key_scales[:, :, slot] = scales[:, heads:rotated_heads, None]
        cache.value_scales[:, :, slot] = scales[:, rotated_heads:, None]
        cache.largest.copy_(torch.maximum(cache.largest, scales[:, rotated_heads:]))

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
        """See `Operations.scores`."""
        groups, kind = self.spec.kv_heads, self._transformer.float_type
        # [M * G, H / G, D]
        q = queries.reshape(len(queries) * groups, -1, self.spec.head_dim).to(kind)
        t = torch.bmm(q, cache.keys[:, :, :used].flatten(0, 1).to(kind).transpose(1, 2)).to(
            torch.float32
        )
        t.mul_(cache.key_scales[:, :, :used].flatten(0, 1)[:, None]).mul_(
            query_scales.reshape(len(t), -1, 1)
        )
        t.masked_fill_(visible[:used] == 0, -torch.inf)
        scores[..., :used] = t.view(*scores.shape[:2], used)
        for tile in range(self.score_tiles(used)):
            span = slice(tile * self.score_tile, min(used, (tile + 1) * self.score_tile))
            maxima[..., tile] = scores[..., span].amax(dim=-1)

    def values(
        self, scores: Tensor, maxima: Tensor, cache: TritonLayerCache, used: int, splits: Tensor
    ) -> None:
        """See `Operations.values`."""
        groups, kind = self.spec.kv_heads, self._transformer.float_type
        x = scores[..., :used].reshape(len(scores) * groups, -1, used).clone()
        x.sub_(x.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
        x = exp2_(x).mul_(2.0**ATTENTION_ONE_BITS).round_()
        total = x.sum(dim=-1, keepdim=True, dtype=torch.float64).to(torch.float32)
        one = torch.full_like(total, 2.0**ATTENTION_TOTAL_BITS)
        x.mul_(cache.value_scales[:, :, :used].flatten(0, 1)[:, None])
        x.mul_(one.div_(total.mul_(cache.largest.reshape(-1, 1, 1)))).round_()
        y = torch.bmm(x.to(kind), cache.values[..., :used].flatten(0, 1).to(kind).transpose(1, 2))
        splits.zero_()
        splits[0] = y.to(torch.int32).view(splits.shape[1:])

    def merge(self, splits: Tensor, largest: Tensor, q: Tensor, scale: Tensor) -> None:
        """See `Operations.merge`."""
        groups = self.spec.kv_heads
        total = splits.sum(dim=0).to(torch.float32).view(len(q), groups, -1)
        total.mul_((largest * 2.0**-ATTENTION_TOTAL_BITS)[..., None])
        integers, maximum = quantize_(total.view(len(q), -1))
        q.copy_(integers)
        scale.copy_(maximum[:, 0] * (1.0 / INT8_MAX))

    def residual(self, q: Tensor, row_scale: Tensor, weights: Weights, x: Tensor) -> None:
        """See `Operations.residual`."""
        x.add_(weights.linear(q).mul_(row_scale[:, None]))

    def gate_up(self, q: Tensor, scale: Tensor, weights: Weights, inner: Tensor) -> None:
        """See `Operations.gate_up`."""
        gate, up = torch.split(weights.linear(q), self.spec.d_ff, dim=-1)
        gate = gate * scale[:, None]
        sigmoid = exp2_(gate.clamp(EXP2_MIN, EXP2_MAX)).add_(1.0)
        inner.copy_(gate.mul_(up).div_(sigmoid))

    def rotate(self, inner: Tensor, scale: Tensor, q: Tensor, row_scale: Tensor) -> None:
        """See `Operations.rotate`."""
        integers, maximum = round_to_range_(inner.clone(), INT16_MAX)
        rotated, rotated_maximum = quantize_(self._transformer.rotation(integers))
        q.copy_(rotated)
        factor = maximum.mul_(1.0 / INT16_MAX).mul_(rotated_maximum.mul_(1.0 / INT8_MAX))
        row_scale.copy_(factor[:, 0] * scale)

    def head(self, q: Tensor, weights: Weights, found: Tensor, maxima: Tensor) -> None:
        """See `Operations.head`."""
        found.copy_(weights.linear(q))
        missing = self.tiles * TILE - self.spec.vocab
        padded = torch.nn.functional.pad(found, (0, missing), value=-torch.inf)
        maxima.copy_(padded.view(len(q), self.tiles, TILE).amax(dim=-1))

    def bucket_sums(self, found: Tensor, scales: Tensor, maxima: Tensor, sums: Tensor) -> None:
        """See `Operations.bucket_sums`."""
        sums.copy_(self._weights(found, scales).view(len(found), -1, BUCKET_SIZE).sum(dim=-1))

    def top(self, found: Tensor, maxima: Tensor, top: Tensor) -> None:
        """See `Operations.top`."""
        top.copy_(largest(found, top.shape[1]))

    def bucket_table(self, sums: Tensor, table: Tensor, totals: Tensor) -> None:
        """See `Operations.bucket_table`."""
        totals.copy_(sums.sum(dim=1))
        table.copy_(torch.from_numpy(frequencies(sums.cpu().numpy())))

    def token_table(
        self, found: Tensor, scales: Tensor, maxima: Tensor, chosen: Tensor, tokens: Tensor,
        replaced: Tensor, table: Tensor,
    ) -> None:  # fmt: skip
        """See `Operations.token_table`."""
        weights = self._weights(found, scales).to(torch.int64)
        row, column = torch.nonzero(tokens >= 0, as_tuple=True)
        weights[row, tokens[row, column].to(torch.int64)] = replaced[row, column]
        weights = weights.view(len(found), -1, BUCKET_SIZE)
        weights = weights[torch.arange(len(found), device=weights.device), chosen.to(torch.int64)]
        table.copy_(torch.from_numpy(frequencies(weights.cpu().numpy())))

    def weights_of(
        self, found: Tensor, scales: Tensor, maxima: Tensor, tokens: Tensor, weights: Tensor
    ) -> None:
        """See `Operations.weights_of`."""
        indices = tokens.to(torch.int64)
        weights.copy_(
            self._weights(found, scales).gather(1, indices.clamp(min=0)).mul_(indices >= 0)
        )

    def replace(
        self,
        found: Tensor,
        scales: Tensor,
        maxima: Tensor,
        tokens: Tensor,
        replaced: Tensor,
        sums: Tensor,
    ) -> None:
        """See `Operations.replace`."""
        indices = tokens.to(torch.int64).clamp(min=0)
        change = (replaced - self._weights(found, scales).gather(1, indices)) * (tokens >= 0)
        sums.scatter_add_(1, indices // BUCKET_SIZE, change)

    def _weights(self, found: Tensor, scales: Tensor) -> Tensor:
        """Section 4.8: [M, B * 256] int32."""
        z = found * scales[:, None]
        z.sub_(z.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
        weights = exp2_(z).mul_(2.0**WEIGHT_BITS).to(torch.int32)
        return torch.nn.functional.pad(weights, (0, self.buckets * BUCKET_SIZE - self.spec.vocab))


def _slots(position: Tensor, ring: int) -> Tensor:
    return torch.where(
        position < SINK_TOKENS, position, SINK_TOKENS + (position - SINK_TOKENS) % ring
    )
