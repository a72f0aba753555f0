"""What the products of a decoder with features read: vectors of int8, or of 16 bits as two of int8
(docs/arithmetic.md, section 4.9, "Wide inputs").

Shapes as in `torch_layers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from llmzip.arithmetic.constants import INT8_MAX, WIDE_BASE, WIDE_MAX
from llmzip.arithmetic.elementwise import quantize_, round_to_range_, split_wide
from llmzip.engine.torch_layers import Linear, RMSNorm

MAX_INPUT_SCALE = 2.0**5

Limbs = Sequence[tuple[Tensor, Tensor]]
"""int8 [M, K] and row scales [M, 1] float32, once or, low bytes first, twice: what is meant is the
sum of their products.
"""


def limbs_(x: Tensor, wide: bool) -> Limbs:
    """Rows to integers: float32 [M, K], which is overwritten."""
    if not wide:
        q, maximum = quantize_(x)
        return ((q, maximum.mul_(1.0 / INT8_MAX)),)
    whole, maximum = round_to_range_(x, WIDE_MAX)
    return _split(whole, maximum.mul_(1.0 / WIDE_MAX))


def scaled(limbs: Limbs, scale: Tensor) -> Limbs:
    """Limbs times row scales [M, 1]."""
    return [(q, scale * own) for q, own in limbs]


def products(linear: Linear, limbs: Limbs) -> list[Tensor]:
    """The product with each limb: [M, N] float32, to be added in this order."""
    return [linear(q).mul_(scale) for q, scale in limbs]


def product(linear: Linear, limbs: Limbs) -> Tensor:
    """Their sum."""
    total, *others = products(linear, limbs)
    for other in others:
        total.add_(other)
    return total


@dataclasses.dataclass(frozen=True)
class NormedInput:
    """What a layer reads: the residual vector, normalized."""

    norm: RMSNorm
    wide: bool

    def __call__(self, x: Tensor) -> Limbs:
        """[M, d] float32 -> limbs."""
        if not self.wide:
            return (self.norm(x),)
        whole, maximum = round_to_range_(x.clone(), WIDE_MAX)
        squares = whole.to(torch.int64).square_().sum(dim=-1, keepdim=True).to(torch.float32)
        inverse = torch.full_like(maximum, WIDE_MAX).div_(maximum)
        return _split(whole, self.norm.scale(squares, inverse))


@dataclasses.dataclass(frozen=True)
class UnnormedInput:
    """The same where a layer reads the residual vector itself."""

    wide: bool

    def __call__(self, x: Tensor) -> Limbs:
        """See `NormedInput`."""
        low, *high = limbs_(x.clone(), self.wide)
        most = MAX_INPUT_SCALE / WIDE_BASE if high else MAX_INPUT_SCALE
        scale = low[1].clamp_(max=most)
        return [(low[0], scale), *((q, scale * WIDE_BASE) for q, _ in high)]


def _split(whole: Tensor, scale: Tensor) -> Limbs:
    low, high = split_wide(whole)
    return (low, scale), (high, scale * WIDE_BASE)
