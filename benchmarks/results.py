"""Rows of a comparison as CSV, Markdown, and sizes to check in."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Key = tuple[str, str, str, str]
"""Text, its digest, compressor, command: what is measured once."""


@dataclasses.dataclass
class Row:
    """One compressor on one text."""

    data: str
    data_sha256: str
    data_bytes: int
    compressor: str
    command: str
    version: str = ""
    model_digest: str = ""
    compressed_bytes: int | None = None
    bits_per_byte: float | None = None
    encode_bytes_per_s: float | None = None
    decode_bytes_per_s: float | None = None
    encode_peak_bytes: int | None = None
    decode_peak_bytes: int | None = None
    note: str = ""
    """Why there are no numbers; empty after a verified round trip."""

    @property
    def key(self) -> Key:
        """What is measured in this row: equal keys are one measurement."""
        return self.data, self.data_sha256, self.compressor, self.command


def write_csv(rows: Sequence[Row], path: pathlib.Path) -> None:
    """Every field of every row; the file is never half written."""
    scratch = path.with_name(path.name + ".tmp")
    with scratch.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [field.name for field in dataclasses.fields(Row)]
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)
    scratch.replace(path)


_INTEGERS = ("data_bytes", "compressed_bytes", "encode_peak_bytes", "decode_peak_bytes")
_FLOATS = ("bits_per_byte", "encode_bytes_per_s", "decode_bytes_per_s")


def read_csv(path: pathlib.Path) -> list[Row]:
    """The rows that `write_csv` has written."""
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    kinds: dict[str, Callable[[str], Any]] = {
        **dict.fromkeys(_INTEGERS, int),
        **dict.fromkeys(_FLOATS, float),
    }

    def value(name: str, text: str) -> Any:
        return (kinds[name](text) if text else None) if name in kinds else text

    return [Row(**{name: value(name, text) for name, text in row.items()}) for row in found]


def markdown(rows: Sequence[Row]) -> str:
    """A table per text, the smallest first, and the commands as footnotes."""
    lines = []
    commands: dict[str, int] = {}
    for data in dict.fromkeys(row.data for row in rows):
        group = sorted((row for row in rows if row.data == data), key=_by_size)
        lines += [
            f"### {data}, {group[0].data_bytes:,} bytes (SHA-256 {group[0].data_sha256[:16]})",
            "",
        ]
        lines += [
            "| | bytes | bits/byte | compress B/s | decompress B/s | peak MiB |",
            "| --- |" + " ---: |" * 5,
        ]
        for row in group:
            if row.command and row.command not in commands:
                commands[row.command] = len(commands) + 1
            name = f"{row.compressor}[^{commands[row.command]}]" if row.command else row.compressor
            if row.compressed_bytes is None:
                lines.append(f"| {name} | ❌ {row.note} | | | | |")
                continue
            bits = f"{row.bits_per_byte:.3f}"
            peak = max(row.encode_peak_bytes or 0, row.decode_peak_bytes or 0) / 2**20
            lines.append(
                f"| {name} | {row.compressed_bytes:,} | {bits} | "
                f"{row.encode_bytes_per_s:,.0f} | {row.decode_bytes_per_s:,.0f} | {peak:,.0f} |"
            )
        lines.append("")
    lines += [f"[^{number}]: `{command}`" for command, number in commands.items()]
    return "\n".join(lines) + "\n"


def _by_size(row: Row) -> float:
    return float("inf") if row.compressed_bytes is None else row.compressed_bytes


def write_sizes(rows: Iterable[Row], path: pathlib.Path) -> list[str]:
    """Merge the sizes into the checked-in file; what changed for the same bytes, as lines."""
    known: dict[tuple[str, str, str], int] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            known = {
                (r["data"], r["data_sha256"], r["compressor"]): int(r["bytes"])
                for r in csv.DictReader(file)
            }
    changes = []
    for row in rows:
        key = row.data, row.data_sha256, row.compressor
        if row.compressed_bytes is None:
            continue
        before = known.get(key)
        if before is not None and before != row.compressed_bytes:
            changes.append(
                f"{row.data}, {row.compressor}: {before:,} -> {row.compressed_bytes:,} bytes"
            )
        known[key] = row.compressed_bytes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["data", "data_sha256", "compressor", "bytes"])
        writer.writerows([*key, size] for key, size in sorted(known.items()))
    return changes
