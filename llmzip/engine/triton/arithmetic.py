"""The arithmetic of docs/arithmetic.md inside kernels: each line is one correctly rounded IEEE-754
operation.

Kernels are launched by `launch.launch`, which forbids fused multiply-adds. Tensors of kernels: M
rows, K inputs, N outputs.
"""

# Triton reads annotations and global numbers of kernels itself: no `from __future__ import
# annotations`, numbers as constexpr.
import triton
import triton.language as tl

from llmzip.arithmetic import constants

C1 = tl.constexpr(constants.EXP2_C1)
C2 = tl.constexpr(constants.EXP2_C2)
C3 = tl.constexpr(constants.EXP2_C3)
EXP2_MIN = tl.constexpr(constants.EXP2_MIN)
EXP2_MAX = tl.constexpr(constants.EXP2_MAX)
ROW_FLOOR = tl.constexpr(constants.ROW_FLOOR)
INT8_MAX = tl.constexpr(constants.INT8_MAX)
_ROUNDING = tl.constexpr(1.5 * 2**23)


@triton.jit
def exp2(x):
    """2**x for float32 x in [-30, 30] (section 1.3)."""
    whole = tl.floor(x)
    r = x - whole
    y = ((C3 * r + C2) * r + C1) * r + 1.0
    bits = y.to(tl.int32, bitcast=True) + (whole.to(tl.int32) << 23)
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def round_even(x):
    """The nearest integer, ties to even, of |x| <= 2**22, where the sum's last bit is worth 1."""
    return (x + _ROUNDING) - _ROUNDING


@triton.jit
def row_maximum(x):
    """max(|x|, 2**-40) of each row: [M, N] -> [M]."""
    return tl.maximum(tl.max(tl.abs(x), axis=1), ROW_FLOOR)


@triton.jit
def row_factor(maximum, limit: tl.constexpr):
    """limit / maximum."""
    return tl.div_rn(tl.full(maximum.shape, limit, tl.float32), maximum)


@triton.jit
def add_product(
    x, weight, columns, inside, start, acc, N: tl.constexpr, K: tl.constexpr, BLOCK: tl.constexpr
):
    """acc [M, n] int32 plus a slice of the depth: x [M, BLOCK] int8 times rows `columns` of weight
    [N, K] int8.
    """
    k = start + tl.arange(0, BLOCK)
    pointers = weight + columns[:, None] * K + k[None, :]
    if K % BLOCK == 0:
        w = tl.load(pointers, mask=inside[:, None], other=0)
    else:
        w = tl.load(pointers, mask=inside[:, None] & (k < K)[None, :], other=0)
    return tl.dot(x, tl.trans(w), acc, out_dtype=tl.int32)


@triton.jit
def load_rows(x, rows, M, start, K: tl.constexpr, BLOCK: tl.constexpr):
    """A slice of the depth of rows of x [M, K] int8: [m, BLOCK]; rows beyond M hold zeros."""
    k = start + tl.arange(0, BLOCK)
    if K % BLOCK == 0:
        return tl.load(x + rows[:, None] * K + k[None, :], mask=(rows < M)[:, None], other=0)
    return tl.load(
        x + rows[:, None] * K + k[None, :], mask=(rows < M)[:, None] & (k < K)[None, :], other=0
    )
