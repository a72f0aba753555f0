"""Element-wise exact steps in torch: each line is one correctly rounded float32 operation.

Functions whose name ends in an underscore overwrite their argument, as in torch. Nothing here may
be fused: a multiply-add in one rounding gives other bits.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmzip.arithmetic.constants import (
    EXP2_C1,
    EXP2_C2,
    EXP2_C3,
    INT8_MAX,
    ROW_FLOOR,
    WIDE_BASE,
)


def exp2_(x: Tensor) -> Tensor:
    """2**x for float32 x in [-30, 30] (docs/arithmetic.md, section 1.3); overwrites x and returns a
    new tensor.
    """
    whole = x.floor()
    r = x.sub_(whole)  # [0, 1]
    y = r * EXP2_C3
    y.add_(EXP2_C2).mul_(r).add_(EXP2_C1).mul_(r).add_(1.0)  # [1, 2]
    # Times 2**whole, on the exponent bits.
    y.view(torch.int32).add_(whole.to(torch.int32).bitwise_left_shift_(23))
    return y


def row_maximum(x: Tensor) -> Tensor:
    """max(|x|, 2**-40) over the last axis: [..., K] -> [..., 1]."""
    return x.abs().amax(dim=-1, keepdim=True).clamp_(min=ROW_FLOOR)


def round_to_range_(x: Tensor, limit: float) -> tuple[Tensor, Tensor]:
    """Scale each row to [-limit, limit] and round: [..., K] -> integers as float32 [..., K], maxima
    [..., 1].
    """
    maximum = row_maximum(x)
    return x.mul_(torch.full_like(maximum, limit).div_(maximum)).round_(), maximum


def quantize_(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 rows and their maxima: [..., K] float32 -> [..., K] int8, [..., 1] float32; x ~ q *
    maximum / 127.
    """
    q, maximum = round_to_range_(x, INT8_MAX)
    return q.to(torch.int8), maximum


def split_wide(q: Tensor) -> tuple[Tensor, Tensor]:
    """Integers of 16 bits, at most 127 * 256, as two of 8: q = low + 256 * high."""
    high = q.add(WIDE_BASE / 2).div_(WIDE_BASE).floor_()
    return q.sub(high * WIDE_BASE).to(torch.int8), high.to(torch.int8)


def largest(x: Tensor, count: int) -> Tensor:
    """The indices of each row's `count` largest numbers, equal ones by index: [M, V] float32 -> [M,
    count] int64.
    """
    bits = x.contiguous().view(torch.int32).to(torch.int64)
    # Ordered as the numbers are; -0 is 0.
    ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)
    columns = torch.arange(x.shape[-1], device=x.device)
    return (ordered * 2**32 - columns).topk(count, dim=-1).indices
