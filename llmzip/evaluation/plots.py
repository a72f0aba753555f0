"""Pictures of results, as matplotlib figures and SVG text; they need the extra `eval`."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmzip.errors import LLMZipError
from llmzip.evaluation.findings import BITS_PER_BYTE
from llmzip.evaluation.run import rows_of
from llmzip.metrics.correlation import Fit
from llmzip.metrics.ranks import RANK_EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _canvas(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise LLMZipError("pictures need matplotlib: pip install 'llmzip[eval]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def grid(panels: int, lines: int) -> tuple[Figure, list[Axes]]:
    """A picture with so many panels, two beside each other, high enough for so many lines of text."""
    columns = min(2, panels)
    rows = -(-panels // columns)
    made = _canvas(4.6 * columns, rows * (1.0 + 0.2 * lines))
    every = list(made.subplots(rows, columns, squeeze=False).flat)
    for axes in every[panels:]:
        axes.remove()
    return made, every[:panels]


def figure(title: str, x: str, y: str, width: float = 7.0) -> tuple[Figure, Axes]:
    """An empty picture with labeled axes. Raises LLMZipError where matplotlib is missing."""
    made = _canvas(width, 4.2)
    axes = made.subplots()
    axes.set_title(title)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    return made, axes


def svg(picture: Figure) -> str:
    """The picture as an SVG element; the same picture gives the same text."""
    import matplotlib
    from matplotlib.text import Text

    for text in picture.findobj(lambda part: isinstance(part, Text)):
        text.set_parse_math(False)  # type: ignore[attr-defined]  # dollar signs are parts of names
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "llmzip", "svg.fonttype": "none"}):
        picture.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    drawn = out.getvalue()
    return drawn[drawn.index("<svg") :]


def bits_per_byte(result: dict[str, Any]) -> Figure:
    """Bars: every model and codec on every text, the best on top; a model's real file beside what it predicts."""
    texts = [
        text for text in result["texts"] if any(r["text"] == text["name"] for r in rows_of(result, "bits_per_byte"))
    ]
    groups = [_bars([row for row in result["rows"] if row["text"] == text["name"]]) for text in texts]
    made, panels = grid(len(groups), max(len(group) for group in groups))
    for axes, text, group in zip(panels, texts, groups, strict=True):
        colors = ["C0" if b[2] else "C3" for b in group]
        title = f"{text['name']}, {text['bytes']:,} bytes"
        draw_bits_per_byte(axes, title, [b[1] for b in group], [b[0] for b in group], colors, 3)
    return made


def draw_bits_per_byte(
    axes: Axes, title: str, names: Sequence[str], bits: Sequence[float], colors: Sequence[str], decimals: int
) -> None:
    """Fill a panel with labeled bars, the first on top."""
    bars = axes.barh(names, bits, color=colors)
    axes.bar_label(bars, [f"{b:.{decimals}f}" for b in bits], fontsize=7, padding=2)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("bits/byte (lower is better)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.03 * (decimals + 2))  # room for the labels
    axes.invert_yaxis()


def _bars(rows: Sequence[dict[str, Any]]) -> list[tuple[float, str, bool]]:
    """Bits/byte, label, whether it is a codec's; sorted."""
    found = [(r["bits_per_byte"], r["name"], r["kind"] == "codec") for r in rows if r.get("bits_per_byte") is not None]
    found += [
        (row["file_bits_per_byte"], f"{row['name']}: file, level {row['level']}", False)
        for row in rows
        if row.get("file_bits_per_byte") is not None
    ]
    return sorted(found)


def _label(result: dict[str, Any], row: dict[str, Any]) -> str:
    """The text, and the model where there are several."""
    return row["text"] if len(result["models"]) == 1 else f"{row['text']}, {row['name']}"


def _compressed(result: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The rows whose rates are not all beyond 8 bits/byte: on noise a curve says nothing and hides the others."""
    return [row for row in rows_of(result, key) if min(rate for rate in row[key] if rate is not None) < BITS_PER_BYTE]


def by_context(result: dict[str, Any]) -> Figure:
    """Curves: the same tokens with ever longer contexts."""
    made, axes = figure("The same tokens with longer contexts", "tokens of context", "bits/byte (lower is better)", 8.0)
    for row in _compressed(result, "bits_per_byte_by_context"):
        axes.plot(row["contexts"], row["bits_per_byte_by_context"], marker="o", label=_label(result, row))
    _doublings(axes)
    return made


def by_position(result: dict[str, Any]) -> Figure:
    """Curves: bits/byte by the position in a segment."""
    made, axes = figure(
        "By position in the segment", "position in tokens, upper end of the bin", "bits/byte (lower is better)", 8.0
    )
    for row in _compressed(result, "bits_per_byte_by_position"):
        pairs = zip(row["position_edges"][1:], row["bits_per_byte_by_position"], strict=True)
        known = [(edge, rate) for edge, rate in pairs if rate is not None]
        axes.plot(*zip(*known, strict=True), marker="o", label=_label(result, row))
    _doublings(axes)
    return made


def _doublings(axes: Axes) -> None:
    """Tokens in doublings with plain numbers, rates from 0, and the legend beside the curves."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def rank_histogram(result: dict[str, Any]) -> Figure:
    """Bars: how often a token was the model's first, second ... choice."""
    made, axes = figure("Ranks of the tokens in the predictions", "rank (0: the first choice)", "share of tokens", 9.0)
    rows = list(rows_of(result, "rank_histogram"))
    width = 0.8 / max(1, len(rows))
    for i, row in enumerate(rows):
        places = [b + width * (i - (len(rows) - 1) / 2) for b in range(len(RANK_EDGES))]
        axes.bar(places, row["rank_histogram"], width, label=_label(result, row))
    labels = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in itertools.pairwise(RANK_EDGES)]
    axes.set_xticks(range(len(RANK_EDGES)), [*labels, f"{RANK_EDGES[-1]}+"])
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return made


def damage(rows: Sequence[dict[str, Any]], key: str, label: str) -> Figure:
    """Curves: a `key` of the grid over the evicted share, a panel per context, a line per cache width."""
    contexts = sorted({row["context"] for row in rows})
    widths = sorted({row["cache_bits"] for row in rows}, reverse=True)
    made, panels = grid(len(contexts), 10)
    top = 1.1 * max(row[key] for row in rows)
    bottom = min(0.0, *(row[key] for row in rows)) - 0.02 * top
    for axes, context in zip(panels, contexts, strict=True):
        for bits in widths:
            points = [r for r in rows if r["context"] == context and r["cache_bits"] == bits]
            axes.plot([r["evicted_share"] for r in points], [r[key] for r in points], marker=".", label=f"{bits} bits")
        axes.set_title(f"behind {context} tokens", fontsize=9)
        axes.set_xlabel("share of the context evicted", fontsize=8)
        axes.set_ylabel(label, fontsize=8)
        axes.tick_params(labelsize=7)
        if top > bottom:
            axes.set_ylim(bottom, top)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, title="cache", title_fontsize=7)
    return made


def months(result: dict[str, Any]) -> Figure:
    """A curve: the rate of each month, and the cutoff."""
    rates = result["rate_percent_by_month"]
    made, axes = figure("Compression rate month by month", "month", "compressed / original [%]", 9.0)
    names = list(rates)
    axes.plot(range(len(names)), list(rates.values()), marker="o")
    axes.axvline(sum(name <= result["cutoff"] for name in names) - 0.5, color="C3", linestyle="--", label="cutoff")
    step = max(1, len(names) // 12)
    axes.set_xticks(range(0, len(names), step), names[::step], rotation=30)
    axes.legend()
    return made


def correlation(
    x: Sequence[float], y: Sequence[float], labels: Sequence[str], names: tuple[str, str], fit: Fit
) -> Figure:
    """Points and their line."""
    made, axes = figure(f"Pearson ρ = {fit.pearson:.3f}, RMSE = {fit.rmse:.3g}", *names)
    axes.scatter(x, y)
    for a, b, label in zip(x, y, labels, strict=True):
        axes.annotate(label, (a, b), fontsize=7, xytext=(4, 3), textcoords="offset points")
    ends = [min(x), max(x)]
    axes.plot(ends, [fit.intercept + fit.slope * end for end in ends], color="C1")
    return made
