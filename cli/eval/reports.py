"""The sub-commands of `llmzip eval` that work on existing tables and results: correlate, report."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmzip.cli.eval.measurement import FILE, OUTPUT, draw, emit
from llmzip.cli.names import FilePath
from llmzip.errors import LLMZipError
from llmzip.evaluation.json_values import to_json
from llmzip.metrics.correlation import linear_fit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
            reader = csv.DictReader(file)
            rows, names = list(reader), list(reader.fieldnames or ())
    except (ValueError, csv.Error) as error:
        raise LLMZipError(f"{table}: no CSV file in UTF-8: {error}") from error
    for column in (x, y, *([label] if label else [])):
        if names.count(column) != 1:
            how_many = f"{names.count(column)} columns" if column in names else "no column"
            raise LLMZipError(
                f"{table}: {how_many} {column!r}; there are {', '.join(names) or 'none'}"
            )
    if not rows:
        raise LLMZipError(f"{table}: no rows below the header")
    points = [
        (_number(row[x], table, number, x), _number(row[y], table, number, y))
        for number, row in enumerate(rows, 1)
    ]
    try:
        fit = linear_fit(*zip(*points, strict=True))
    except ValueError as error:
        raise LLMZipError(f"{table}: {error}") from error
    a, b = zip(*points, strict=True)
    emit({"n": len(points), **to_json(fit)}, output)

    def picture() -> Figure:
        from llmzip.evaluation.plots import correlation

        return correlation(a, b, [row[label] if label else "" for row in rows], (x, y), fit)

    draw(output, "", picture)


def _number(value: str | None, table: Path, row: int, column: str) -> float:
    try:
        return float(value or "")
    except ValueError as error:
        raise LLMZipError(
            f"{table}: row {row}: {column!r} is no number: {value or ''!r}"
        ) from error


@click.command()
@click.argument("result", type=FILE)
@click.option("--output", type=FilePath(dir_okay=False), help="Default: beside the JSON.")
@click.option(
    "--pictures", type=FilePath(file_okay=False), help="Folder for the pictures as SVG, too."
)
def report(result: Path, output: Path | None, pictures: Path | None) -> None:
    """Make the HTML report of a result JSON."""
    from llmzip.evaluation import report as reports
    from llmzip.evaluation import run
    from llmzip.evaluation.plots import svg

    measured = run.read(result)
    target = output or result.with_suffix(".html")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(reports.report(measured), "utf-8")
    click.echo(target)
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
        for name, (figure, _) in reports.pictures(measured).items():
            path = pictures / f"{name}.svg"
            path.write_text(svg(figure), "utf-8")
            click.echo(path)
