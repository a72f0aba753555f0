"""Kernels around the int8 products, whose sums are exact integers in any order (docs/arithmetic.md,
section 1.4).
"""

import triton
import triton.language as tl

from llmzip.engine.triton.arithmetic import (
    EXP2_MAX,
    EXP2_MIN,
    INT8_MAX,
    ROW_FLOOR,
    add_product,
    exp2,
    load_rows,
    round_even,
    row_factor,
)
from llmzip.engine.triton.rows import slot_of


@triton.jit(do_not_specialize=["M"])
def residual_kernel(
    x, row_scale, weight, scale, out, M, N: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """out [M, N] += linear(weight, x) * row_scale: x [M, K] int8, weight [N, K] int8, scale [N]."""
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    pointers = out + rows[:, None] * N + columns[None, :]
    inside = (rows < M)[:, None] & (columns < N)[None, :]
    before = tl.load(pointers, mask=inside, other=0.0)
    scales = tl.load(scale + columns, mask=columns < N, other=0.0)
    row_scales = tl.load(row_scale + rows, mask=rows < M, other=0.0)
    acc = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, K, DEPTH):
        inputs = load_rows(x, rows, M, start, K, DEPTH)
        acc = add_product(inputs, weight, columns, columns < N, start, acc, N, K, DEPTH)
    y = (acc.to(tl.float32) * scales[None, :]) * row_scales[:, None]
    tl.store(pointers, before + y, mask=inside)


@triton.jit(do_not_specialize=["M"])
def gate_up_kernel(
    x, row_scale, weight, scale, out, M, F: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """The beginning of section 4.6: x [M, K] int8, weight [2 * F, K] (gate, then up) -> m [M, F]
    float32.
    """
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    inside = columns < F
    gate_scales = tl.load(scale + columns, mask=inside, other=0.0)
    up_scales = tl.load(scale + F + columns, mask=inside, other=0.0)
    row_scales = tl.load(row_scale + rows, mask=rows < M, other=0.0)
    gates = tl.zeros((ROWS, COLUMNS), tl.int32)
    ups = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, K, DEPTH):
        inputs = load_rows(x, rows, M, start, K, DEPTH)
        gates = add_product(inputs, weight, columns, inside, start, gates, 2 * F, K, DEPTH)
        ups = add_product(inputs, weight, columns + F, inside, start, ups, 2 * F, K, DEPTH)
    gate = (gates.to(tl.float32) * gate_scales[None, :]) * row_scales[:, None]
    up = ups.to(tl.float32) * up_scales[None, :]
    sigmoid = exp2(tl.minimum(tl.maximum(gate, EXP2_MIN), EXP2_MAX)) + 1.0
    m = tl.div_rn(gate * up, sigmoid)
    tl.store(
        out + rows[:, None] * F + columns[None, :], m, mask=(rows < M)[:, None] & inside[None, :]
    )


@triton.jit(do_not_specialize=["M", "ring"])
def qkv_kernel(
    x, row_scale, weight, scale, rope, position, queries, query_scales, keys, values, key_scales,
    value_scales, largest, M, ring, slots,
    heads: tl.constexpr, groups: tl.constexpr, head_dim: tl.constexpr, K: tl.constexpr,
    ROWS: tl.constexpr, HALF: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """Section 4.3 for one head of some rows: x [M, K] int8 -> a quantized query, or a key or value
    in the cache.

    queries [M, H, D] int8, query_scales [M, H]; of one layer's cache keys [M, G, slots, D] int8,
    values [M, G, D, slots] int8, their scales [M, G, slots], and the largest value scale so far [M,
    G].
    """
    head = tl.program_id(0)
    rows = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    half: tl.constexpr = head_dim // 2
    i = tl.arange(0, HALF)
    present = (i < half) & (i >= 0)
    low = head * head_dim + i
    columns: tl.constexpr = (heads + 2 * groups) * head_dim
    # All that is needed behind the product is asked for before it.
    now = tl.load(position)
    low_scales = tl.load(scale + low, mask=present, other=0.0)
    high_scales = tl.load(scale + low + half, mask=present, other=0.0)
    within = rows < M
    row_scales = tl.load(row_scale + rows, mask=within, other=0.0)
    is_rotated = present & (low < (heads + groups) * head_dim)  # values are not: a * 1 - b * 0
    cosine = tl.load(rope + now * head_dim + i, mask=is_rotated, other=1.0)[None, :]
    sine = tl.load(rope + now * head_dim + half + i, mask=is_rotated, other=0.0)[None, :]
    value_pair = rows.to(tl.int64) * groups + (head - heads - groups)
    is_value = head >= heads + groups
    before = tl.load(largest + value_pair, mask=within & is_value, other=0.0)
    acc_a = tl.zeros((ROWS, HALF), tl.int32)
    acc_b = tl.zeros((ROWS, HALF), tl.int32)
    for start in range(0, K, DEPTH):
        inputs = load_rows(x, rows, M, start, K, DEPTH)
        acc_a = add_product(inputs, weight, low, present, start, acc_a, columns, K, DEPTH)
        acc_b = add_product(inputs, weight, low + half, present, start, acc_b, columns, K, DEPTH)
    a = acc_a.to(tl.float32) * low_scales[None, :]
    b = acc_b.to(tl.float32) * high_scales[None, :]
    rotated = (a * cosine) - (b * sine)
    b = (b * cosine) + (a * sine)
    a = rotated
    maximum = tl.maximum(
        tl.maximum(tl.max(tl.abs(a), axis=1), tl.max(tl.abs(b), axis=1)), ROW_FLOOR
    )
    factor = row_factor(maximum, INT8_MAX)[:, None]
    a = round_even(a * factor).to(tl.int8)
    b = round_even(b * factor).to(tl.int8)
    both = within[:, None] & present[None, :]
    out_scale = (maximum * (1.0 / INT8_MAX)) * row_scales
    if head < heads:
        pointers = queries + rows[:, None] * (heads * head_dim) + low[None, :]
        tl.store(pointers, a, mask=both)
        tl.store(pointers + half, b, mask=both)
        tl.store(query_scales + rows * heads + head, out_scale, mask=within)
    else:
        slot = slot_of(now, ring)
        if head < heads + groups:
            pair = rows.to(tl.int64) * groups + (head - heads)
            pointers = keys + (pair * slots + slot)[:, None] * head_dim + i[None, :]
            tl.store(pointers, a, mask=both)
            tl.store(pointers + half, b, mask=both)
            tl.store(key_scales + pair * slots + slot, out_scale, mask=within)
        else:
            pair = value_pair
            pointers = values + (pair * head_dim)[:, None] * slots + i[None, :] * slots + slot
            tl.store(pointers, a, mask=both)
            tl.store(pointers + half * slots, b, mask=both)
            tl.store(value_scales + pair * slots + slot, out_scale, mask=within)
            tl.store(largest + pair, tl.maximum(before, out_scale), mask=within)


@triton.jit(do_not_specialize=["M"])
def head_kernel(
    x, weight, scale, out, maxima, M, N: tl.constexpr, K: tl.constexpr, TILES: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr,
):  # fmt: skip
    """linear(head, q) of all tokens: x [M, K] int8 -> out [M, N] float32, and each tile's maximum
    [M, TILES].
    """
    tile = tl.program_id(1)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tile * COLUMNS + tl.arange(0, COLUMNS)
    scales = tl.load(scale + columns, mask=columns < N, other=0.0)
    acc = tl.zeros((ROWS, COLUMNS), tl.int32)
    for start in range(0, K, DEPTH):
        inputs = load_rows(x, rows, M, start, K, DEPTH)
        acc = add_product(inputs, weight, columns, columns < N, start, acc, N, K, DEPTH)
    y = acc.to(tl.float32) * scales[None, :]
    inside = (rows < M)[:, None] & (columns < N)[None, :]
    tl.store(out + rows.to(tl.int64)[:, None] * N + columns[None, :], y, mask=inside)
    best = tl.max(tl.where((columns < N)[None, :], y, float("-inf")), axis=1)
    tl.store(maxima + rows * TILES + tile, best, mask=rows < M)
