"""What a result says, in sentences: derived from its JSON alone."""

from __future__ import annotations

import itertools
from typing import Any

Row = dict[str, Any]

BITS_PER_BYTE = 8
"""Without compression: rates beyond it are noise to the model."""


def findings(result: dict[str, Any]) -> list[str]:
    """The sentences, the most important first; what was not measured is not mentioned."""
    return [line for line in (_best(result), _files(result), _contexts(result), _damage(result)) if line]


def _best(result: dict[str, Any]) -> str | None:
    """Which model or codec has the fewest bits per byte, and on which texts."""
    winners: dict[str, list[str]] = {}
    for text in result["texts"]:
        rows = _measured(result, text["name"], "bits_per_byte")
        if len(rows) > 1:
            first = min(rows, key=lambda row: row["bits_per_byte"])
            winners.setdefault(first["name"], []).append(f"{text['name']} ({first['bits_per_byte']:.3f})")
    parts = [f"{name} on {', '.join(texts)}" for name, texts in winners.items()]
    return f"Fewest bits per byte: {'; '.join(parts)}." if parts else None


def _files(result: dict[str, Any]) -> str | None:
    """How large real files are beside the smallest that a codec makes."""
    parts = []
    for text in result["texts"]:
        files = _measured(result, text["name"], "file_bits_per_byte")
        codecs = [row for row in _measured(result, text["name"], "bits_per_byte") if row["kind"] == "codec"]
        if files and codecs:
            file = min(files, key=lambda row: row["file_bits_per_byte"])
            codec = min(codecs, key=lambda row: row["bits_per_byte"])
            share = file["file_bits_per_byte"] / codec["bits_per_byte"]
            parts.append(f"{share:.0%} of {codec['name']}'s on {text['name']}")
    return f"Sizes of real files, against the smallest codec's: {', '.join(parts)}." if parts else None


def _contexts(result: dict[str, Any]) -> str | None:
    """Whether longer contexts made the same tokens cheaper."""
    rows = [row for row in result["rows"] if len(row.get("contexts") or ()) > 1]
    rows = [row for row in rows if min(row["bits_per_byte_by_context"]) < BITS_PER_BYTE]
    parts, steps, down = [], 0, 0
    for row in rows:
        rates, contexts = row["bits_per_byte_by_context"], row["contexts"]
        steps += len(rates) - 1
        down += sum(longer < shorter for shorter, longer in itertools.pairwise(rates))
        of = row["text"] if len(result["models"]) == 1 else f"{row['text']} with {row['name']}"
        parts.append(f"{rates[0]:.3f} → {rates[-1]:.3f} on {of} ({contexts[0]} → {contexts[-1]} tokens)")
    if not rows:
        return None
    return f"Longer contexts made the same tokens cheaper in {down} of {steps} steps; bits/byte: {', '.join(parts)}."


def _damage(result: dict[str, Any]) -> str | None:
    """What halving the cache's width costs, on the mean and in the worst hundredth."""
    points = [p for p in result["cache_damage"] if p["evicted_share"] == 0 and p["cache_bits"] == 4]
    if not points:
        return None
    point = max(points, key=lambda p: p["context"])
    return (
        f"A key/value cache of 4 bits behind {point['context']} tokens costs {point['extra_bits_per_byte']:+.3f} bits/byte "
        f"on the mean, but {point['extra_bits_per_token_p99']:.2f} bits at the 99th percentile of the tokens "
        f"({point['model']})."
    )


def _measured(result: dict[str, Any], text: str, key: str) -> list[Row]:
    return [row for row in result["rows"] if row["text"] == text and row.get(key) is not None]
