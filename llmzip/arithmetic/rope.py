"""Rotary tables on an integer grid, computed with integers alone (docs/arithmetic.md, section 2.4).

No library's sine decides a bit: pi, the frequencies and the rotations are evaluated in 192-bit
fixed point and only then rounded to multiples of 2**-14.
"""

from __future__ import annotations

import decimal

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import ROPE_BITS

_BITS = 192


def _sin_cos(angle: int) -> tuple[int, int]:
    """Sine and cosine of a small non-negative angle, in units of 2**-192, by Taylor's series."""
    one = 1 << _BITS
    cosine, sine, term, n = one, 0, one, 0
    while term:
        n += 1
        term = (term * angle >> _BITS) // n
        if n % 2:
            sine += term if n % 4 == 1 else -term
        else:
            cosine += term if n % 4 == 0 else -term
    return sine, cosine


def inverse_frequencies(theta: float, head_dim: int) -> list[int]:
    """theta ** (-2i / head_dim) for i < head_dim / 2, in units of 2**-192."""
    with decimal.localcontext() as context:
        context.prec = 80
        log_theta = decimal.Decimal(theta).ln()
        one = decimal.Decimal(1 << _BITS)
        return [int((log_theta * (-2 * i) / head_dim).exp() * one) for i in range(head_dim // 2)]


def rope_table(frequencies: list[int], positions: int) -> npt.NDArray[np.int16]:
    """Cosines and sines in units of 2**-14: [positions, 2, len(frequencies)] int16, cosines first.

    frequencies: radians per position, in units of 2**-192, each at most 1.
    """
    table = np.empty((positions, 2, len(frequencies)), np.int16)
    half, shift = 1 << (_BITS - ROPE_BITS - 1), _BITS - ROPE_BITS
    for i, frequency in enumerate(frequencies):
        step_sine, step_cosine = _sin_cos(frequency)
        sine, cosine = 0, 1 << _BITS
        for p in range(positions):
            table[p, 0, i] = (cosine + half) >> shift
            table[p, 1, i] = (sine + half) >> shift
            cosine, sine = (
                (cosine * step_cosine - sine * step_sine) >> _BITS,
                (sine * step_cosine + cosine * step_sine) >> _BITS,
            )
    return table
