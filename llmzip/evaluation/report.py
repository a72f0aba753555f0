"""One HTML file per run that a person can read: tables, pictures and the numbers behind them,
nothing to load.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llmzip.evaluation import plots
from llmzip.evaluation.findings import findings
from llmzip.evaluation.json_values import to_json
from llmzip.evaluation.rows import ModelDamage, Result, Row
from llmzip.evaluation.tables import SECTIONS, Column, notes, section, table, text_tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body {
  font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem;
  color: #222;
}
.findings { background: #eef4ea; padding: .6rem 1rem .6rem 2rem }
.facts { color: #555; font-size: 13px }
table {
  border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; font-size: 13px;
}
th, td { border: 1px solid #ccc; padding: .15rem .5rem; text-align: right; vertical-align: bottom }
td { white-space: nowrap } th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto } figure { margin: 1.5rem 0 }
figcaption { color: #555; max-width: 50rem }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; max-height: 30rem }
.warning { background: #fff3c4; padding: .5rem }
"""

_PICTURES: tuple[tuple[Callable[[Result], Figure], Callable[[Row], bool], str], ...] = (
    (
        plots.bits_per_byte,
        lambda row: row.bits_per_byte is not None,
        "Every model and codec on the same bytes; the model's size is not counted.",
    ),
    (
        plots.by_context,
        lambda row: row.context is not None,
        "The same spans of 64 tokens each time: are longer contexts easier? Noise is left out.",
    ),
    (
        plots.by_position,
        lambda row: row.code_length is not None,
        "Where in its segment a token stands. Noise is left out.",
    ),
    (
        plots.rank_histogram,
        lambda row: row.code_length is not None,
        "How often the model's first choice was right, and how wrong it was otherwise.",
    ),
)
"""Picture, the rows that have numbers for it, and caption."""


def report(result: Result, title: str = "llmzip evaluation") -> str:
    """The page for a result of `evaluate`."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if result.testing_only:
        parts.append('<p class="warning">Testing only: the texts were cut by --limit.</p>')
    parts += [_list(findings(result), "findings"), _list(_facts(result), "facts")]
    drawn = pictures(result)
    parts += [_figure(*drawn[name]) for name in drawn if not name.startswith(_DAMAGE)]
    parts.append("<h2>All measures, text by text</h2>")
    for text in text_tables(result):
        parts += [f"<h3>{html.escape(text.heading)}</h3>", text.table.html()]
        parts += [_list(text.notes, "notes")]
    parts.append(_list(notes(result), "notes"))
    for heading, columns in SECTIONS:
        if found := section(result, columns):
            parts.append(f"<h2>{html.escape(heading)}</h2>{found.html()}")
    for model, points in _damage_by_model(result).items():
        parts.append(f"<h2>Key/value cache damage: {html.escape(model)}</h2>")
        parts += [_figure(*drawn[name]) for name in _damage_names(model)]
        details = table(points, (), _DAMAGE_COLUMNS).html()
        parts.append(f"<details><summary>All points</summary>{details}</details>")
    numbers = html.escape(json.dumps(to_json(result), indent=1))
    parts.append(f"<details><summary>All numbers (JSON)</summary><pre>{numbers}</pre></details>")
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def pictures(result: Result) -> dict[str, tuple[Figure, str]]:
    """Name -> picture and caption: all that the result has numbers for."""
    drawn = {
        draw.__name__: (draw(result), caption)
        for draw, is_there, caption in _PICTURES
        if any(map(is_there, result.rows))
    }
    for model, points in _damage_by_model(result).items():
        for name, curve in zip(_damage_names(model), plots.DAMAGE_CURVES, strict=True):
            drawn[name] = plots.damage(points, curve), curve.caption
    return drawn


_DAMAGE = "damage-"

_DAMAGE_COLUMNS: tuple[Column[ModelDamage], ...] = (
    Column("context", lambda point: point.context),
    Column("evicted fraction", lambda point: point.evicted_fraction),
    Column("cache bits", lambda point: point.cache_bits),
    Column("bits per byte", lambda point: point.bits_per_byte),
    Column("extra bits per byte", lambda point: point.extra_bits_per_byte),
    Column("extra bits per token p99", lambda point: point.extra_bits_per_token_p99),
)


def _damage_by_model(result: Result) -> dict[str, list[ModelDamage]]:
    models: dict[str, list[ModelDamage]] = {}
    for point in result.cache_damage:
        models.setdefault(point.model, []).append(point)
    return models


def _damage_names(model: str) -> list[str]:
    name = _DAMAGE + re.sub(r"[^\w.-]+", "-", model)
    return [name + curve.suffix for curve in plots.DAMAGE_CURVES]


def _facts(result: Result) -> list[str]:
    """Where the numbers come from."""
    machine = result.environment
    versions = ", ".join(
        f"{name} {version}" for name, version in machine.packages.items() if version
    )
    lines = [
        f"{result.date}, commit {machine.git or 'unknown'}",
        f"{machine.processor}, {machine.cores} cores; Python {machine.python}; {versions}",
    ]
    for card in result.models:
        lines.append(
            f"{card.name} ({card.kind}, {card.digest[:16]}): {card.parameters:,} parameters, "
            f"{card.model_bytes:,} bytes"
        )
    return lines


def _list(lines: Sequence[str], name: str) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<ul class="{name}">{items}</ul>' if lines else ""


def _figure(picture: Figure, caption: str) -> str:
    return f"<figure>{plots.svg(picture)}<figcaption>{html.escape(caption)}</figcaption></figure>"
