"""The sub-commands of `llmzip eval` that measure models; each prints its result as JSON."""

from __future__ import annotations

import csv
import functools
import json
import re
from pathlib import Path
from typing import Any

import click

from llmzip.cli.measure_options import FILE, OUTPUT, Work, draw, emit, measuring
from llmzip.cli.measure_pairs import align, conditional, information, knn
from llmzip.cli.names import NAME, Place
from llmzip.cli.numbers import WholeNumber
from llmzip.errors import LLMZipError
from llmzip.metrics.correlation import linear_fit


@click.command()
@click.option(
    "--to", type=NAME, required=True, help="The quantised, pruned or distilled model; both with one vocabulary."
)
@click.option("-d", "--data", type=NAME, multiple=True, default=("python-topics:32768",), show_default=True)
@click.option("--context", type=WholeNumber(2), default=1024, help="Tokens per segment.")
@measuring
def compare(work: Work, to: str, data: tuple[str, ...], context: int) -> None:
    """Compare two models per text: bits/byte, KL, JS, flips."""
    from llmzip.evaluation.compare import compare_texts

    texts = work.texts(*data)
    original, changed = work.scorer(), work.scorer(to)
    found = compare_texts(original, changed, texts, context=context, partial=work.partial, begin=work.meter.begin)
    cards = {
        "original": original.card.name,
        "original_digest": original.card.digest,
        "changed": changed.card.name,
        "changed_digest": changed.card.digest,
    }
    work.finish({**cards, **found})


@click.command()
@click.argument("table", type=FILE)
@click.option("--x", required=True, help="Column, such as bits_per_char.")
@click.option("--y", required=True, help="Column, such as a benchmark's average.")
@click.option("--label", help="Column with the models' names.")
@OUTPUT
def correlate(table: Path, x: str, y: str, label: str | None, output: Path | None) -> None:
    """Correlate two columns of a CSV file with a header: Pearson's rho, the line, its RMSE."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (ValueError, csv.Error) as error:
        raise LLMZipError(f"{table}: no CSV file in UTF-8: {error}") from error
    missing = [column for column in (x, y, *([label] if label else [])) if not rows or column not in rows[0]]
    if missing:
        raise LLMZipError(f"{table}: no column {missing[0]!r}; there are {', '.join(rows[0]) if rows else 'no rows'}")
    try:
        points = [(float(row[x] or ""), float(row[y] or "")) for row in rows]
        fit = linear_fit(*zip(*points, strict=True))
    except ValueError as error:
        raise LLMZipError(f"{table}: {error}") from error
    a, b = zip(*points, strict=True)
    emit(
        {"n": len(points), "pearson": fit.pearson, "slope": fit.slope, "intercept": fit.intercept, "rmse": fit.rmse},
        output,
    )

    def picture() -> Any:
        from llmzip.evaluation.plots import correlation

        return correlation(a, b, [row[label] if label else "" for row in rows], (x, y), fit)

    draw(output, "", picture)


@click.command()
@click.option("-d", "--data", type=NAME, default="python-topics:65536", show_default=True)
@click.option("--contexts", default="128,512,1024", show_default=True, help="Tokens, separated by commas.")
@click.option("--shares", default="0,0.25,0.5,0.75,0.9", show_default=True, help="Evicted shares.")
@click.option("--bits", default="8,4,3,2", show_default=True, help="Cache bits.")
@click.option("--samples", type=WholeNumber(1), default=8, show_default=True)
@measuring
def damage(work: Work, data: str, contexts: str, shares: str, bits: str, samples: int) -> None:
    """Measure key/value cache damage: bits/byte by context, evicted share and cache bits."""
    from llmzip.evaluation.cache_damage import measure_damage

    try:
        lengths, widths = [int(c) for c in contexts.split(",")], [int(b) for b in bits.split(",")]
        parts = [float(s) for s in shares.split(",")]
    except ValueError as error:
        raise click.UsageError(f"lists are numbers separated by commas: {error}") from error
    if not all(0 <= share <= 1 for share in parts) or min(widths) < 2:
        raise click.UsageError("shares are 0 to 1, bits 2 or more")
    text = work.texts(data)[0]
    scorer = work.scorer()
    rows = measure_damage(
        scorer,
        text.data,
        contexts=lengths,
        shares=parts,
        bits=widths,
        samples=samples,
        partial=work.partial,
        progress=work.meter.begin(f"{text.name}: cache damage"),
    )
    work.finish({"model": scorer.card.name, "digest": scorer.card.digest, "data": text.name, "cache_damage": rows})
    for suffix, key, label in (
        ("", "extra_bits_per_byte", "extra bits/byte"),
        ("-p99", "extra_bits_per_token_p99", "extra bits/token, 99th percentile"),
    ):
        draw(work.output, suffix, functools.partial(_damage_picture, rows, key, label))


def _damage_picture(rows: list[dict[str, Any]], key: str, label: str) -> Any:
    from llmzip.evaluation import plots

    return plots.damage(rows, key, label)


def _month(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value):
        raise click.BadParameter(f"{value!r} is not a month such as 2025-07.")
    return value


@click.command()
@click.option(
    "-d", "--data", type=NAME, default="rust-blog", show_default=True, help="Corpus or folder of dated texts."
)
@click.option(
    "--cutoff", required=True, metavar="YYYY-MM", callback=_month, help="Last month of the model's training data."
)
@click.option("--context", type=WholeNumber(2), default=2048, help="Tokens per segment.")
@click.option("--bytes", "most", type=WholeNumber(1), help="Bytes of each month, at most.")
@measuring
def months(work: Work, data: str, cutoff: str, context: int, most: int | None) -> None:
    """Measure month by month, and the gap at the model's cutoff."""
    from llmzip.evaluation.dated import by_month, measure_months

    slices = by_month(work.named(data))
    scorer = work.scorer()
    values = measure_months(
        scorer, slices, cutoff, context=context, most_bytes=most, partial=work.partial, begin=work.meter.begin
    )
    work.finish({"model": scorer.card.name, "digest": scorer.card.digest, "data": data, **values})

    def picture() -> Any:
        from llmzip.evaluation import plots

        return plots.months(values)

    draw(work.output, "", picture)


@click.command()
@click.argument("result", type=FILE)
@click.option("--output", type=Place(dir_okay=False), help="Default: beside the JSON.")
@click.option("--pictures", type=Place(file_okay=False), help="Folder for the pictures as SVG, too.")
def report(result: Path, output: Path | None, pictures: Path | None) -> None:
    """Make the HTML report of a result JSON."""
    from llmzip.evaluation import report as reports
    from llmzip.evaluation.plots import svg
    from llmzip.evaluation.run import FORMAT

    try:
        values = json.loads(result.read_text("utf-8"))
        version = values["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise LLMZipError(f"{result}: no result of `llmzip eval --output`") from error
    if version != FORMAT:
        raise LLMZipError(f"{result}: a result of format {version}; this version of llmzip reads format {FORMAT}")
    target = output or result.with_suffix(".html")
    target.write_text(reports.report(values), "utf-8")
    click.echo(target)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        for name, (figure, _) in reports.pictures(values).items():
            path = pictures / f"{name}.svg"
            path.write_text(svg(figure), "utf-8")
            click.echo(path)


SUBCOMMANDS = (compare, conditional, knn, align, information, correlate, damage, months, report)
