"""Markdown tables, derived from the result JSON alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

COLUMNS = (
    ("bits_per_byte", "bits/byte ↓", 4),
    ("file_bits_per_byte", "file bits/byte ↓", 4),
    ("bits_per_char", "bits/char ↓", 4),
    ("bpc", "BPC 1900/512 ↓", 4),
    ("bits_per_token", "bits/token", 3),
    ("bytes_per_token", "bytes/token ↑", 3),
    ("ts", "TS", 2),
    ("nll", "NLL ↓", 3),
    ("information_capacity", "IC ↑", 4),
    ("information_capacity_b0", "IC (b=0) ↑", 4),
    ("top1", "top-1 ↑", 3),
    ("adjusted_rate_stored", "adjusted rate ↓", 2),
)


def markdown(result: dict[str, Any]) -> str:
    """One table per text: models and codecs as rows, the fewest bits per byte first, the best of each column bold.

    ± is the standard error.
    """
    lines = []
    if result["testing_only"]:
        lines += [f"**Testing only**: the first {result['options']['limit']:,} bytes of each text.", ""]
    for text in result["texts"]:
        rows = sorted((row for row in result["rows"] if row["text"] == text["name"]), key=_by_rate)
        lines += [f"### {text['name']}, {text['bytes']:,} bytes", "", *_table(rows), ""]
        for row in rows:
            lines += [f"- {row['name']}, {task}: {reason}" for task, reason in row["errors"].items()]
        if any(row["errors"] for row in rows):
            lines.append("")
    lines += [f"- {what}: {reason}" for what, reason in result["errors"].items()]
    return "\n".join(lines)


def _by_rate(row: dict[str, Any]) -> float:
    rate = row.get("bits_per_byte")
    return float("inf") if rate is None else rate


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    shown = [column for column in COLUMNS if any(row.get(column[0]) is not None for row in rows)]
    lines = ["| | " + " | ".join(title for _, title, _ in shown) + " |", "| --- |" + " ---: |" * len(shown)]
    for row in rows:
        cells = []
        for key, title, digits in shown:
            cell = _cell(row, key, digits)
            values = [other[key] for other in rows if other.get(key) is not None]
            best = max(values) if "↑" in title else min(values) if "↓" in title else None
            cells.append(f"**{cell}**" if row.get(key) is not None and row[key] == best and len(values) > 1 else cell)
        lines.append(f"| {row['name']} | " + " | ".join(cells) + " |")
    return lines


def _cell(row: dict[str, Any], key: str, digits: int) -> str:
    value = row.get(key)
    if value is None:
        return ""
    text = f"{value:.{digits}f}"
    return f"{text} ± {row[f'{key}_stderr']:.{digits}f}" if f"{key}_stderr" in row else text
