"""One HTML file per run that a person can read: tables, pictures and the numbers behind them, nothing to load."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llmzip.evaluation import plots
from llmzip.evaluation.findings import findings
from llmzip.evaluation.run import rows_of
from llmzip.evaluation.tables import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
.findings { background: #eef4ea; padding: .6rem 1rem .6rem 2rem } .facts { color: #555; font-size: 13px }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; font-size: 13px }
th, td { border: 1px solid #ccc; padding: .15rem .5rem; text-align: right; vertical-align: bottom }
td { white-space: nowrap } th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto } figure { margin: 1.5rem 0 } figcaption { color: #555; max-width: 50rem }
pre { background: #f6f6f6; padding: 1rem; overflow: auto; max-height: 30rem } .warning { background: #fff3c4; padding: .5rem }
"""

_BESIDE = (
    ("bits_per_byte_stderr", "± stderr of bits/byte", 4),
    ("bits_per_char_low", "bits/char, 95 % from", 4),
    ("bits_per_char_high", "to", 4),
    ("coder_ranks", "ranks + zlib, bits/char", 4),
    ("coder_whole", "whole bits, bits/char", 4),
    ("coder_arithmetic", "arithmetic, bits/char", 4),
    ("smoothed_bits_per_byte", "α-smoothed bits/byte", 4),
    ("bits_per_token_p99", "bits/token, 99th percentile", 1),
    ("hint_min_k_20", "hint: Min-20 % bits/token", 2),
    ("hint_model_to_zlib", "hint: bits / zlib's bits", 3),
)
_FILE = (
    ("level", "level", 0),
    ("file_bytes", "bytes", 0),
    ("file_bits_per_byte", "bits/byte", 4),
    ("file_model_bits_per_byte", "of the model", 4),
    ("overhead_header_bits", "header bits", 0),
    ("overhead_table_bits", "table bits", 1),
    ("mixing_bits", "mixing's bits", 0),
    ("overhead_tail_bits", "tail bits", 1),
    ("match_bits", "matches' bits", 0),
    ("other_codec_bits", "other codecs' bits", 0),
)
_CAPACITY = (
    ("samples", "samples", 0),
    ("ts", "TS [bits/token]", 2),
    ("nll", "NLL [bits/token]", 3),
    ("b", "b", 1),
    ("information_capacity", "IC", 4),
    ("information_capacity_b0", "IC (b=0)", 4),
    ("information_capacity_exact", "IC, exact FLOPs", 4),
    ("information_capacity_exact_b0", "IC (b=0), exact", 4),
    ("flops_per_token_paper", "FLOPs/token, paper", 0),
    ("flops_per_token_exact", "FLOPs/token, exact", 0),
)
_COST = (
    ("raw_rate", "raw rate", 4),
    ("adjusted_rate", "adjusted (2 bytes/parameter)", 2),
    ("adjusted_rate_stored", "adjusted (as stored)", 2),
    ("break_even_bytes_xz", "break-even against xz [bytes]", 0),
    ("flops_per_byte", "FLOPs/byte", 0),
)


_PICTURES = (
    (plots.bits_per_byte, "bits_per_byte", "Every model and codec on the same bytes; the model's size is not counted."),
    (
        plots.by_context,
        "bits_per_byte_by_context",
        "The same stretches of 64 tokens each time: are longer contexts easier? Noise is left out.",
    ),
    (plots.by_position, "bits_per_byte_by_position", "Where in its segment a token stands. Noise is left out."),
    (
        plots.rank_histogram,
        "rank_histogram",
        "How often the model's first choice was right, and how wrong it was else.",
    ),
)


def report(result: dict[str, Any], title: str = "llmzip evaluation") -> str:
    """The page for a result of `evaluate`."""
    flat = [_flat(row) for row in result["rows"]]
    parts = [f"<h1>{html.escape(title)}</h1>"]
    if result["testing_only"]:
        parts.append('<p class="warning">Testing only: the texts were cut by --limit.</p>')
    parts += [_list(findings(result), "findings"), _list(_facts(result), "facts")]
    drawn = pictures(result)
    parts += [_figure(figure, caption) for name, (figure, caption) in drawn.items() if not name.startswith(_DAMAGE)]
    parts += ["<h2>All measures, text by text</h2>", _markdown_html(markdown(result))]
    for heading, columns in (
        ("The real file, and where its bits come from", _FILE),
        ("Information capacity", _CAPACITY),
        ("Entropy bound, three coders, hints", _BESIDE),
        ("What the model's size costs", _COST),
    ):
        parts.append(_section(heading, flat, columns))
    for model in dict.fromkeys(point["model"] for point in result["cache_damage"]):
        parts.append(f"<h2>Key/value cache damage: {html.escape(model)}</h2>")
        parts += [_figure(*drawn[name]) for name in _damage_names(model)]
        points = [point for point in result["cache_damage"] if point["model"] == model]
        named = [(key, key.replace("_", " "), 4) for key in points[0] if key != "model"]
        parts.append(f"<details><summary>All points</summary>{_table(points, named)}</details>")
    numbers = html.escape(json.dumps(result, indent=1))
    parts.append(f"<details><summary>All numbers (JSON)</summary><pre>{numbers}</pre></details>")
    body = "\n".join(parts)
    head = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def pictures(result: dict[str, Any]) -> dict[str, tuple[Figure, str]]:
    """Name -> picture and caption: all that the result has numbers for."""
    drawn = {draw.__name__: (draw(result), caption) for draw, key, caption in _PICTURES if any(rows_of(result, key))}
    for model in dict.fromkeys(point["model"] for point in result["cache_damage"]):
        points = [point for point in result["cache_damage"] if point["model"] == model]
        mean = plots.damage(points, "extra_bits_per_byte", "extra bits/byte")
        worst = plots.damage(points, "extra_bits_per_token_p99", "extra bits/token, 99th percentile")
        captions = "On the mean, against the whole cache.", "The worst hundredth of the tokens: what means hide."
        drawn |= dict(zip(_damage_names(model), zip((mean, worst), captions, strict=True), strict=True))
    return drawn


_DAMAGE = "damage-"


def _damage_names(model: str) -> tuple[str, str]:
    name = _DAMAGE + re.sub(r"[^\w.-]+", "-", model)
    return name, f"{name}-p99"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    coders = row.get("coders_bits_per_char", {})
    names = {"coder_ranks": "ranks_deflate", "coder_whole": "whole_bits", "coder_arithmetic": "arithmetic"}
    return {**row, **{key: coders.get(name) for key, name in names.items()}}


def _facts(result: dict[str, Any]) -> list[str]:
    """Where the numbers come from."""
    machine = result["environment"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items() if version)
    lines = [
        f"{result['date']}, commit {machine['git'] or 'unknown'}",
        f"{machine['processor']}, {machine['cores']} cores; Python {machine['python']}; {versions}",
    ]
    for card in result["models"]:
        lines.append(
            f"{card['name']} ({card['kind']}, {card['digest'][:16]}): {card['parameters']:,} parameters, "
            f"{card['model_bytes']:,} bytes"
        )
    return lines


def _list(lines: Sequence[str], name: str) -> str:
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f'<ul class="{name}">{items}</ul>' if lines else ""


def _section(heading: str, rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, int]]) -> str:
    known = [row for row in rows if row["kind"] != "codec" and any(row.get(key) is not None for key, _, _ in columns)]
    named = [("name", "", 0), ("text", "text", 0), *columns]
    return f"<h2>{html.escape(heading)}</h2>{_table(known, named)}" if known else ""


def _table(rows: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str, int]]) -> str:
    def cell(value: Any, digits: int) -> str:
        if value is None:
            return "<td></td>"
        return f"<td>{html.escape(value) if isinstance(value, str) else f'{value:,.{digits}f}'}</td>"

    head = "".join(f"<th>{html.escape(title)}</th>" for _, title, _ in columns)
    body = "".join(
        "<tr>"
        + "".join(cell(row.get(key), 0 if isinstance(row.get(key), int) else digits) for key, _, digits in columns)
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _figure(picture: Figure, caption: str) -> str:
    return f"<figure>{plots.svg(picture)}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _markdown_html(text: str) -> str:
    """The few constructs that `tables.markdown` writes."""
    out: list[str] = []
    in_table = False
    for line in text.splitlines():
        bold = html.escape(line).split("**")
        line = "".join(f"<b>{part}</b>" if i % 2 else part for i, part in enumerate(bold))
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if set(line) <= set("| -:"):
                continue
            tag = "td" if in_table else "th"
            out.append(
                ("" if in_table else "<table>") + "<tr>" + "".join(f"<{tag}>{c}</{tag}>" for c in cells) + "</tr>"
            )
            in_table = True
            continue
        if in_table:
            out.append("</table>")
            in_table = False
        if line.startswith("### "):
            out.append(f"<h3>{line[4:]}</h3>")
        elif line.startswith("- "):
            out.append(f"<p>{line[2:]}</p>")
        elif line:
            out.append(f"<p>{line}</p>")
    return "\n".join([*out, "</table>"] if in_table else out)
