"""The arithmetic of single numbers (docs/arithmetic.md, section 1).

Every operation is one of numpy's on float32, hence rounded once; integers are Python's or int64,
hence exact.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

F = np.float32

Vector = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def round_to_int(x: np.float32) -> int:
    """To the nearest integer, ties to even."""
    return round(float(x))


def quantize(x: Vector, limit: int = 127) -> tuple[Integers, np.float32]:
    """Integers q from -limit to limit, and `maximum`, with x ~ q * maximum / limit (1.2)."""
    maximum = max(np.abs(x).max(), F(2.0**-40))
    return np.rint(x * (F(limit) / maximum)).astype(np.int64), maximum


def exp2(x: Any) -> Any:
    """2 to the power of x, by a polynomial that everyone rounds alike (1.3)."""
    c1, c2, c3 = _EXP2
    whole = np.floor(x)
    r = x - whole
    return np.ldexp(((c3 * r + c2) * r + c1) * r + F(1), whole.astype(int))


def log2(x: np.float32) -> np.float32:
    """The binary logarithm, likewise (1.5)."""
    c1, c2, c3 = _LOG2
    significand, exponent = math.frexp(x)  # in [1/2, 1), where the document has [1, 2)
    r = F(significand) * F(2) - F(1)
    return F(F(exponent - 1) + ((c3 * r + c2) * r + c1) * r)


_EXP2 = tuple(F(float.fromhex(c)) for c in ("0x1.640ea8p-1", "0x1.cf7a66p-3", "0x1.4095f4p-4"))
_LOG2 = tuple(F(float.fromhex(c)) for c in ("0x1.6c40c4p+0", "-0x1.2a06d0p-1", "0x1.461522p-3"))


@functools.cache
def hadamard(size: int) -> Integers:
    """Sylvester's matrix of +1 and -1 (2.3)."""
    h = np.ones((1, 1), np.int64)
    while len(h) < size:
        h = np.block([[h, h], [h, -h]])
    return h
