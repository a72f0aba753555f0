"""Whether compression goes with ability: linear correlation over models (arXiv 2404.09937)."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Fit:
    """A straight line through points."""

    pearson: float
    slope: float
    intercept: float
    rmse: float
    """Of the line's predictions, in units of y."""


def linear_fit(x: npt.ArrayLike, y: npt.ArrayLike) -> Fit:
    """Pearson's rho and the least-squares line; RMSE = sqrt(mean squared residual).

    Raises ValueError for fewer than three points, a constant column, or numbers that are not
    finite.

    >>> linear_fit([1, 2, 3], [2, 4, 6]).slope
    2.0
    """
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a correlation needs numbers; some are not finite")
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        raise ValueError(
            "a correlation needs three points or more, and columns that are not constant"
        )
    da, db = a - a.mean(), b - b.mean()
    slope = float((da @ db) / (da @ da))
    rest = db - slope * da
    pearson = float((da @ db) / np.sqrt((da @ da) * (db @ db)))
    return Fit(pearson, slope, float(b.mean() - slope * a.mean()), float(np.sqrt(np.mean(rest**2))))
