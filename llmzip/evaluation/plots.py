"""Pictures of results, as matplotlib figures and SVG text; they need the extra `eval`."""

from __future__ import annotations

import dataclasses
import io
import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmzip.evaluation.dated import Months
from llmzip.evaluation.findings import BITS_PER_BYTE
from llmzip.evaluation.rows import Damage, Result, Row
from llmzip.extras import needing
from llmzip.metrics.correlation import Fit
from llmzip.metrics.ranks import RANK_EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def _canvas(width: float, height: float) -> Figure:
    with needing("eval", "drawing pictures"):
        from matplotlib.figure import Figure
    return Figure(figsize=(width, height), layout="constrained")


def grid(panels: int, lines: int) -> tuple[Figure, list[Axes]]:
    """A picture of so many panels, two beside each other, high enough for so many text lines."""
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


def bits_per_byte(result: Result) -> Figure:
    """Bars: every model and codec on every text, the best on top; a model's real file beside what
    it predicts.
    """
    groups = [(text, _bars(result.rows_of(text))) for text in result.texts]
    groups = [(text, bars) for text, bars in groups if bars]
    made, panels = grid(len(groups), max(len(bars) for _, bars in groups))
    for axes, (text, bars) in zip(panels, groups, strict=True):
        colors = ["C0" if is_codec else "C3" for _, _, is_codec in bars]
        title = f"{text.name}, {text.bytes:,} bytes"
        draw_bits_per_byte(axes, title, [b[1] for b in bars], [b[0] for b in bars], colors, 3)
    return made


def draw_bits_per_byte(
    axes: Axes,
    title: str,
    names: Sequence[str],
    bits: Sequence[float],
    colors: Sequence[str],
    decimals: int,
) -> None:
    """Fill a panel with labeled bars, the first on top."""
    bars = axes.barh(names, bits, color=colors)
    axes.bar_label(bars, [f"{b:.{decimals}f}" for b in bits], fontsize=7, padding=2)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("bits/byte (lower is better)", fontsize=8)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.03 * (decimals + 2))  # room for the labels
    axes.invert_yaxis()


def _bars(rows: Sequence[Row]) -> list[tuple[float, str, bool]]:
    """Bits/byte, label, whether it is a codec's; sorted."""
    found = [
        (r.bits_per_byte, r.name, r.kind == "codec") for r in rows if r.bits_per_byte is not None
    ]
    found += [
        (row.file.file_bits_per_byte, f"{row.name}: file, level {row.file.level}", False)
        for row in rows
        if row.file
    ]
    return sorted(found)


def _label(result: Result, row: Row) -> str:
    """The text, and the model where there are several."""
    return row.text if len(result.models) == 1 else f"{row.text}, {row.name}"


def by_context(result: Result) -> Figure:
    """Curves: the same tokens with ever longer contexts."""
    title = "The same tokens with longer contexts"
    made, axes = figure(title, "tokens of context", "bits/byte (lower is better)", 8.0)
    for row in result.rows:
        if row.context:
            _curve(
                axes,
                row.context.contexts,
                row.context.bits_per_byte_by_context,
                _label(result, row),
            )
    _doublings(axes)
    return made


def by_position(result: Result) -> Figure:
    """Curves: bits/byte by the position in a segment."""
    x = "position in tokens, upper end of the bin"
    made, axes = figure("By position in the segment", x, "bits/byte (lower is better)", 8.0)
    for row in result.rows:
        if row.code_length:
            rates = row.code_length.bits_per_byte_by_position
            _curve(axes, row.code_length.position_edges[1:], rates, _label(result, row))
    _doublings(axes)
    return made


def _curve(axes: Axes, x: Sequence[int], rates: Sequence[float | None], label: str) -> None:
    """Rates that are known, unless all are beyond 8 bits/byte: on noise a curve says nothing and
    hides the others.
    """
    known = [(at, rate) for at, rate in zip(x, rates, strict=True) if rate is not None]
    if min(rate for _, rate in known) < BITS_PER_BYTE:
        axes.plot(*zip(*known, strict=True), marker="o", label=label)


def _doublings(axes: Axes) -> None:
    """Tokens in doublings with plain numbers, rates from 0, and the legend beside the curves."""
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:.0f}")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def rank_histogram(result: Result) -> Figure:
    """Bars: how often a token was the model's first, second ... choice."""
    title = "Ranks of the tokens in the predictions"
    made, axes = figure(title, "rank (0: the first choice)", "share of tokens", 9.0)
    measured = [
        (_label(result, r), r.code_length.rank_histogram) for r in result.rows if r.code_length
    ]
    width = 0.8 / max(1, len(measured))
    for i, (label, histogram) in enumerate(measured):
        centers = [b + width * (i - (len(measured) - 1) / 2) for b in range(len(RANK_EDGES))]
        axes.bar(centers, histogram, width, label=label)
    labels = [f"{a}" if b == a + 1 else f"{a}-{b - 1}" for a, b in itertools.pairwise(RANK_EDGES)]
    axes.set_xticks(range(len(RANK_EDGES)), [*labels, f"{RANK_EDGES[-1]}+"])
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return made


@dataclasses.dataclass(frozen=True)
class DamageCurve:
    """One of the pictures of a cache damage grid."""

    suffix: str
    """What its file name has before the extension, beside the name of the others."""
    label: str
    caption: str
    value: Callable[[Damage], float]


DAMAGE_CURVES = (
    DamageCurve(
        "",
        "extra bits/byte",
        "On the mean, against the whole cache.",
        lambda point: point.extra_bits_per_byte,
    ),
    DamageCurve(
        "-p99",
        "extra bits/token, 99th percentile",
        "The worst hundredth of the tokens: what means hide.",
        lambda point: point.extra_bits_per_token_p99,
    ),
)


def damage(points: Sequence[Damage], curve: DamageCurve) -> Figure:
    """Curves over the evicted fraction, a panel per context, a line per cache width."""
    contexts = sorted({point.context for point in points})
    widths = sorted({point.cache_bits for point in points}, reverse=True)
    made, panels = grid(len(contexts), 10)
    top = 1.1 * max(map(curve.value, points))
    bottom = min(0.0, *map(curve.value, points)) - 0.02 * top
    for axes, context in zip(panels, contexts, strict=True):
        for bits in widths:
            here = [p for p in points if p.context == context and p.cache_bits == bits]
            x, y = [p.evicted_fraction for p in here], [curve.value(p) for p in here]
            axes.plot(x, y, marker=".", label=f"{bits} bits")
        axes.set_title(f"behind {context} tokens", fontsize=9)
        axes.set_xlabel("fraction of the context evicted", fontsize=8)
        axes.set_ylabel(curve.label, fontsize=8)
        axes.tick_params(labelsize=7)
        if top > bottom:
            axes.set_ylim(bottom, top)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, title="cache", title_fontsize=7)
    return made


def months(result: Months) -> Figure:
    """A curve: the rate of each month, and the cutoff."""
    rates = result.rate_percent_by_month
    made, axes = figure(
        "Compression rate month by month", "month", "compressed / original [%]", 9.0
    )
    names = list(rates)
    axes.plot(range(len(names)), list(rates.values()), marker="o")
    axes.axvline(
        sum(name <= result.cutoff for name in names) - 0.5,
        color="C3",
        linestyle="--",
        label="cutoff",
    )
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
