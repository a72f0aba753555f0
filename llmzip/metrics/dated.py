"""Rates over time: what a model has learnt before its cutoff, and what holds after it (arXiv
2402.00861).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Gap:
    """Mean compression rates [%] before and after a cutoff."""

    before: float | None
    after: float | None
    """The paper's generalization: lower is better."""

    @property
    def robustness(self) -> float | None:
        """after - before [percentage points]: near 0 is robust; None where a side has no slice."""
        return None if self.before is None or self.after is None else self.after - self.before


def cutoff_gap(rates: Mapping[str, float], cutoff: str) -> Gap:
    """Means of the slices up to the month `cutoff` and of those after it.

    rates: month (`2025-07`) -> compression rate [%], bits / 8 / bytes * 100.

    >>> cutoff_gap({"2024-01": 10.0, "2025-01": 12.0}, "2024-06").robustness
    2.0
    """
    before = [rate for month, rate in rates.items() if month <= cutoff]
    after = [rate for month, rate in rates.items() if month > cutoff]
    return Gap(*(float(np.mean(part)) if part else None for part in (before, after)))
