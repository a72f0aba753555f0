"""A picture of what was found: bytes against the time of each direction, and the front. It needs
the extra `eval`.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmzip.bench.rows import Found, Row
from llmzip.errors import LLMZipError
from llmzip.evaluation.plots import grid, svg
from llmzip.metrics.pareto import front

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
_OURS, _OTHERS = "#c4452f", "#7f93ad"
_DIRECTIONS: tuple[tuple[str, Callable[[Row], float]], ...] = (
    ("compression", lambda row: row.compression_seconds),
    ("decompression", lambda row: row.decompression_seconds),
)


def check_picture(path: pathlib.Path) -> None:
    """Raise LLMZipError where no picture can be written by this name, or matplotlib is missing."""
    if path.suffix.lower() not in SUFFIXES:
        raise LLMZipError(f"{path}: a picture is called {' or '.join(SUFFIXES)}")
    grid(1, 1)


def picture(found: Sequence[Found]) -> Figure:
    """Two panels for each file that has rows: a direction's seconds and bits/byte."""
    shown = [one for one in found if one.rows]
    made, panels = grid(2 * len(shown), 14)
    for number, axes in enumerate(panels):
        one, (direction, seconds) = shown[number // 2], _DIRECTIONS[number % 2]
        _draw(axes, one, direction, seconds)
    return made


def picture_bytes(found: Sequence[Found], path: pathlib.Path) -> bytes:
    """The bytes of the picture that is to have this name."""
    drawn = picture(found)
    if path.suffix.lower() == ".svg":
        return svg(drawn).encode()
    out = io.BytesIO()
    drawn.savefig(out, format="png", dpi=150)
    return out.getvalue()


def _draw(axes: Axes, found: Found, direction: str, seconds: Callable[[Row], float]) -> None:
    bits = {row.name: 8 * row.compressed_bytes / found.bytes for row in found.rows}
    best = front(found.rows, lambda row: (seconds(row), row.compressed_bytes))
    axes.plot(
        [seconds(row) for row in best],
        [bits[row.name] for row in best],
        color="0.6",
        linestyle="--",
        zorder=0,
    )
    for row in found.rows:
        point = seconds(row), bits[row.name]
        axes.scatter(*point, color=_OTHERS if row.level is None else _OURS, s=24, zorder=4)
        axes.annotate(
            row.name.removeprefix("llmzip "),
            point,
            (4, 4),
            textcoords="offset points",
            fontsize=7,
            fontweight="bold" if row in best else "normal",
        )
    axes.set_title(f"{found.filename}, {found.bytes:,} bytes", fontsize=9)
    axes.set_xlabel(f"{direction} [s]")
    axes.set_ylabel("bits/byte")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.15 * max(bits.values()))
    axes.margins(x=0.2)
    axes.grid(alpha=0.3)
