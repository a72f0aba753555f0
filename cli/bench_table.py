"""What `llmzip bench` prints: a table for each file, or JSON."""

from __future__ import annotations

import dataclasses
from typing import Any

from llmzip.bench.rows import Found, Row
from llmzip.cli.durations import format_duration
from llmzip.cli.sizes import format_size

_COLUMNS = "{:<1} {:<17}  {:>10}{:<5} {:>6}  {:>9}  {:>8}  {:>10}  {:>8}  {:>8}"
_TITLES = (
    "",
    "",
    "Compressed",
    "",
    "Ratio",
    "bits/byte",
    "Compress",
    "Decompress",
    "Memory",
    "Coded",
)


def table(found: Found) -> str:
    """The lines of one file."""
    lines = [
        f"{found.filename}: the whole file, {format_size(found.bytes)}, would take",
        _COLUMNS.format(*_TITLES),
        *(_line(row, found.bytes) for row in found.rows),
    ]
    lines += [f"not measured: {what}" for what in found.left_out]
    return "\n".join(line.rstrip() for line in lines)


FOOT = (
    "* no other row is at least as good in size and both times. Memory: what decoding takes, at\n"
    "most, beside the model. Coded: how much of the file was measured; the rest is a forecast. ±:\n"
    "how far it is off in size, about (one standard deviation), where that is 10 % and more."
)

_TOLD_ERROR = 0.1
"""From which relative error on a forecast shows it."""


def record(found: Found) -> dict[str, Any]:
    """The same as JSON has it."""
    return {
        **dataclasses.asdict(found),
        "rows": [
            {
                **dataclasses.asdict(row),
                "bits_per_byte": 8 * row.compressed_bytes / found.bytes,
                "ratio": found.bytes / max(1, row.compressed_bytes),
            }
            for row in found.rows
        ],
    }


def _line(row: Row, size: int) -> str:
    return _COLUMNS.format(
        "*" if row.on_front else "",
        row.name,
        format_size(row.compressed_bytes),
        f" ±{row.size_error:.0%}" if row.size_error >= _TOLD_ERROR else "",
        f"{size / max(1, row.compressed_bytes):.3f}",
        f"{8 * row.compressed_bytes / size:.3f}",
        format_duration(row.compression_seconds),
        format_duration(row.decompression_seconds),
        "-" if row.memory is None else format_size(row.memory),
        "all" if row.coded.bytes == size else format_size(row.coded.bytes),
    )
