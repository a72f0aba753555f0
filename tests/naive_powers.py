"""The two powers of the second decoder (tests/naive.py), written from docs/arithmetic.md, 1.3 and 1.5."""

from __future__ import annotations

import numpy as np

F = np.float32


def exp2(x: np.ndarray) -> np.ndarray:
    w = np.floor(x)
    r = x - w
    c1, c2, c3 = (F(float.fromhex(c)) for c in ("0x1.640ea8p-1", "0x1.cf7a66p-3", "0x1.4095f4p-4"))
    y = c3 * r
    y = y + c2
    y = y * r
    y = y + c1
    y = y * r
    y = y + F(1)
    return np.ldexp(y, w.astype(int))


def log2(x: np.float32) -> np.float32:
    m, e = np.frexp(x)  # m in [1/2, 1)
    r = m * F(2) - F(1)
    c1, c2, c3 = (F(float.fromhex(c)) for c in ("0x1.6c40c4p+0", "-0x1.2a06d0p-1", "0x1.461522p-3"))
    y = c3 * r
    y = y + c2
    y = y * r
    y = y + c1
    y = y * r
    return F(int(e) - 1) + y
