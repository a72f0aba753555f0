"""Pictures of a comparison: sizes of everything on every text, and ratio against speed.

They are SVG without dates and random ids: the same rows give the same files.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from benchmarks.results import Row
from llmzip.evaluation.plots import draw_bits_per_byte, figure, grid, svg
from llmzip.levels import DEFAULT_LEVEL
from llmzip.metrics.pareto import front

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OURS, _MODEL, _OTHERS = "#c4452f", "#e8a08f", "#7f93ad"
_DECADE = 0.7
"""How near two speeds are whose names could cover each other: powers of ten."""

_MODEL_CODECS = ("codec rank", "codec equal-info")


def write_pictures(rows: Sequence[Row], folder: pathlib.Path) -> list[pathlib.Path]:
    """`sizes.svg`, and `speed-TEXT.svg` for each text; the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(row.data for row in rows if row.bits_per_byte is not None))
    made = {"sizes": sizes(rows)} if names else {}
    made |= {"speed-" + re.sub(r"[^\w.-]+", "-", name): pareto(rows, name) for name in names}
    paths = [folder / f"{name}.svg" for name in made]
    for path, picture in zip(paths, made.values(), strict=True):
        path.write_text(svg(picture), "utf-8")
    return paths


def _color(row: Row) -> str:
    return (
        _OURS
        if row.compressor.startswith("llmzip")
        else _MODEL
        if row.compressor in _MODEL_CODECS
        else _OTHERS
    )


def pareto(rows: Sequence[Row], data: str) -> Figure:
    """Ratio against decompression speed for one text, and the front; what lies on it is in bold."""
    measured = [
        row for row in rows if row.data == data and row.bits_per_byte and row.decode_bytes_per_s
    ]
    made, axes = figure(
        f"{data}, {measured[0].data_bytes:,} bytes: ratio against speed",
        "decompression [bytes/s]",
        "bits/byte (lower is better)",
        9.0,
    )
    points = {
        row.compressor: (row.decode_bytes_per_s or 0.0, row.bits_per_byte or 0.0)
        for row in measured
    }
    best = front(points.values(), lambda point: (-point[0], point[1]))
    axes.plot(
        *zip(*best, strict=True),
        color="0.6",
        linestyle="--",
        zorder=0,
        label="best ratio at a speed",
    )
    levels = {name: point for name, point in points.items() if name.startswith("llmzip")}
    heights = _spread({name: point for name, point in points.items() if name not in levels})
    for row in measured:
        point = points[row.compressor]
        label = "llmzip's levels" if row.compressor == next(iter(levels), None) else None
        axes.scatter(*point, color=_color(row), s=24, zorder=4, label=label)
        bold = "bold" if point in best else "normal"
        if row.compressor in levels:
            name, offset = row.compressor.removeprefix("llmzip "), (0, -12)
            axes.annotate(
                name,
                point,
                offset,
                textcoords="offset points",
                fontsize=7,
                fontweight=bold,
                ha="center",
            )
        else:
            at = point[0] * 1.12, heights[row.compressor]
            axes.annotate(row.compressor, point, at, fontsize=7, fontweight=bold, va="center")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.06 * max([*heights.values(), *(bits for _, bits in points.values())]))
    axes.margins(x=0.2)
    axes.legend(fontsize=8, loc="lower right")
    return made


def _spread(points: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """At which height each point's name stands, so that those of about one speed do not cover each
    other.
    """
    gap = 0.035 * max((bits for _, bits in points.values()), default=0.0)
    heights: dict[str, float] = {}
    for name, (speed, bits) in sorted(points.items(), key=lambda item: item[1][1]):
        near = [
            heights[other]
            for other in heights
            if abs(math.log10(points[other][0] / speed)) < _DECADE
        ]
        heights[name] = max([bits, *(height + gap for height in near)])
    return heights


def sizes(rows: Sequence[Row]) -> Figure:
    """Bars: bits/byte on each text, the smallest on top; of llmzip's levels each text's smallest
    and the default.
    """
    groups = {
        row.data: _shown([r for r in rows if r.data == row.data])
        for row in rows
        if row.bits_per_byte is not None
    }
    made, panels = grid(len(groups), max(len(group) for group in groups.values()))
    for axes, (data, group) in zip(panels, groups.items(), strict=True):
        bits = [row.bits_per_byte or 0.0 for row in group]
        names, colors = [row.compressor for row in group], [_color(row) for row in group]
        draw_bits_per_byte(axes, f"{data}, {group[0].data_bytes:,} bytes", names, bits, colors, 2)
    return made


def _shown(rows: Sequence[Row]) -> list[Row]:
    """The rows that were measured, by size; codecs that stand beside their program are left out."""
    measured = sorted(
        (row for row in rows if row.compressed_bytes is not None),
        key=lambda row: row.compressed_bytes or 0,
    )
    programs = {
        row.compressor.split()[0] for row in measured if not row.compressor.startswith("codec ")
    }
    programs |= {"zlib"} if "gzip" in programs else set()
    programs |= {"ppmd"} if any(row.compressor.startswith("7z PPMd") for row in measured) else set()
    levels = [row for row in measured if row.compressor.startswith("llmzip")]
    kept = {levels[0].compressor, f"llmzip -{DEFAULT_LEVEL}"} if levels else set()

    def is_shown(row: Row) -> bool:
        if row.compressor.startswith("llmzip"):
            return row.compressor in kept
        return (
            not row.compressor.startswith("codec ")
            or re.split("[ :]", row.compressor)[1] not in programs
        )

    return [row for row in measured if is_shown(row)]
