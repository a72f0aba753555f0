"""Kernels from the head's products to the coder's frequencies (docs/arithmetic.md, sections 4.8, 5
and 6.1).

Token weights are never stored: they are computed again from the products where some are wanted.
"""

import triton
import triton.language as tl

from llmzip.arithmetic import constants
from llmzip.engine.triton.arithmetic import EXP2_MIN, exp2

_ONE = tl.constexpr(2.0**constants.WEIGHT_BITS)
_BUCKET = tl.constexpr(constants.BUCKET_SIZE)
_TOTAL = tl.constexpr(constants.FREQUENCY_TOTAL)
_SUM_BITS = tl.constexpr(constants.SUM_BITS)
_LONGEST = tl.constexpr(32)  # sums have at most 39 + 24 bits


@triton.jit
def row_top(maxima, row, scale, tiles: tl.constexpr, TILES: tl.constexpr):
    """max z of a row, from the maxima of its tiles [M, tiles]."""
    tile = tl.arange(0, TILES)
    best = tl.load(maxima + row * tiles + tile, mask=tile < tiles, other=float("-inf"))
    return tl.max(best, axis=0) * scale


@triton.jit
def token_weights(products, scale, top):
    """w of section 4.8 as int32."""
    return (exp2(tl.maximum(products * scale - top, EXP2_MIN)) * _ONE).to(tl.int32)


@triton.jit
def bucket_sums_kernel(
    products, scales, maxima, sums, vocab: tl.constexpr, buckets: tl.constexpr, tiles: tl.constexpr,
    TILES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The weights' sums of some buckets of a row: products [M, V] float32 -> sums [M, B] int64."""
    row = tl.program_id(0)
    scale = tl.load(scales + row)
    top = row_top(maxima, row, scale, tiles, TILES)
    bucket = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = bucket[:, None] * _BUCKET + tl.arange(0, _BUCKET)[None, :]
    inside = token < vocab
    z = tl.load(products + row.to(tl.int64) * vocab + token, mask=inside, other=0.0)
    weights = tl.where(inside, token_weights(z, scale, top), 0)
    tl.store(
        sums + row * buckets + bucket, tl.sum(weights.to(tl.int64), axis=1), mask=bucket < buckets
    )


@triton.jit
def top_kernel(
    products, maxima, top, vocab: tl.constexpr, tiles: tl.constexpr, count: tl.constexpr,
    TILES: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    """The tokens with the largest products of a row, of equal ones the smaller first: top [M,
    count] int32.
    """
    row = tl.program_id(0)
    products += row.to(tl.int64) * vocab
    tile = tl.arange(0, TILES)
    best = tl.load(maxima + row * tiles + tile, mask=tile < tiles, other=float("-inf"))
    last_value = float("inf")
    last_token = -1
    for i in range(count):
        value = tl.max(best, axis=0)
        chosen = tl.min(tl.where(best == value, tile, TILES), axis=0)
        token = chosen * TILE + tl.arange(0, TILE)
        z = tl.load(products + token, mask=token < vocab, other=float("-inf"))
        left = (token < vocab) & ((z < last_value) | ((z == last_value) & (token > last_token)))
        found = tl.min(tl.where(left & (z == value), token, 2147483647), axis=0)
        tl.store(top + row * count + i, found)
        left = left & ((z < value) | (token > found))
        best = tl.where(tile == chosen, tl.max(tl.where(left, z, float("-inf")), axis=0), best)
        last_value = value
        last_token = found


@triton.jit
def frequencies(weights, indices, symbols: tl.constexpr):
    """Section 5: weights [N] int64 of the symbols `indices` [N], 0 beyond the last -> frequencies
    [N] int64.
    """
    total = tl.sum(weights, axis=0)
    bit = tl.arange(0, _LONGEST).to(tl.int64)
    excess = tl.sum((((total >> _SUM_BITS) >> bit) > 0).to(tl.int32), axis=0).to(tl.int64)
    weights = weights >> excess
    total = tl.sum(weights, axis=0)
    weights = tl.where((total == 0) & (indices < symbols), 1, weights)
    total = tl.where(total == 0, symbols, total)
    upper = tl.cumsum(weights, axis=0)
    share = _TOTAL - symbols
    return (upper * share) // total - ((upper - weights) * share) // total + 1


@triton.jit
def bucket_table_kernel(sums, out, totals, buckets: tl.constexpr, BLOCK: tl.constexpr):
    """sums [M, B] int64 -> the coder's first table [M, B] int32, and the rows' totals [M] int64."""
    row = tl.program_id(0)
    bucket = tl.arange(0, BLOCK)
    weights = tl.load(sums + row * buckets + bucket, mask=bucket < buckets, other=0)
    tl.store(totals + row, tl.sum(weights, axis=0))
    table = frequencies(weights, bucket, buckets)
    tl.store(out + row * buckets + bucket, table.to(tl.int32), mask=bucket < buckets)


@triton.jit(do_not_specialize=["candidates"])
def token_table_kernel(
    products, scales, maxima, chosen, tokens, replaced, out, candidates,
    vocab: tl.constexpr, tiles: tl.constexpr, TILES: tl.constexpr,
):  # fmt: skip
    """The coder's second table: the 256 tokens of the bucket chosen [M] int32 -> [M, 256] int32.

    tokens [M, C] int32 have the weights replaced [M, C] int64 instead; negative ones stand for
    nothing.
    """
    row = tl.program_id(0)
    scale = tl.load(scales + row)
    top = row_top(maxima, row, scale, tiles, TILES)
    index = tl.arange(0, _BUCKET)
    token = tl.load(chosen + row) * _BUCKET + index
    z = tl.load(products + row.to(tl.int64) * vocab + token, mask=token < vocab, other=0.0)
    weights = tl.where(token < vocab, token_weights(z, scale, top), 0).to(tl.int64)
    for c in range(candidates):
        weights = tl.where(
            token == tl.load(tokens + row * candidates + c),
            tl.load(replaced + row * candidates + c),
            weights,
        )
    tl.store(out + row * _BUCKET + index, frequencies(weights, index, _BUCKET).to(tl.int32))


@triton.jit(do_not_specialize=["candidates"])
def weights_of_kernel(
    products, scales, maxima, tokens, out, candidates,
    vocab: tl.constexpr, tiles: tl.constexpr, TILES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The weights of chosen tokens [M, C] int32, 0 for negative ones: out [M, C] int32."""
    row = tl.program_id(0)
    scale = tl.load(scales + row)
    top = row_top(maxima, row, scale, tiles, TILES)
    index = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = tl.load(tokens + row * candidates + index, mask=index < candidates, other=-1)
    z = tl.load(products + row.to(tl.int64) * vocab + token, mask=token >= 0, other=0.0)
    weights = tl.where(token >= 0, token_weights(z, scale, top), 0)
    tl.store(out + row * candidates + index, weights, mask=index < candidates)


@triton.jit(do_not_specialize=["candidates"])
def replace_kernel(
    products, scales, maxima, tokens, replaced, sums, candidates,
    vocab: tl.constexpr, buckets: tl.constexpr, tiles: tl.constexpr, TILES: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """Change the buckets' sums [M, B] int64 by what replaced [M, C] int64 adds to the weights of
    tokens [M, C] int32.
    """
    row = tl.program_id(0)
    scale = tl.load(scales + row)
    top = row_top(maxima, row, scale, tiles, TILES)
    index = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    token = tl.load(tokens + row * candidates + index, mask=index < candidates, other=-1)
    z = tl.load(products + row.to(tl.int64) * vocab + token, mask=token >= 0, other=0.0)
    change = tl.load(replaced + row * candidates + index, mask=index < candidates, other=0)
    change = change - token_weights(z, scale, top).to(tl.int64)
    tl.atomic_add(sums + row * buckets + token // _BUCKET, change, mask=token >= 0)
