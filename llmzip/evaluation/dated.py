"""Bits/byte month by month, and the gap at a model's cutoff (arXiv 2402.00861)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from llmzip.corpora.library import month_of
from llmzip.errors import LLMZipError
from llmzip.metrics.dated import cutoff_gap
from llmzip.metrics.windows import segments
from llmzip.scoring.base import Scorer
from llmzip.scoring.score import Progress, score


def by_month(texts: Mapping[str, bytes]) -> dict[str, bytes]:
    """The dated texts of each month, in order. Raises LLMZipError where none has a date."""
    months: dict[str, bytes] = {}
    for name, data in texts.items():
        month = month_of(name, data)
        if month:
            months[month] = months.get(month, b"") + data
    if not months:
        raise LLMZipError("no text has a date (YYYY-MM in its name, or date: or path: in its first lines)")
    return dict(sorted(months.items()))


def measure_months(
    scorer: Scorer,
    months: Mapping[str, bytes],
    cutoff: str,
    *,
    context: int = 2048,
    most_bytes: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Rates [%] of the months in segments of `context` tokens (every byte counted and scored), and the gap."""
    rates, bits_per_byte = {}, {}
    for month, data in months.items():
        data = data[:most_bytes]
        text = scorer.tokenize(data)
        spans = segments(len(text.ids), min(context, scorer.max_positions))
        bits = score(scorer, text, spans, progress=progress).total_bits
        bits_per_byte[month] = bits / len(data)
        rates[month] = 100 * bits / 8 / len(data)
    gap = cutoff_gap(rates, cutoff)
    return {
        "cutoff": cutoff,
        "segment_tokens": context,
        "rate_percent_by_month": rates,
        "bits_per_byte_by_month": bits_per_byte,
        **dataclasses.asdict(gap),
        "robustness": gap.robustness,
    }
