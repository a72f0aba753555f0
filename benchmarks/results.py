"""Rows of a comparison as CSV, Markdown, sizes to check in, and pictures."""

from __future__ import annotations

import csv
import dataclasses
import pathlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass
class Row:
    """One contender on one text."""

    data: str
    data_sha256: str
    data_bytes: int
    contender: str
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


def write_csv(rows: Sequence[Row], path: pathlib.Path) -> None:
    """Every field of every row."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [field.name for field in dataclasses.fields(Row)]
        writer.writerow(names)
        writer.writerows([getattr(row, name) for name in names] for row in rows)


def markdown(rows: Sequence[Row]) -> str:
    """A table per text, the smallest bold, and the commands as footnotes."""
    lines = []
    commands: dict[str, int] = {}
    for data in dict.fromkeys(row.data for row in rows):
        group = [row for row in rows if row.data == data]
        best = min((row.compressed_bytes for row in group if row.compressed_bytes is not None), default=None)
        lines += [f"### {data}, {group[0].data_bytes:,} bytes (SHA-256 {group[0].data_sha256[:16]})", ""]
        lines += ["| | bytes | bits/byte | compress B/s | decompress B/s | peak MiB |", "| --- |" + " ---: |" * 5]
        for row in group:
            if row.command and row.command not in commands:
                commands[row.command] = len(commands) + 1
            name = f"{row.contender}[^{commands[row.command]}]" if row.command else row.contender
            if row.compressed_bytes is None:
                lines.append(f"| {name} | ❌ {row.note} | | | | |")
                continue
            bits = f"{row.bits_per_byte:.3f}"
            peak = max(row.encode_peak_bytes or 0, row.decode_peak_bytes or 0) / 2**20
            lines.append(
                f"| {name} | {row.compressed_bytes:,} | {f'**{bits}**' if row.compressed_bytes == best else bits} | "
                f"{row.encode_bytes_per_s:,.0f} | {row.decode_bytes_per_s:,.0f} | {peak:,.0f} |"
            )
        lines.append("")
    lines += [f"[^{number}]: `{command}`" for command, number in commands.items()]
    return "\n".join(lines) + "\n"


def write_sizes(rows: Iterable[Row], path: pathlib.Path) -> list[str]:
    """Merge the sizes into the checked-in file; what changed for the same bytes, as lines."""
    known: dict[tuple[str, str, str], int] = {}
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            known = {(r["data"], r["data_sha256"], r["contender"]): int(r["bytes"]) for r in csv.DictReader(file)}
    changes = []
    for row in rows:
        key = row.data, row.data_sha256, row.contender
        if row.compressed_bytes is None:
            continue
        before = known.get(key)
        if before is not None and before != row.compressed_bytes:
            changes.append(f"{row.data}, {row.contender}: {before:,} -> {row.compressed_bytes:,} bytes")
        known[key] = row.compressed_bytes
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["data", "data_sha256", "contender", "bytes"])
        writer.writerows([*key, size] for key, size in sorted(known.items()))
    return changes


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (speed, bits/byte) that no other beats in both, by falling speed.

    >>> front([(10.0, 2.0), (5.0, 3.0), (1.0, 1.0)])
    [(10.0, 2.0), (1.0, 1.0)]
    """
    best: list[tuple[float, float]] = []
    for speed, bits in sorted(points, key=lambda p: (-p[0], p[1])):
        if not best or bits < best[-1][1]:
            best.append((speed, bits))
    return best


def pareto(rows: Sequence[Row], data: str) -> Figure:
    """Ratio against decompression speed for one text, and the front."""
    from llmzip.evaluation.plots import figure

    made, axes = figure(f"{data}: ratio against speed", "decompression [bytes/s]", "bits/byte")
    points = []
    for row in rows:
        if row.data == data and row.bits_per_byte is not None and row.decode_bytes_per_s is not None:
            points.append((row.decode_bytes_per_s, row.bits_per_byte))
            axes.scatter(*points[-1], color="C3" if row.contender.startswith("llmzip") else "C0")
            axes.annotate(row.contender, points[-1], fontsize=7, xytext=(4, 3), textcoords="offset points")
    if points:
        axes.plot(*zip(*front(points), strict=True), color="0.6", linestyle="--", zorder=0)
    axes.set_xscale("log")
    return made
