"""What a result says, in sentences."""

from __future__ import annotations

import itertools

from llmzip.evaluation.rows import MeasuredText, Result

BITS_PER_BYTE = 8
"""The rate of data that is stored as it is; text at a higher rate is noise to the model."""


def findings(result: Result) -> list[str]:
    """The sentences, the most important first; what was not measured is not mentioned."""
    found = (_best(result), _files(result), _contexts(result), _damage(result))
    return [line for line in found if line]


def _best(result: Result) -> str | None:
    """Which model or codec has the fewest bits per byte, and on which texts."""
    winners: dict[str, list[str]] = {}
    for text in result.texts:
        rates = _rates(result, text)
        if len(rates) > 1:
            rate, name, _ = min(rates, key=lambda found: found[0])
            winners.setdefault(name, []).append(f"{text.name} ({rate:.3f})")
    parts = [f"{name} on {', '.join(texts)}" for name, texts in winners.items()]
    return f"Fewest bits per byte: {'; '.join(parts)}." if parts else None


def _files(result: Result) -> str | None:
    """How large real files are beside the smallest that a codec makes."""
    parts = []
    for text in result.texts:
        files = [row.file.file_bits_per_byte for row in result.rows_of(text) if row.file]
        codecs = [(rate, name) for rate, name, kind in _rates(result, text) if kind == "codec"]
        if files and codecs:
            rate, name = min(codecs, key=lambda found: found[0])
            parts.append(f"{min(files) / rate:.0%} of {name}'s on {text.name}")
    if not parts:
        return None
    return f"Sizes of real files, against the smallest codec's: {', '.join(parts)}."


def _contexts(result: Result) -> str | None:
    """Whether longer contexts made the same tokens cheaper."""
    parts, steps, down = [], 0, 0
    for row in result.rows:
        if row.context is None or len(row.context.contexts) < 2:
            continue
        rates, contexts = row.context.bits_per_byte_by_context, row.context.contexts
        if min(rates) >= BITS_PER_BYTE:
            continue
        steps += len(rates) - 1
        down += sum(longer < shorter for shorter, longer in itertools.pairwise(rates))
        of = row.text if len(result.models) == 1 else f"{row.text} with {row.name}"
        span = f"{contexts[0]} → {contexts[-1]} tokens"
        parts.append(f"{rates[0]:.3f} → {rates[-1]:.3f} on {of} ({span})")
    if not parts:
        return None
    return (
        f"Longer contexts made the same tokens cheaper in {down} of {steps} steps; "
        f"bits/byte: {', '.join(parts)}."
    )


def _damage(result: Result) -> str | None:
    """What halving the cache's width costs, on the mean and in the worst hundredth."""
    points = [p for p in result.cache_damage if p.evicted_fraction == 0 and p.cache_bits == 4]
    if not points:
        return None
    point = max(points, key=lambda p: p.context)
    return (
        f"A key/value cache of 4 bits behind {point.context} tokens costs "
        f"{point.extra_bits_per_byte:+.3f} bits/byte on the mean, but "
        f"{point.extra_bits_per_token_p99:.2f} bits at the 99th percentile of the tokens "
        f"({point.model})."
    )


def _rates(result: Result, text: MeasuredText) -> list[tuple[float, str, str]]:
    """Bits/byte, name and kind of what was measured on a text."""
    rows = result.rows_of(text)
    return [(r.bits_per_byte, r.name, r.kind) for r in rows if r.bits_per_byte is not None]
