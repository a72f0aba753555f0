"""The exact arithmetic's roundings as differentiable torch functions.

Forward they round as docs/arithmetic.md does, backward they are the identity (straight-through
estimator, arXiv 1308.3432), so that training sees and repairs what exactness costs. Scales are
constants to the gradient.
"""

from __future__ import annotations

import torch
from torch import Tensor

from llmzip.arithmetic.constants import INT8_MAX, ROW_FLOOR
from llmzip.model.adapter import FACTOR_MAX

_FACTOR_STEP = 0.4
"""Steps of a factor, in units of its row's root mean square: near the best of 15 levels for normal
numbers.
"""


def rounded(x: Tensor) -> Tensor:
    """The nearest integers, ties to even; the gradient passes."""
    return x + (x.round() - x).detach()


def quantized(x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows to int8 range: [..., K] float32 -> integers as float32 [..., K], scales [..., 1]; x ~
    integers * scale.
    """
    step = x.detach().abs().amax(dim=-1, keepdim=True).clamp(min=ROW_FLOOR) / INT8_MAX
    return rounded(x / step), step


def normalized(x: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """RMS norm of the quantized row (section 4.2): [..., d] float32 -> integers [..., d], scales
    [..., 1].
    """
    q, step = quantized(x)
    return q, torch.rsqrt(q.square().mean(dim=-1, keepdim=True) + epsilon / step.square())


def factor_step(x: Tensor) -> Tensor:
    """The bfloat16 scale of each row of a factor: [..., r] -> [..., 1] float32."""
    largest, mean_square = x.abs().amax(dim=-1, keepdim=True), x.square().mean(dim=-1, keepdim=True)
    step = torch.minimum(largest / FACTOR_MAX, _FACTOR_STEP * mean_square.sqrt())
    return step.clamp(min=2.0**-24).to(torch.bfloat16).to(torch.float32)


def factor_integers(x: Tensor, step: Tensor) -> Tensor:
    """The integers of a factor, as they are stored."""
    return (x / step).round().clamp(-FACTOR_MAX, FACTOR_MAX)


def factor(x: Tensor) -> Tensor:
    """A factor as it will be stored, 4 bits an entry and a scale a row; the gradient passes."""
    step = factor_step(x.detach())
    return x + (factor_integers(x.detach(), step) * step - x).detach()


def as_bfloat16(x: Tensor) -> Tensor:
    """The nearest bfloat16 numbers, as float32; the gradient passes."""
    near: Tensor = x + (x.detach().to(torch.bfloat16).to(torch.float32) - x).detach()
    return near


def rotation(block: int, device: torch.device | str) -> Tensor:
    """The orthonormal Hadamard matrix: [block, block] float32."""
    h = torch.ones(1, 1)
    while len(h) < block:
        h = torch.cat((torch.cat((h, h), 1), torch.cat((h, -h), 1)))
    normal: Tensor = h / block**0.5
    return normal.to(device)


def rotated(x: Tensor, matrix: Tensor) -> Tensor:
    """Blocks of the last axis times a Hadamard matrix: [..., K] -> [..., K]."""
    block = len(matrix)
    return (x.view(*x.shape[:-1], -1, block) @ matrix.to(x.dtype)).flatten(-2)
