"""Launching kernels: exact float arithmetic, and sizes that suit the device."""

from __future__ import annotations

from typing import Any

POSITION_MULTIPLE = 16
"""Steps read a multiple of so many slots: whole vectors of 16 bytes."""

SLOT_MULTIPLE = 64
"""A cache has room for so many slots, or a multiple, so that each row of it begins with one of the
memory's units.
"""

_PROGRAMS = 528  # four for each multiprocessor of an H100: fewer leave its memory idle


def launch(
    kernel: Any,
    grid: tuple[int, ...],
    *arguments: Any,
    warps: int = 4,
    stages: int = 3,
    **constants: Any,
) -> None:
    """Start a kernel.

    A fused multiply-add has one rounding where docs/arithmetic.md wants two: it is forbidden."""
    kernel[grid](
        *arguments,
        **constants,
        num_warps=warps,
        num_stages=stages,
        enable_fp_fusion=False,
    )


def power_of_two(n: int, least: int = 1) -> int:
    """The smallest power of two that is at least `n` and `least`."""
    return max(1 << (n - 1).bit_length(), least)


def ceil_div(a: int, b: int) -> int:
    """The quotient, rounded up."""
    return -(-a // b)


def row_block(rows: int, limit: int = 64) -> int:
    """The number of rows of a product's program."""
    return min(power_of_two(rows, 16), limit)


def depth_block(depth: int) -> int:
    """The part of the depth that a product loads at a time: a divisor where there is one, so that
    no load needs a mask.
    """
    return 128 if depth % 128 == 0 else 64


def position_splits(pairs: int, used: int, block: int) -> tuple[int, int]:
    """The number of splits of the positions, a power of two, and the length of one, a multiple of
    `block`.
    """
    blocks = ceil_div(used, block)
    splits = 1
    while splits * pairs < _PROGRAMS and 2 * splits <= blocks:
        splits *= 2
    length = ceil_div(blocks, splits) * block
    return splits, length
