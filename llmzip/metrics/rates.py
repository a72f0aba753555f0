"""Compression rates with and without the model's own size (arXiv 2309.10668, section 3)."""

from __future__ import annotations

import math

BYTES_PER_PARAMETER = 2
"""The paper stores models as float16."""


def raw_rate(compressed: float, original: int) -> float:
    """Compressed / original bytes; below 1 is compression."""
    if original <= 0:
        raise ValueError("no text: there is nothing to measure")
    return compressed / original


def adjusted_rate(compressed: float, original: int, model_bytes: int) -> float:
    """The same with the model's size added to the compressed bytes.

    >>> adjusted_rate(10, 100, 40)
    0.5
    """
    return raw_rate(compressed + model_bytes, original)


def break_even_bytes(model_bytes: int, rate: float, baseline_rate: float) -> float:
    """How much text must be compressed before the model has paid for its own size against a
    baseline.

    model_bytes / (baseline_rate - rate); infinite where the model does not beat the baseline.

    >>> break_even_bytes(100, 0.25, 0.5)
    400.0
    """
    gain = baseline_rate - rate
    return model_bytes / gain if gain > 0 else math.inf
