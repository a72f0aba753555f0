"""Kernels that work on single rows: embedding, slots, RMSNorm, attention's output, the MLP's
rotation.
"""

import triton
import triton.language as tl

from llmzip.arithmetic import constants
from llmzip.engine.base import SINK_TOKENS
from llmzip.engine.triton.arithmetic import (
    INT8_MAX,
    ROW_FLOOR,
    round_even,
    row_factor,
    row_maximum,
)

_SINKS = tl.constexpr(SINK_TOKENS)
_INT16_MAX = tl.constexpr(constants.INT16_MAX)
_TOTAL = tl.constexpr(2.0**-constants.ATTENTION_TOTAL_BITS)


@triton.jit
def embed_kernel(ids, table, table_scale, x, d: tl.constexpr, BLOCK: tl.constexpr):
    """x[row] = table[ids[row]] * scale (section 4.1): ids [M] int64, table [V, d] int8, x [M, d]
    float32.
    """
    row = tl.program_id(0)
    token = tl.load(ids + row)
    i = tl.arange(0, BLOCK)
    entries = tl.load(table + token * d + i, mask=i < d, other=0)
    tl.store(x + row * d + i, entries.to(tl.float32) * tl.load(table_scale + token), mask=i < d)


@triton.jit
def slot_of(position, ring):
    """The slot of a position: the sinks have the first slots, the others a ring."""
    return tl.where(position < _SINKS, position, _SINKS + (position - _SINKS) % ring)


@triton.jit(do_not_specialize=["slots", "window", "ring"])
def assign_slot_kernel(position, slot_positions, visible, slots, window, ring, BLOCK: tl.constexpr):
    """Store the new position [1] int64 in its slot, and which slots it sees (section 4.4): visible
    [slots] int8.
    """
    now = tl.load(position)
    n = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    held = tl.load(slot_positions + n, mask=n < slots, other=0)
    held = tl.where(n == slot_of(now, ring), now, held)
    seen = (held <= now) & ((held > now - window) | (held < _SINKS))
    tl.store(slot_positions + n, held, mask=n < slots)
    tl.store(visible + n, seen.to(tl.int8), mask=n < slots)


@triton.jit
def rms_norm_kernel(
    x,
    q,
    scale,
    norm_eps: tl.constexpr,
    inverse_width: tl.constexpr,
    d: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Section 4.2: x [M, d] float32 -> q [M, d] int8, scale [M]."""
    row = tl.program_id(0)
    i = tl.arange(0, BLOCK)[None, :]
    values = tl.load(x + row * d + i, mask=i < d, other=0.0)
    maximum = row_maximum(values)
    inverse = row_factor(maximum, INT8_MAX)
    whole = round_even(values * inverse[:, None]).to(tl.int32)
    squares = tl.sum(whole * whole, axis=1).to(tl.float32)
    root = tl.sqrt_rn(squares * inverse_width + (inverse * inverse) * norm_eps)
    one = tl.arange(0, 1)
    tl.store(scale + row + one, row_factor(root, 1.0))
    tl.store(q + row * d + i, whole.to(tl.int8), mask=i < d)


@triton.jit(do_not_specialize=["M", "count"])
def merge_kernel(
    splits, largest, q, scale, M, count, heads: tl.constexpr, groups: tl.constexpr,
    head_dim: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Attention's integer sums of all splits [count, M, H * D] int32 -> q [M, H * D] int8, scale
    [M] (end of section 4.5).
    """
    row = tl.program_id(0)
    width: tl.constexpr = heads * head_dim
    i = tl.arange(0, BLOCK)[None, :]
    total = tl.zeros((1, BLOCK), tl.int32)
    for split in range(count):
        pointers = splits + (split * M + row).to(tl.int64) * width + i
        total += tl.load(pointers, mask=i < width, other=0)
    group = (i // head_dim) // (heads // groups)
    bound = tl.load(largest + row * groups + group, mask=i < width, other=0.0)
    out = total.to(tl.float32) * (bound * _TOTAL)
    maximum = row_maximum(out)
    whole = round_even(out * row_factor(maximum, INT8_MAX)[:, None])
    tl.store(q + row * width + i, whole.to(tl.int8), mask=i < width)
    tl.store(scale + row + tl.arange(0, 1), maximum * (1.0 / INT8_MAX))


@triton.jit
def hadamard(x, BLOCKS: tl.constexpr, SIZE: tl.constexpr, BITS: tl.constexpr):
    """Rotate each block by Sylvester's matrix: [BLOCKS, SIZE = 2**BITS] int32.

    Each stage adds and subtracts adjacent elements and rotates the bits of their indices: after
    BITS stages all is in order.
    """
    for _ in tl.static_range(BITS):
        a, b = tl.split(tl.reshape(x, (BLOCKS, SIZE // 2, 2)))
        x = tl.reshape(tl.permute(tl.join(a + b, a - b), (0, 2, 1)), (BLOCKS, SIZE))
    return x


@triton.jit
def rotate_kernel(
    inner,
    scale,
    q,
    row_scale,
    width: tl.constexpr,
    BLOCKS: tl.constexpr,
    SIZE: tl.constexpr,
    BITS: tl.constexpr,
):
    """The middle of section 4.6: m [M, F] float32 -> int16, rotated, q [M, F] int8, and the factor
    of the row [M].
    """
    row = tl.program_id(0)
    i = tl.arange(0, BLOCKS)[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    values = tl.load(inner + row * width + i, mask=i < width, other=0.0)
    maximum = tl.maximum(tl.max(tl.max(tl.abs(values), axis=1), axis=0), ROW_FLOOR)
    factor = tl.div_rn(maximum * 0.0 + _INT16_MAX, maximum)
    rotated = hadamard(round_even(values * factor).to(tl.int32), BLOCKS, SIZE, BITS).to(tl.float32)
    rotated_maximum = tl.maximum(tl.max(tl.max(tl.abs(rotated), axis=1), axis=0), ROW_FLOOR)
    whole = round_even(rotated * tl.div_rn(rotated_maximum * 0.0 + INT8_MAX, rotated_maximum))
    tl.store(q + row * width + i, whole.to(tl.int8), mask=i < width)
    factor = (maximum * (1.0 / _INT16_MAX)) * (rotated_maximum * (1.0 / INT8_MAX))
    tl.store(row_scale + row, factor * tl.load(scale + row))
