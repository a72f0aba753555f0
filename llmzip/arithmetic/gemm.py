"""Exact integer matrix products in torch, and the self-test that decides which kernel may serve.

Every kernel returns the same integers; they differ in speed and in where they are right. `torch._int_mm` saturates
on CPUs without VNNI, low-precision float modes drop bits, so a kernel is used only after it has reproduced known
answers with extreme operands on the very device and settings at hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from llmzip.errors import LLMZipError

_FLOAT32_DEPTH = 1024  # 127 * 127 * 1024 < 2**24
_MIN_CUDA_ROWS = 32  # cuBLASLt's int8 product wants more than 16 rows and multiples of 8


class Int8Kernel:
    """x [M, K] int8 times w [N, K] int8 -> [M, N] float32, each entry the nearest float32 to the integer sum."""

    name: str

    def prepare(self, weight: Tensor) -> Tensor:
        """Bring a weight [N, K] int8 into the layout and type that `multiply` wants."""
        raise NotImplementedError

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """The product with a prepared weight."""
        raise NotImplementedError


class IntegerKernel(Int8Kernel):
    """int8 products with int32 sums (VNNI, dot-product, tensor cores)."""

    name = "int8"

    def prepare(self, weight: Tensor) -> Tensor:
        """See `Int8Kernel.prepare`."""
        return weight.t() if weight.is_cuda else weight.t().contiguous()

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `Int8Kernel.multiply`."""
        rows = x.shape[0]
        if x.is_cuda and (rows < _MIN_CUDA_ROWS or rows % 8):
            padded = x.new_zeros(max(_MIN_CUDA_ROWS, -(-rows // 8) * 8), x.shape[1])
            padded[:rows] = x
            return torch._int_mm(padded, weight)[:rows].to(torch.float32)
        return torch._int_mm(x, weight).to(torch.float32)


class FloatKernel(Int8Kernel):
    """Integer-valued float products: float32 in slices of K short enough to stay below 2**24, or float64 whole."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.name = str(dtype).removeprefix("torch.")
        self.depth = _FLOAT32_DEPTH if dtype == torch.float32 else 1 << 30

    def prepare(self, weight: Tensor) -> Tensor:
        """See `Int8Kernel.prepare`."""
        return weight.t().to(self.dtype).contiguous()

    def multiply(self, x: Tensor, weight: Tensor) -> Tensor:
        """See `Int8Kernel.multiply`."""
        x = x.to(self.dtype)
        depth = x.shape[1]
        if depth <= self.depth:
            return torch.mm(x, weight).to(torch.float32)
        total: Tensor | None = None
        for start in range(0, depth, self.depth):
            part = torch.mm(x[:, start : start + self.depth], weight[start : start + self.depth]).to(torch.int32)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total.to(torch.float32)


def _known_operands(rows: int, columns: int, depth: int, low: int, high: int) -> tuple[Tensor, Tensor]:
    """Operands that overflow every short accumulator somewhere: constant extremes, alternating signs, a mixed part."""
    span = high - low + 1
    x = torch.full((rows, depth), high, dtype=torch.int64)
    w = torch.full((columns, depth), high, dtype=torch.int64)
    x[1::4] = low
    x[2::4, 1::2] = low
    x[3::4] = (torch.arange(depth) * 7919 + 13) % span + low
    w[1::4] = low
    w[2::4, ::2] = low
    w[3::4] = (torch.arange(depth) * 104729 + 5) % span + low
    return x, w


def int8_kernel_is_exact(kernel: Int8Kernel, device: torch.device) -> bool:
    """Whether a kernel reproduces the int64 product of extreme operands, for narrow, odd and wide shapes."""
    for rows in (1, 3, 16, 33):
        for depth in (64, 576, 1536):
            x, w = _known_operands(rows, 96, depth, -127, 127)
            expected = (x @ w.t()).to(torch.float32)
            try:
                got = kernel.multiply(x.to(device, torch.int8), kernel.prepare(w.to(device, torch.int8)))
            except RuntimeError:
                return False
            if not torch.equal(got.cpu(), expected):
                return False
    return True


def int8_kernels() -> tuple[Int8Kernel, ...]:
    """All kernels, the fastest first."""
    return IntegerKernel(), FloatKernel(torch.float32), FloatKernel(torch.float64)


def select_int8_kernel(device: torch.device, kernels: Sequence[Int8Kernel] | None = None) -> Int8Kernel:
    """The first kernel that passes the self-test on this device.

    Raises LLMZipError if none does (a broken device or math library): better no answer than a wrong one.
    """
    for kernel in kernels or int8_kernels():
        if int8_kernel_is_exact(kernel, device):
            return kernel
    raise LLMZipError(
        f"no matrix product on {device} returns exact integers; set float32 matmul precision to 'highest'"
    )


def select_float_type(device: torch.device) -> torch.dtype:
    """The narrowest float type whose batched products are exact up to 2**24 here: float32, or float64 under TF32 and the like."""
    for dtype in (torch.float32, torch.float64):
        for depth in (64, 1000):  # scores: 127 * 127 * 64 < 2**20; outputs: weights of up to 2**16, 2**24 in total
            largest = 127 if depth == 64 else (1 << 17) // depth
            x, w = _known_operands(33, 64, depth, -largest, largest)
            if depth == 1000:
                x[0, 0], x[0, 1:] = 65535, 1
                w = w.clamp(-127, 127)
            got = torch.bmm(x.to(device, dtype)[None], w.to(device, dtype).t()[None])
            if not torch.equal(got[0].to("cpu", torch.int64), x @ w.t()):
                break
        else:
            return dtype
    raise LLMZipError(f"no float product on {device} is exact on integers below 2**24")
