"""Intrinsic dimensions for people: a table, and pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmzip.evaluation.plots import grid
from llmzip.evaluation.tables import Column, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from llmzip.evaluation.dimension import (
        Dimensions,
        Estimate,
        LayerCorrelation,
        LayerDimension,
        TextDimension,
    )

ESTIMATOR_NAMES = {"twonn": "TwoNN", "mle": "maximum likelihood"}
"""The estimators, as `LayerDimension` and as people call them."""

_LINES = 14  # of a panel


def markdown(found: Dimensions) -> str:
    """A row for each text; then the dimensions of each after every layer; then, where there are
    enough texts, the correlations.
    """
    names = [("", lambda text: text.text)]
    summary: tuple[Column[TextDimension], ...] = (
        Column("bits/byte", lambda text: text.bits_per_byte),
        Column("bits/token", lambda text: text.bits_per_token, 3),
        Column("sequences", lambda text: text.sequences),
        Column("tokens each", lambda text: text.sequence_tokens),
        *(column for key in ESTIMATOR_NAMES for column in _greatest(key)),
    )
    lines = ["### Texts", "", *table(found.texts, names, summary).markdown()]
    for text in found.texts:
        lines += ["", f"### {text.text}, layer by layer", "", *_of_layers(text)]
    if found.correlations:
        lines += ["", f"### Correlation with surprisal over {len(found.texts)} texts", ""]
        lines += _of_correlations(found.correlations)
    return "\n".join(lines) + "\n"


def _greatest(key: str) -> tuple[Column[TextDimension], Column[TextDimension]]:
    """By one estimator: the greatest dimension, and after which layer."""

    def place(text: TextDimension) -> tuple[float, int]:
        return max((_estimate(layer, key).dimension, layer.layer) for layer in text.layers)

    name = f"{ESTIMATOR_NAMES[key]}, greatest"
    return Column(name, lambda text: place(text)[0], 2), Column("layer", lambda t: place(t)[1])


def _estimate(layer: LayerDimension, key: str) -> Estimate:
    found: Estimate = getattr(layer, key)
    return found


def _of_layers(text: TextDimension) -> list[str]:
    points: Column[LayerDimension] = Column("different points", lambda layer: layer.points)
    names = [("layer", lambda layer: str(layer.layer))]
    return table(text.layers, names, (points, *map(_by_estimator, ESTIMATOR_NAMES))).markdown()


def _by_estimator(key: str) -> Column[LayerDimension]:
    return Column(
        ESTIMATOR_NAMES[key],
        lambda layer: _estimate(layer, key).dimension,
        2,
        lambda layer: _estimate(layer, key).spread,
    )


def _of_correlations(correlations: list[LayerCorrelation]) -> list[str]:
    columns: tuple[Column[LayerCorrelation], ...] = (
        Column("Pearson", lambda found: found.pearson, 3),
        Column("Spearman", lambda found: found.spearman, 3),
    )
    names = [
        ("estimator", lambda found: ESTIMATOR_NAMES[found.estimator]),
        ("layer", lambda found: str(found.layer)),
    ]
    return table(correlations, names, columns).markdown()


def by_layer(found: Dimensions) -> Figure:
    """Curves: the dimension after each layer, a panel per estimator, a curve per text."""
    made, panels = grid(len(ESTIMATOR_NAMES), _LINES)
    for axes, (key, name) in zip(panels, ESTIMATOR_NAMES.items(), strict=True):
        for text in found.texts:
            estimates = [_estimate(layer, key) for layer in text.layers]
            axes.errorbar(
                [layer.layer for layer in text.layers],
                [estimate.dimension for estimate in estimates],
                [estimate.spread for estimate in estimates],
                marker=".",
                capsize=2,
                label=f"{text.text} ({text.bits_per_byte:.2f} bits/byte)",
            )
        _label(axes, name, "intrinsic dimension ± spread")
        axes.set_ylim(bottom=0)
    panels[-1].legend(fontsize=7)
    return made


def correlations_by_layer(found: Dimensions) -> Figure:
    """Curves: how dimension and surprisal go together over the texts, after each layer."""
    made, panels = grid(len(ESTIMATOR_NAMES), _LINES)
    for axes, (key, name) in zip(panels, ESTIMATOR_NAMES.items(), strict=True):
        here = [c for c in found.correlations if c.estimator == key]
        for kind in ("pearson", "spearman"):
            known = [(c.layer, getattr(c, kind)) for c in here if c.pearson is not None]
            if known:
                axes.plot(*zip(*known, strict=True), marker=".", label=kind.capitalize())
        _label(axes, name, f"correlation with surprisal, {len(found.texts)} texts")
        axes.set_ylim(-1.05, 1.05)
    panels[-1].legend(fontsize=7)
    return made


def _label(axes: Axes, title: str, y: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("after layer", fontsize=8)
    axes.set_ylabel(y, fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
