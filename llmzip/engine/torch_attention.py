"""Integer softmax attention in torch (docs/arithmetic.md, sections 4.3 to 4.5).

Shapes: S streams, T tokens of each in a call, M = S * T rows, N keys, H heads, G key/value heads, D
head size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from llmzip.arithmetic.constants import (
    ATTENTION_ONE_BITS,
    ATTENTION_TOTAL_BITS,
    EXP2_MIN,
    INT8_MAX,
    INT16_MAX,
)
from llmzip.arithmetic.elementwise import exp2_, quantize_, round_to_range_
from llmzip.engine.torch_cache import LayerCache, View
from llmzip.engine.torch_layers import HadamardRotation, Linear, RoPE


@dataclasses.dataclass(frozen=True)
class HeadAttention:
    """Grouped-query attention between its products; q, k and v are stacked because they share their
    input.
    """

    qkv: Linear
    o: Linear
    rope: RoPE | None
    """None: no rotary positions."""
    heads: int
    kv_heads: int
    head_dim: int
    float_type: torch.dtype
    """In which products of int8 are exact."""
    max_scores: int
    """How many scores are worked on at a time."""
    window: int = 0
    """How many positions this layer sees, its own included; 0: all that the view shows."""
    cap: Callable[[Tensor], Tensor] | None = None
    """What keeps scores within bounds."""
    key_rotation: HadamardRotation | None = None
    """Of queries and keys within their heads, before they are rounded."""

    def attended(self, qkv: Tensor, scale: Tensor, cache: LayerCache, view: View) -> Tensor:
        """Scaled sums [M, (H + 2G) * D], row scales [M, 1] -> [M, H * D] float32.

        The new positions' keys and values go into the cache.
        """
        streams, count = len(cache.keys), len(view.positions)
        groups, size = self.kv_heads, self.head_dim
        qkv = qkv.view(streams, count, self.heads + 2 * groups, size)
        rotated = self.heads + groups
        if self.rope is not None:
            self.rope(qkv[:, :, :rotated], view.positions)
        own = self._rotate_(qkv[:, :, :rotated])
        heads, maximum = quantize_(qkv)
        scales = maximum.mul_(1.0 / INT8_MAX)
        if own is not None:
            scales[:, :, :rotated].mul_(own)
        # [S, T, H + 2G]
        scales = scales.mul_(scale.view(streams, count, 1, 1)).squeeze(-1)
        sizes = [self.heads, groups, groups]
        queries, keys, values = torch.split(heads, sizes, dim=2)
        query_scales, key_scales, value_scales = torch.split(scales, sizes, dim=2)
        largest = cache.put(view.slots, keys, values, key_scales, value_scales)

        out = torch.empty(streams, count, self.heads * size, dtype=torch.float32, device=qkv.device)
        at_once = max(1, self.max_scores // (self.heads * count * view.used))
        for start in range(0, streams, at_once):
            span = slice(start, min(start + at_once, streams))
            out[span] = self._attend(
                cache, span, queries[span], query_scales[span], largest[span], view
            )
        return out.view(streams * count, self.heads * size)

    def _rotate_(self, heads: Tensor) -> Tensor | None:
        """Queries and keys [..., D] to rotated integers, in place; their scales [..., 1]."""
        if self.key_rotation is None:
            return None
        whole, maximum = round_to_range_(heads.clone(), INT16_MAX)
        heads.copy_(self.key_rotation(whole))
        return maximum.mul_(1.0 / INT16_MAX)

    def _attend(
        self,
        cache: LayerCache,
        span: slice,
        q: Tensor,
        q_scale: Tensor,
        largest: Tensor,
        view: View,
    ) -> Tensor:
        """Some streams: q [s, T, H, D] int8, q_scale [s, T, H], largest [s, G, T] -> [s, T, H *
        D].
        """
        kind = self.float_type
        streams, count = q.shape[:2]
        groups, shared = self.kv_heads, self.heads // self.kv_heads

        def cached(x: Tensor) -> Tensor:
            return x[span, :, : view.used].flatten(0, 1)  # [s * G, N, ...]

        def by_group(x: Tensor) -> Tensor:  # [s, T, H, ...] -> [s * G, H/G * T, ...]
            x = x.view(streams, count, groups, shared, -1).permute(0, 2, 3, 1, 4)
            return x.reshape(streams * groups, shared * count, -1)

        x = torch.bmm(by_group(q).to(kind), cached(cache.keys).to(kind).transpose(1, 2)).to(
            torch.float32
        )
        # Log2 of the weights: [s * G, H/G * T, N].
        x.mul_(cached(cache.key_scales)[:, None]).mul_(by_group(q_scale))
        if self.cap is not None:
            x = self.cap(x)
        hidden = view.hidden_in(self.window)
        if hidden is not None:
            x.view(-1, shared, count, view.used).masked_fill_(hidden, -torch.inf)
        x.sub_(x.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
        x = exp2_(x).mul_(2.0**ATTENTION_ONE_BITS).round_()
        total = x.sum(dim=-1, keepdim=True, dtype=torch.float64).to(torch.float32)
        bound = largest.view(-1, 1, count).expand(-1, shared, -1).reshape(-1, shared * count, 1)
        one = torch.full_like(total, 2.0**ATTENTION_TOTAL_BITS)
        x.mul_(cached(cache.value_scales)[:, None]).mul_(one.div_(total.mul_(bound))).round_()
        y = torch.bmm(x.to(kind), cached(cache.values).to(kind)).to(torch.float32)
        y.mul_(bound * 2.0**-ATTENTION_TOTAL_BITS)
        y = y.view(streams, groups, shared, count, -1).permute(0, 3, 1, 2, 4)
        return y.reshape(streams, count, -1)


@dataclasses.dataclass(frozen=True)
class Attention(HeadAttention):
    """Attention with its products."""

    def __call__(self, x: Tensor, scale: Tensor, cache: LayerCache, view: View) -> Tensor:
        """[M, d] int8, row scales [M, 1] -> [M, d] float32."""
        attended, maximum = quantize_(self.attended(self.qkv(x), scale, cache, view))
        return self.o(attended).mul_(maximum.mul_(1.0 / INT8_MAX))
