"""Bits/byte month by month, and the gap at a model's cutoff (arXiv 2402.00861)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping

from llmzip.corpora.library import month_of
from llmzip.errors import LLMZipError
from llmzip.evaluation.partial import Partial
from llmzip.metrics.dated import cutoff_gap
from llmzip.scoring.base import Scorer
from llmzip.scoring.spans import Begin, score_text
from llmzip.types import TokenProgress


@dataclasses.dataclass(frozen=True)
class Months:
    """What `measure_months` finds."""

    cutoff: str
    segment_tokens: int
    bytes_by_month: dict[str, int]
    rate_percent_by_month: dict[str, float]
    bits_per_byte_by_month: dict[str, float]
    before: float | None
    """The mean of the rates up to the cutoff [%]."""
    after: float | None
    """The mean of those after it."""
    robustness: float | None
    """after - before [percentage points]."""


def by_month(texts: Mapping[str, bytes]) -> dict[str, bytes]:
    """The dated texts of each month, in order. Raises LLMZipError where none has a date."""
    months: dict[str, bytes] = {}
    for name, data in texts.items():
        month = month_of(name, data)
        if month:
            months[month] = months.get(month, b"") + data
    if not months:
        raise LLMZipError(
            "no text has a date (YYYY-MM in its name, or date: or path: in its first lines)"
        )
    return dict(sorted(months.items()))


def measure_months(
    scorer: Scorer,
    months: Mapping[str, bytes],
    cutoff: str,
    *,
    context: int = 2048,
    max_bytes: int | None = None,
    partial: Partial | None = None,
    begin: Begin | None = None,
) -> Months:
    """Rates [%] of the months in segments of `context` tokens (every byte counted and scored), and
    the gap.

    partial: what an interrupted run has measured; begin: told which month comes next.
    """
    partial = partial or Partial()
    rates, bits_per_byte, sizes = {}, {}, {}
    length = min(context, scorer.max_positions)
    for month, whole in months.items():
        data = whole[:max_bytes]
        sizes[month] = len(data)
        progress = begin(f"{scorer.model_card.name}: {month}") if begin else None
        identity = ["month", scorer.model_card, length, hashlib.sha256(data).hexdigest()]
        bits = partial.cell(
            float, identity, functools.partial(_code_length, scorer, data, length, progress)
        )
        bits_per_byte[month] = bits / len(data)
        rates[month] = 100 * bits / 8 / len(data)
    gap = cutoff_gap(rates, cutoff)
    return Months(
        cutoff=cutoff,
        segment_tokens=length,
        bytes_by_month=sizes,
        rate_percent_by_month=rates,
        bits_per_byte_by_month=bits_per_byte,
        before=gap.before,
        after=gap.after,
        robustness=gap.robustness,
    )


def _code_length(scorer: Scorer, data: bytes, length: int, progress: TokenProgress | None) -> float:
    return score_text(scorer, data, context=length, progress=progress).total_bits
