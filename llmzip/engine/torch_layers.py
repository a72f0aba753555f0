"""The layers of docs/arithmetic.md, section 4, in torch: linear, RMSNorm, RoPE and the gated MLP.

A layer holds its own weights and knows nothing of engines, sessions or caches. Shapes: M rows, each
a token of a stream; K, N inputs and outputs; d the model's width; D a head's; F the MLP's.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from llmzip.arithmetic.constants import EXP2_MAX, EXP2_MIN, INT8_MAX, INT16_MAX
from llmzip.arithmetic.elementwise import exp2_, quantize_, round_to_range_
from llmzip.arithmetic.gemm import Int8Kernel


@dataclasses.dataclass(frozen=True)
class Linear:
    """int8 weights in a kernel's layout, and their scales."""

    kernel: Int8Kernel
    weight: Tensor
    scale: Tensor  # [N] float32

    def __call__(self, x: Tensor) -> Tensor:
        """[M, K] int8 -> [M, N] float32: sum * scale; the row's own scale is left to the caller."""
        return self.kernel.multiply(x, self.weight, len(self.scale)).mul_(self.scale)


@dataclasses.dataclass(frozen=True)
class RMSNorm:
    """Root-mean-square norm and quantization in one (section 4.2); its weights are folded into the
    next linear layer.
    """

    epsilon: Tensor  # [] float32
    inverse_width: Tensor  # [] float32, 1 / d

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[M, d] float32 -> [M, d] int8, row scales [M, 1] float32."""
        q, maximum = quantize_(x.clone())
        squares = q.to(torch.int32).square_().sum(dim=-1, keepdim=True).to(torch.float32)
        return q, self.scale(squares, torch.full_like(maximum, INT8_MAX).div_(maximum))

    def scale(self, squares: Tensor, inverse: Tensor) -> Tensor:
        """Sums of squares and the factor of rounding [M, 1], which are overwritten -> s."""
        epsilon = inverse.square_().mul_(self.epsilon)
        # By way of float64, which gives the nearest float32: torch's own float32 root on CPUs (MKL)
        # often does not.
        root = (
            squares.mul_(self.inverse_width)
            .add_(epsilon)
            .to(torch.float64)
            .sqrt_()
            .to(torch.float32)
        )
        return torch.ones_like(root).div_(root)


@dataclasses.dataclass(frozen=True)
class RoPE:
    """Rotary position embedding (section 4.3)."""

    table: Tensor  # [positions, 2, D/2] float32: cosines, sines

    def __call__(self, x: Tensor, positions: Tensor) -> None:
        """Rotates the heads x [S, T, heads, D] in place; positions [T] int64."""
        half = x.shape[-1] // 2
        table = self.table[positions]  # [T, 2, D/2]
        cosine, sine = table[:, 0, None], table[:, 1, None]
        a, b = x[..., :half], x[..., half:]
        rotated = (a * cosine).sub_(b * sine)
        b.mul_(cosine).add_(a * sine)
        a.copy_(rotated)


@dataclasses.dataclass(frozen=True)
class HadamardRotation:
    """The blockwise rotation of section 4.6.

    H_ab is the Kronecker product of H_a and H_b: two small products do for one.
    """

    factors: tuple[Tensor, Tensor]  # [a, a], [b, b], of a type whose sums are exact

    def __call__(self, x: Tensor) -> Tensor:
        """Integers [M, F] -> rotated integers [M, F] float32."""
        a, b = self.factors
        blocks = x.view(-1, len(a), len(b)).to(a.dtype)
        return torch.matmul(a, blocks @ b).to(torch.float32).view_as(x)


@dataclasses.dataclass(frozen=True)
class MLP:
    """The gated MLP of section 4.6; gate and up are stacked because they share their input."""

    gate_up: Linear
    down: Linear
    rotation: HadamardRotation

    def __call__(self, x: Tensor, scale: Tensor) -> Tensor:
        """[M, d] int8, row scales [M, 1] -> [M, d] float32.

        The gate's weight scale holds the factor -log2(e).
        """
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        gate = gate * scale
        sigmoid = exp2_(gate.clamp(EXP2_MIN, EXP2_MAX)).add_(1.0)
        inner, maximum = round_to_range_(gate.mul_(up).div_(sigmoid), INT16_MAX)
        rotated, rotated_maximum = quantize_(self.rotation(inner))
        row = maximum.mul_(1.0 / INT16_MAX).mul_(rotated_maximum.mul_(1.0 / INT8_MAX)).mul_(scale)
        return self.down(rotated).mul_(row)
