"""Pictures of results, as matplotlib figures and SVG text; they need the extra `eval`."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmzip.errors import LLMZipError
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
    """An empty picture with labelled axes. Raises LLMZipError where matplotlib is missing."""
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

    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "llmzip", "svg.fonttype": "none"}):
        picture.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def bits_per_byte(result: dict[str, Any]) -> Figure:
    """Bars: every model and codec on every text."""
    texts = [text["name"] for text in result["texts"]]
    names = list(dict.fromkeys(row["name"] for row in rows_of(result, "bits_per_byte")))
    made, axes = figure("Bits per byte: lower is better", "", "bits/byte", max(7.0, 1.6 * len(texts)))
    width = 0.8 / max(1, len(names))
    for i, name in enumerate(names):
        values = {row["text"]: row["bits_per_byte"] for row in rows_of(result, "bits_per_byte") if row["name"] == name}
        places = [t + width * (i - (len(names) - 1) / 2) for t, text in enumerate(texts) if text in values]
        axes.bar(places, [values[text] for text in texts if text in values], width, label=name)
    axes.set_xticks(range(len(texts)), texts, rotation=15 if len(texts) > 3 else 0)
    axes.legend(fontsize=8)
    return made


def by_context(result: dict[str, Any]) -> Figure:
    """Curves: the same tokens with ever longer contexts."""
    made, axes = figure("The same tokens with longer contexts", "tokens of context", "bits/byte")
    for row in rows_of(result, "bits_per_byte_by_context"):
        axes.plot(row["contexts"], row["bits_per_byte_by_context"], marker="o", label=f"{row['name']}, {row['text']}")
    axes.set_xscale("log", base=2)
    axes.legend(fontsize=8)
    return made


def by_position(result: dict[str, Any]) -> Figure:
    """Curves: bits/byte by the position in a segment."""
    made, axes = figure("By position in the segment", "position (upper end of the bin)", "bits/byte")
    for row in rows_of(result, "bits_per_byte_by_position"):
        pairs = zip(row["position_edges"][1:], row["bits_per_byte_by_position"], strict=True)
        known = [(edge, rate) for edge, rate in pairs if rate is not None]
        axes.plot(*zip(*known, strict=True), marker="o", label=f"{row['name']}, {row['text']}")
    axes.set_xscale("log", base=2)
    axes.legend(fontsize=8)
    return made


def rank_histogram(result: dict[str, Any]) -> Figure:
    """Bars: how often a token was the model's first, second ... choice."""
    made, axes = figure("Ranks of the tokens in the predictions", "rank", "share of tokens")
    rows = list(rows_of(result, "rank_histogram"))
    width = 0.8 / max(1, len(rows))
    for i, row in enumerate(rows):
        places = [b + width * i for b in range(len(RANK_EDGES))]
        axes.bar(places, row["rank_histogram"], width, label=f"{row['name']}, {row['text']}")
    labels = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in itertools.pairwise(RANK_EDGES)]
    axes.set_xticks(range(len(RANK_EDGES)), [*labels, f"{RANK_EDGES[-1]}+"])
    axes.legend(fontsize=8)
    return made


def damage(rows: Sequence[dict[str, Any]], key: str, label: str) -> Figure:
    """Curves: a `key` of the grid over the evicted share, a line per cache width and context."""
    made, axes = figure("Damage to the key/value cache", "share of the context evicted", label)
    styles = ("-", "--", ":", "-.")
    contexts = sorted({row["context"] for row in rows})
    widths = sorted({row["cache_bits"] for row in rows}, reverse=True)
    for i, context in enumerate(contexts):
        for j, bits in enumerate(widths):
            points = [r for r in rows if r["context"] == context and r["cache_bits"] == bits]
            x, y = [r["evicted_share"] for r in points], [r[key] for r in points]
            axes.plot(x, y, styles[i % 4], color=f"C{j}", marker=".", label=f"{context} tokens, {bits} bits")
    axes.set_yscale("symlog", linthresh=0.1)
    axes.legend(fontsize=7, ncols=2)
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
