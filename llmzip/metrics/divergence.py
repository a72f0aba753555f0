"""How far two models' predictions of the same tokens lie apart: for quantized, pruned and distilled
models.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Log2 = npt.NDArray[np.floating]


def kl_bits(p: Log2, q: Log2) -> npt.NDArray[np.float64]:
    """KL(P || Q) [bits] per row of log2 probabilities [n, V]: what coding with Q costs where P is
    true.
    """
    wide = p.astype(np.float64)
    weight = np.exp2(wide)
    gap = np.subtract(wide, q, out=np.zeros_like(wide), where=weight > 0)
    return np.asarray((weight * gap).sum(axis=1))


def js_bits(p: Log2, q: Log2) -> npt.NDArray[np.float64]:
    """Jensen-Shannon divergence [bits], 0 to 1, per row of log2 probabilities [n, V]."""
    middle = np.logaddexp2(p.astype(np.float64), q.astype(np.float64)) - 1
    return (kl_bits(p, middle) + kl_bits(q, middle)) / 2


def flips(p: Log2, q: Log2) -> npt.NDArray[np.bool_]:
    """Whether the most probable token changed, per row (arXiv 2407.09141)."""
    return np.asarray(p.argmax(axis=1) != q.argmax(axis=1))
