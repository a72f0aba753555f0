"""Exact integer matrix products in torch, and the self-test that decides which kernel may serve.

Every kernel returns the same integers; they differ in speed and in where they are right. On CPUs
without VNNI `torch._int_mm` saturates, or is a plain loop, as the version and the settings have it;
low-precision float modes drop bits. So a kernel is used only after it has reproduced known answers
with extreme operands on the very device and settings at hand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from time import perf_counter

import torch
from torch import Tensor
from torch.backends import cuda, mkldnn
from torch.nn.functional import pad

from llmzip.errors import LLMZipError

_FLOAT32_DEPTH = 1024  # 127 * 127 * 1024 < 2**24
_MIN_CUDA_ROWS = 32  # cuBLASLt's int8 product wants more than 16 rows, and
_CUDA_MULTIPLE = 8  # multiples of 8 in each direction


class Int8Kernel:
    """x [M, K] int8 times w [N, K] int8 -> [M, N] float32, each entry the nearest float32 to the
    integer sum.
    """

    name: str

    def prepare(self, weight: Tensor) -> Tensor:
        """Bring a weight [N, K] int8 into the layout and type that `multiply` wants."""
        raise NotImplementedError

    def multiply(self, x: Tensor, weight: Tensor, columns: int) -> Tensor:
        """The product with a prepared weight of N = `columns` rows."""
        raise NotImplementedError


class IntegerKernel(Int8Kernel):
    """int8 products with int32 sums (VNNI, dot-product); torch's is wrong for K = 1."""

    name = "int8"

    def prepare(self, weight: Tensor) -> Tensor:
        """See `Int8Kernel.prepare`."""
        return pad(weight, (0, int(weight.shape[1] == 1))).t().contiguous()

    def multiply(self, x: Tensor, weight: Tensor, columns: int) -> Tensor:
        """See `Int8Kernel.multiply`."""
        padded = pad(x, (0, len(weight) - x.shape[1])) if x.shape[1] == 1 else x
        return torch._int_mm(padded, weight).to(torch.float32)


class PaddedIntegerKernel(IntegerKernel):
    """The same in the shapes and the layout that CUDA's tensor cores want: padded by zeros, which
    add nothing to a sum.
    """

    name = "padded int8"

    def prepare(self, weight: Tensor) -> Tensor:
        """See `Int8Kernel.prepare`."""
        columns, depth = weight.shape
        return pad(weight, (0, -depth % _CUDA_MULTIPLE, 0, -columns % _CUDA_MULTIPLE)).t()

    def multiply(self, x: Tensor, weight: Tensor, columns: int) -> Tensor:
        """See `Int8Kernel.multiply`."""
        rows, depth = x.shape
        missing = max(_MIN_CUDA_ROWS - rows, -rows % _CUDA_MULTIPLE)
        padded = pad(x, (0, len(weight) - depth, 0, missing))
        return torch._int_mm(padded, weight)[:rows, :columns].to(torch.float32)


class FloatKernel(Int8Kernel):
    """Integer-valued float products: float32 in slices of K short enough to stay below 2**24, or
    float64 whole.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.name = str(dtype).removeprefix("torch.")
        self.depth = _FLOAT32_DEPTH if dtype == torch.float32 else 1 << 30

    def prepare(self, weight: Tensor) -> Tensor:
        """See `Int8Kernel.prepare`."""
        return weight.t().contiguous().to(self.dtype)  # bytes are turned sooner than floats

    def multiply(self, x: Tensor, weight: Tensor, columns: int) -> Tensor:
        """See `Int8Kernel.multiply`."""
        x = x.to(self.dtype)
        depth = x.shape[1]
        if depth <= self.depth:
            return torch.mm(x, weight).to(torch.float32)
        total: Tensor | None = None
        for start in range(0, depth, self.depth):
            part = torch.mm(
                x[:, start : start + self.depth], weight[start : start + self.depth]
            ).to(torch.int32)
            total = part if total is None else total.add_(part)
        assert total is not None
        return total.to(torch.float32)


@functools.cache
def _known_operands(
    rows: int, columns: int, depth: int, low: int, high: int
) -> tuple[Tensor, Tensor]:
    """Operands that overflow every short accumulator somewhere: constant extremes, alternating
    signs, a mixed part. Kept, as each engine is tested: not to be changed.
    """
    span = high - low + 1
    x = torch.full((rows, depth), high, dtype=torch.int64, device="cpu")
    w = torch.full((columns, depth), high, dtype=torch.int64, device="cpu")
    x[1::4] = low
    x[2::4, 1::2] = low
    x[3::4] = (torch.arange(depth, device="cpu") * 7919 + 13) % span + low
    w[1::4] = low
    w[2::4, ::2] = low
    w[3::4] = (torch.arange(depth, device="cpu") * 104729 + 5) % span + low
    return x, w


@functools.cache
def _known_products(rows: int, columns: int, depth: int) -> Tensor:
    """Of operands between -127 and 127, as float32."""
    x, w = _known_operands(rows, columns, depth, -127, 127)
    return (x @ w.t()).to(torch.float32)


def int8_kernel_is_exact(kernel: Int8Kernel, device: torch.device) -> bool:
    """Whether a kernel reproduces the int64 product of extreme operands, for narrow, odd and wide
    shapes.
    """
    for rows in (1, 3, 16, 33):
        for depth in (64, 576, 1536):
            x, w = _known_operands(rows, 96, depth, -127, 127)
            expected = _known_products(rows, 96, depth)
            try:
                got = kernel.multiply(
                    x.to(device, torch.int8), kernel.prepare(w.to(device, torch.int8)), len(w)
                )
            except (RuntimeError, AttributeError):  # torch has no such product here
                return False
            if not torch.equal(got.cpu(), expected):
                return False
    return True


def int8_kernels(device: torch.device) -> tuple[Int8Kernel, ...]:
    """The kernels for a device, the fastest first."""
    integer = PaddedIntegerKernel() if device.type == "cuda" else IntegerKernel()
    return integer, FloatKernel(torch.float32), FloatKernel(torch.float64)


@functools.cache
def int8_products_are_slow() -> bool:
    """Whether this CPU multiplies int8 several times slower than float32: the plain loop that torch
    has where there is no instruction for it takes 10 to 70 times as long, a fast one less time and
    a quarter of the memory.
    """
    x, w = (a.to(torch.int8) for a in _known_operands(16, 512, 576, -127, 127))
    fastest = []
    for kernel in (IntegerKernel(), FloatKernel(torch.float32)):
        weight, seconds = kernel.prepare(w), []
        for _ in range(3):  # other programs may take the processor meanwhile
            start = perf_counter()
            kernel.multiply(x, weight, len(w))
            seconds.append(perf_counter() - start)
        fastest.append(min(seconds))
    return fastest[0] > 4 * fastest[1]


def select_int8_kernel(
    device: torch.device, kernels: Sequence[Int8Kernel] | None = None
) -> Int8Kernel:
    """The first kernel that passes the self-test on this device; int8 products come last on a CPU
    where they are slow.

    Raises LLMZipError if none does (a broken device or math library): better no answer than a wrong
    one.
    """

    def is_slow(kernel: Int8Kernel) -> bool:
        return kernel.name == "int8" and device.type == "cpu" and int8_products_are_slow()

    for kernel in sorted(kernels or int8_kernels(device), key=is_slow):
        if int8_kernel_is_exact(kernel, device):
            return kernel
    raise LLMZipError(
        f"no matrix product on {device} returns exact integers; "
        "set float32 matmul precision to 'highest'"
    )


@functools.cache
def _known_float_products() -> list[tuple[Tensor, Tensor, Tensor]]:
    """Two operands and their product: of scores, 127 * 127 * 64 < 2**20, and of outputs, whose
    weights are up to 2**16, 2**24 in total.
    """
    x, w = _known_operands(33, 64, 1000, -131, 131)
    x, w = x.clone(), w.clamp(-127, 127)
    x[0, 0], x[0, 1:] = 65535, 1
    return [(x, w, x @ w.t()) for x, w in (_known_operands(33, 64, 64, -127, 127), (x, w))]


def select_float_type(device: torch.device) -> torch.dtype:
    """The narrowest float type whose products are exact up to 2**24 here: float32, or float64 under
    TF32 and the like.

    float32 holds every integer up to 2**24, so sums that stay below it are exact in any order, if
    the device multiplies in float32 indeed. TF32 and bfloat16 keep 11 and 8 bits of a factor:
    enough for int8, but not for attention weights (up to 2**16) nor for what the rotation adds up
    (15 bits), so one factor of 65535 finds them out.
    """
    for dtype in (torch.float32, torch.float64):
        for x, w, expected in _known_float_products():
            a, b = x.to(device, dtype), w.to(device, dtype).t()
            if any(
                not torch.equal(y.to("cpu", torch.int64), expected)
                for y in (torch.bmm(a[None], b[None])[0], torch.matmul(a, b))
            ):
                break
        else:
            return dtype
    raise LLMZipError(f"no float product on {device} is exact on integers below 2**24")


def precise_products() -> Callable[[], None]:
    """Keep float32 products in float32, whatever the host program has set; what is returned brings
    its choice back.

    torch has an older and, from 2.9 on, a newer way to choose; the older one raises an error where
    a program has used the newer.
    """
    backends = (cuda.matmul, mkldnn.matmul) if hasattr(mkldnn, "matmul") else ()
    newer = [backend.fp32_precision for backend in backends]
    try:
        older = torch.get_float32_matmul_precision()
    except RuntimeError:
        older = None
    torch.set_float32_matmul_precision("highest")  # in both ways

    def restore() -> None:
        if older is not None:
            torch.set_float32_matmul_precision(older)
        for backend, precision in zip(backends, newer, strict=True):
            backend.fp32_precision = precision

    return restore
