"""Block-diagonal Walsh–Hadamard transforms (Sylvester order, entries +1 and -1, not normalized)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def rotate(rows: npt.NDArray[np.float64], block: int) -> npt.NDArray[np.float64]:
    """Multiply each block of `block` columns by the Hadamard matrix: [..., K] float64 -> [..., K]
    float64.

    Butterflies of adds in a fixed order, from the nearest neighbors outwards, so that float64
    results are reproducible.
    """
    shape = rows.shape
    x = rows.reshape(-1, block)
    half = 1
    while half < block:
        pairs = x.reshape(-1, block // (2 * half), 2, half)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        x = np.stack((a + b, a - b), axis=2).reshape(-1, block)
        half *= 2
    return x.reshape(shape)


def matrix(block: int) -> npt.NDArray[np.float64]:
    """The Hadamard matrix itself: [block, block], entries +1 and -1."""
    return rotate(np.eye(block), block)
