"""Attention of one step over the int8 cache (docs/arithmetic.md, section 4.5).

The maximum first, then integer sums, which are exact in any order: positions may be split among
programs at will. Keys and
values are each read once, as long runs of bytes: keys [.., slots, D], values [.., D, slots]. In
between only the scores [M, H, slots] are kept; keys and values, which nobody reads again in this
step, leave the chip's own memory to them.
"""

import triton
import triton.language as tl

from llmzip.arithmetic import constants
from llmzip.engine.triton.arithmetic import EXP2_MIN, exp2, round_even

_ONE = tl.constexpr(2.0**constants.ATTENTION_ONE_BITS)
_TOTAL = tl.constexpr(2.0**constants.ATTENTION_TOTAL_BITS)
_TILES = tl.constexpr(32)
DIGITS = tl.constexpr(4)
DIGIT_BITS = tl.constexpr(7)
_DIGIT_MASK = tl.constexpr(127)


@triton.jit(do_not_specialize=["tiles"])
def scores_kernel(
    queries, query_scales, keys, key_scales, visible, scores, maxima, used, slots, tiles,
    heads: tl.constexpr, groups: tl.constexpr, head_dim: tl.constexpr,
    SHARED: tl.constexpr, DIM: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """t_j of the heads of one group and a tile of positions -> scores [M, H, slots] float32, -inf
    where nothing is seen.

    And each tile's maximum: maxima [M, H, tiles].
    """
    pair = tl.program_id(0).to(tl.int64)  # stream * G + group
    shared: tl.constexpr = heads // groups
    head = tl.arange(0, SHARED)
    i = tl.arange(0, DIM)
    n = tl.program_id(1) * POSITIONS + tl.arange(0, POSITIONS)
    real = head < shared
    inside = n < used
    first = pair * shared  # = stream * H + the group's first head
    q = tl.load(
        queries + (first + head)[:, None] * head_dim + i[None, :],
        mask=real[:, None] & (i < head_dim)[None, :],
        other=0,
    )
    pointers = keys + (pair * slots + n)[:, None] * head_dim + i[None, :]
    if head_dim == DIM:
        k = tl.load(pointers, mask=inside[:, None], other=0, eviction_policy="evict_first")
    else:
        k = tl.load(
            pointers,
            mask=inside[:, None] & (i < head_dim)[None, :],
            other=0,
            eviction_policy="evict_first",
        )
    t = tl.dot(q, tl.trans(k), out_dtype=tl.int32).to(tl.float32)
    t = t * tl.load(key_scales + pair * slots + n, mask=inside, other=0.0)[None, :]
    t = t * tl.load(query_scales + first + head, mask=real, other=0.0)[:, None]
    seen = tl.load(visible + n, mask=inside, other=0)[None, :]
    t = tl.where(seen != 0, t, float("-inf"))
    tl.store(maxima + (first + head) * tiles + tl.program_id(1), tl.max(t, axis=1), mask=real)
    tl.store(
        scores + (first + head)[:, None] * slots + n[None, :],
        t,
        mask=real[:, None] & inside[None, :],
    )


@triton.jit
def weights_before_scaling(t, top):
    """P_j as float32: [H, N], the maxima [H]."""
    return round_even(exp2(tl.maximum(t - top[:, None], EXP2_MIN)) * _ONE)


@triton.jit
def weights_factor(row, real, top, bound, used, HEADS: tl.constexpr, SCAN: tl.constexpr):
    """What the weights P_j * u_j are multiplied by: [HEADS], from the scores at row [HEADS, 1]."""
    sums = tl.zeros((HEADS, SCAN), tl.int32)
    for start in range(0, used, SCAN):
        n = start + tl.arange(0, SCAN)
        t = tl.load(row + n[None, :], mask=real[:, None] & (n < used)[None, :], other=float("-inf"))
        sums += weights_before_scaling(t, top).to(tl.int32)
    total = tl.where(real, tl.sum(sums, axis=1), 1).to(tl.float32)
    return tl.div_rn(tl.full((HEADS,), _TOTAL, tl.float32), total * bound)


@triton.jit
def weights_digits(
    row, n, inside, real, top, factor, value_scales, HEADS: tl.constexpr, POSITIONS: tl.constexpr
):
    """The weights w_j of positions n as int8 rows [HEADS * DIGITS, POSITIONS], the lowest digit
    first.
    """
    t = tl.load(row + n[None, :], mask=real[:, None] & inside[None, :], other=float("-inf"))
    u = tl.load(value_scales + n, mask=inside, other=0.0)
    w = round_even((weights_before_scaling(t, top) * u[None, :]) * factor[:, None]).to(tl.int32)
    shift = tl.arange(0, DIGITS)[None, :, None] * DIGIT_BITS
    digits = (w[:, None, :] >> shift) & _DIGIT_MASK
    return tl.reshape(digits.to(tl.int8), (HEADS * DIGITS, POSITIONS))


@triton.jit
def values_tile(
    pointers, start, stop, head_dim: tl.constexpr, DIM: tl.constexpr, POSITIONS: tl.constexpr
):
    """Values [DIM, POSITIONS] from position `start` on, zeros from `stop` on; pointers [DIM, 1]."""
    n = start + tl.arange(0, POSITIONS)
    inside = (n < stop)[None, :]
    if head_dim < DIM:
        inside = inside & (tl.arange(0, DIM) < head_dim)[:, None]
    return tl.load(pointers + n[None, :], mask=inside, other=0, eviction_policy="evict_first")


@triton.jit
def sum_of_digits(acc, HEADS: tl.constexpr, DIM: tl.constexpr):
    """Sums of digits [HEADS * DIGITS, DIM] -> of weights [HEADS, DIM] int32."""
    shift = tl.arange(0, DIGITS)[None, :, None] * DIGIT_BITS
    return tl.sum(tl.reshape(acc, (HEADS, DIGITS, DIM)) << shift, axis=1)


@triton.jit(do_not_specialize=["M", "tiles", "written"])
def values_kernel(
    scores, maxima, values, value_scales, largest, splits, M, used, slots, split_length, tiles,
    written, heads: tl.constexpr, groups: tl.constexpr, head_dim: tl.constexpr,
    SHARED: tl.constexpr, DIM: tl.constexpr, SCAN: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """The sums of w_j * v_j over one split of the positions -> splits [split, M, H * D] int32.

    split_length is a multiple of POSITIONS. A weight (17 bits) is split into digits of 7 bits, each
    a row of an int8 product of its own.
    """
    pair = tl.program_id(0).to(tl.int64)
    split = tl.program_id(1)
    shared: tl.constexpr = heads // groups
    head = tl.arange(0, SHARED)
    real = head < shared
    first = pair * shared
    row = scores + (first + head)[:, None] * slots
    i = tl.arange(0, DIM)
    tile_of = values + pair * (head_dim * slots) + i[:, None] * slots
    origin = split * split_length
    stop = tl.minimum(used, origin + split_length)

    best = tl.full((SHARED, _TILES), float("-inf"), tl.float32)
    for start in range(0, written, _TILES):
        tile = start + tl.arange(0, _TILES)
        pointers = maxima + (first + head)[:, None] * tiles + tile[None, :]
        best = tl.maximum(
            best,
            tl.load(pointers, mask=real[:, None] & (tile < written)[None, :], other=float("-inf")),
        )
    top = tl.where(real, tl.max(best, axis=1), 0.0)
    bound = tl.load(largest + pair)
    factor = weights_factor(row, real, top, bound, used, SHARED, SCAN)

    acc = tl.zeros((SHARED * DIGITS, DIM), tl.int32)
    for start in range(origin, stop, POSITIONS):
        n = start + tl.arange(0, POSITIONS)
        v = values_tile(tile_of, start, stop, head_dim, DIM, POSITIONS)
        rows = weights_digits(
            row, n, n < stop, real, top, factor, value_scales + pair * slots, SHARED, POSITIONS
        )
        acc = tl.dot(rows, tl.trans(v), acc, out_dtype=tl.int32)
    out = sum_of_digits(acc, SHARED, DIM)
    width: tl.constexpr = heads * head_dim
    pointers = (
        splits + split.to(tl.int64) * M * width + (first + head)[:, None] * head_dim + i[None, :]
    )
    tl.store(pointers, out, mask=real[:, None] & (i < head_dim)[None, :])
