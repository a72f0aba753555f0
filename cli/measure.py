"""The sub-commands of `llmzip eval`: each one measurement, its result as JSON."""

from __future__ import annotations

import csv
import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import numpy as np

from llmzip.corpora import library
from llmzip.errors import LLMZipError
from llmzip.evaluation import pairs
from llmzip.evaluation.options import load_scorer, load_texts
from llmzip.metrics import conditional as conditionals
from llmzip.metrics.alignment import select
from llmzip.metrics.correlation import linear_fit
from llmzip.metrics.distances import nearest_neighbours
from llmzip.scoring.base import Scorer

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _options(*options: Decorator) -> Decorator:
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


_MODEL = _options(
    click.option("-m", "--model", help="Integer model, or float:NAME through transformers."),
    click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32"),
    click.option("--device", default="cpu"),
)
_CODEC = click.option("-c", "--codec", help="Measure with a codec NAME[:key=value,...] instead of a model.")
_OUTPUT = click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON there, pictures beside it."
)
_LIMIT = click.option("--limit", type=int, help="Only the first so many bytes of each text: testing only.")


def _scorer(model: str | None, dtype: str, device: str) -> Scorer:
    return load_scorer(model, dtype=dtype, device=device)


def _emit(values: Mapping[str, Any], output: Path | None) -> None:
    text = json.dumps(values, indent=2, allow_nan=False)
    if output:
        output.write_text(text + "\n", "utf-8")
    click.echo(text)


def _draw(output: Path | None, suffix: str, picture: Callable[[], Any]) -> None:
    """A picture beside the JSON."""
    if output:
        from llmzip.evaluation.plots import svg

        output.with_name(output.stem + suffix + ".svg").write_text(svg(picture()), "utf-8")


def _conditional(model: str | None, codec: str | None, dtype: str, device: str) -> pairs.Conditional:
    if codec:
        return pairs.conditional_by_codec(pairs.codec_length(codec))
    return pairs.ModelCodeLengths(_scorer(model, dtype, device))


@click.command()
@click.option("-m", "--model", help="The original; default: the default model.")
@click.option("--to", required=True, help="The quantised, pruned or distilled model; both with one vocabulary.")
@click.option("--dtype", type=click.Choice(["float32", "bfloat16", "float16"]), default="float32")
@click.option("--device", default="cpu")
@click.option("-d", "--data", multiple=True, default=("python-topics:32768",), show_default=True)
@click.option("--context", type=click.IntRange(2), default=1024, help="Tokens per segment.")
@_LIMIT
@_OUTPUT
def compare(
    model: str | None,
    to: str,
    dtype: str,
    device: str,
    data: tuple[str, ...],
    context: int,
    limit: int | None,
    output: Path | None,
) -> None:
    """Compare two models per text: bits/byte, KL, JS, flips."""
    from llmzip.evaluation.compare import compare as measure

    original, changed = _scorer(model, dtype, device), _scorer(to, dtype, device)
    domains = {text.name: measure(original, changed, text.data, context=context) for text in load_texts(data, limit)}
    cards = {"original": original.card.name, "changed": changed.card.name, "changed_digest": changed.card.digest}
    _emit({**cards, "testing_only": limit is not None, "texts": domains}, output)


@click.command()
@click.option("--text", required=True, type=_FILE, help="y: what is predicted.")
@click.option("--given", required=True, type=_FILE, help="z: a compressed prompt, a summary, a reconstruction.")
@click.option("--full", type=_FILE, help="The full prompt that z stands for: gives the retained information.")
@_MODEL
@_CODEC
@_OUTPUT
def conditional(
    text: Path,
    given: Path,
    full: Path | None,
    model: str | None,
    dtype: str,
    device: str,
    codec: str | None,
    output: Path | None,
) -> None:
    """Conditional code length C(y|z): how much of y does z tell?"""
    length = _conditional(model, codec, dtype, device)
    y, z = text.read_bytes(), given.read_bytes()
    alone, residual = length(y, b""), length(y, z)
    values = {
        "code_length_bits": alone,
        "conditional_code_length_bits": residual,
        "residual_bits_per_byte": residual / max(1, len(y)),
        "information_gain_bits_per_byte": conditionals.information_gain(alone, residual, max(1, len(y))),
    }
    if full:
        given_full = length(y, full.read_bytes())
        values["code_length_given_full_bits"] = given_full
        try:
            values["retained_information"] = conditionals.retained_information(alone, residual, given_full)
        except ValueError as error:
            raise LLMZipError(str(error)) from error
    _emit(values, output)


@click.command()
@click.option(
    "--train", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="FOLDER/LABEL/FILE."
)
@click.option(
    "--test", "tests", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The same."
)
@click.option("--distance", type=click.Choice(pairs.DISTANCES), default="gpt_mean", show_default=True)
@click.option("-k", type=click.IntRange(1), default=1, show_default=True)
@_MODEL
@_CODEC
@_OUTPUT
def knn(
    train: Path,
    tests: Path,
    distance: str,
    k: int,
    model: str | None,
    dtype: str,
    device: str,
    codec: str | None,
    output: Path | None,
) -> None:
    """Classify texts by their nearest neighbours under a compression distance."""
    known, unknown = _labelled(train), _labelled(tests)
    length = _conditional(model, codec, dtype, device)
    table = pairs.distance_table([d for _, d in unknown.values()], [d for _, d in known.values()], length, distance)
    labels = [label for label, _ in known.values()]
    guesses = nearest_neighbours(table, labels, k)
    right = [guess == label for guess, (label, _) in zip(guesses, unknown.values(), strict=True)]
    values = {
        "distance": distance,
        "k": k,
        "accuracy": float(np.mean(right)),
        "predictions": dict(zip(unknown, guesses, strict=True)),
        "training": list(known),
        "distances": table.tolist(),
    }
    _emit(values, output)


def _labelled(folder: Path) -> dict[str, tuple[str, bytes]]:
    """`label/file` -> label and bytes."""
    texts = {name: data for name, data in library.texts(str(folder)).items() if "/" in name and data}
    if not texts:
        raise LLMZipError(f"{folder}: no files in folders named by their label")
    return {name: (name.partition("/")[0], data) for name, data in texts.items()}


@click.command()
@click.option("--sources", required=True, help="Corpus or folder to select from.")
@click.option("--targets", required=True, help="Corpus or folder that the selection is to fit.")
@click.option("--top", type=click.IntRange(1), default=10, show_default=True)
@_MODEL
@click.option(
    "-c", "--codec", default="zlib:level=9", show_default=True, help="Codec; --model measures bits saved instead."
)
@_OUTPUT
def align(
    sources: str, targets: str, top: int, model: str | None, dtype: str, device: str, codec: str, output: Path | None
) -> None:
    """Select the source texts that fit the targets best (ZIP-FIT)."""
    texts, wanted = library.texts(sources), list(library.texts(targets).values())
    length = None if model else pairs.codec_length(codec)
    conditional = pairs.ModelCodeLengths(_scorer(model, dtype, device)) if model else None
    scores = pairs.fit_scores(list(texts.values()), wanted, length=length, conditional=conditional)
    names = list(texts)
    chosen = [{"name": names[i], "score": float(scores[i])} for i in select(scores, top)]
    _emit({"measure": "bits saved per byte" if model else f"1 - NCD by {codec}", "selected": chosen}, output)


@click.command()
@click.option("--inputs", required=True, help="Folder of x: what each output was made from.")
@click.option("--outputs", required=True, help="Folder of z, with the same file names.")
@_MODEL
@_CODEC
@_OUTPUT
def information(
    inputs: str, outputs: str, model: str | None, dtype: str, device: str, codec: str | None, output: Path | None
) -> None:
    """Estimate the mutual information between inputs and what was made of them."""
    x, z = library.texts(inputs), library.texts(outputs)
    names = [name for name in z if name in x]
    if len(names) < 2:
        raise LLMZipError(f"{inputs} and {outputs} share {len(names)} file names: two or more are needed")
    length = _conditional(model, codec, dtype, device)
    table = -np.array([[length(z[i], x[other]) for other in names] for i in names])
    bits = conditionals.mutual_information(table)
    size = float(np.mean([len(z[name]) for name in names]))
    _emit(
        {
            "pairs": len(names),
            "mutual_information_bits": bits,
            "at_most_bits": float(np.log2(len(names))),
            "mutual_information_rate_bits_per_byte": bits / size,
        },
        output,
    )


@click.command()
@click.argument("table", type=_FILE)
@click.option("--x", required=True, help="Column, such as bits_per_char.")
@click.option("--y", required=True, help="Column, such as a benchmark's average.")
@click.option("--label", help="Column with the models' names.")
@_OUTPUT
def correlate(table: Path, x: str, y: str, label: str | None, output: Path | None) -> None:
    """Correlate two columns of a CSV file with a header: Pearson's rho, the line, its RMSE."""
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    missing = [column for column in (x, y, *([label] if label else [])) if not rows or column not in rows[0]]
    if missing:
        raise LLMZipError(f"{table}: no column {missing[0]!r}; there are {', '.join(rows[0]) if rows else 'no rows'}")
    try:
        points = [(float(row[x]), float(row[y])) for row in rows]
        fit = linear_fit(*zip(*points, strict=True))
    except ValueError as error:
        raise LLMZipError(f"{table}: {error}") from error
    a, b = zip(*points, strict=True)
    _emit(
        {"n": len(points), "pearson": fit.pearson, "slope": fit.slope, "intercept": fit.intercept, "rmse": fit.rmse},
        output,
    )

    def picture() -> Any:
        from llmzip.evaluation.plots import correlation

        return correlation(a, b, [row[label] if label else "" for row in rows], (x, y), fit)

    _draw(output, "", picture)


@click.command()
@_MODEL
@click.option("-d", "--data", default="python-topics:65536", show_default=True)
@click.option("--contexts", default="128,512,1024", show_default=True, help="Tokens, separated by commas.")
@click.option("--shares", default="0,0.25,0.5,0.75,0.9", show_default=True, help="Evicted shares.")
@click.option("--bits", default="8,4,3,2", show_default=True, help="Cache bits.")
@click.option("--samples", type=click.IntRange(1), default=8, show_default=True)
@_OUTPUT
def damage(
    model: str | None,
    dtype: str,
    device: str,
    data: str,
    contexts: str,
    shares: str,
    bits: str,
    samples: int,
    output: Path | None,
) -> None:
    """Measure key/value cache damage: bits/byte by context, evicted share and cache bits."""
    from llmzip.evaluation.cache_damage import measure_damage

    try:
        lengths, widths = [int(c) for c in contexts.split(",")], [int(b) for b in bits.split(",")]
        parts = [float(s) for s in shares.split(",")]
    except ValueError as error:
        raise click.UsageError(f"lists are numbers separated by commas: {error}") from error
    if not all(0 <= share <= 1 for share in parts) or min(widths) < 2:
        raise click.UsageError("shares are 0 to 1, bits 2 or more")
    scorer = _scorer(model, dtype, device)
    rows = measure_damage(
        scorer, load_texts((data,))[0].data, contexts=lengths, shares=parts, bits=widths, samples=samples
    )
    _emit({"model": scorer.card.name, "data": data, "cache_damage": rows}, output)
    for suffix, key, label in (
        ("", "extra_bits_per_byte", "extra bits/byte"),
        ("-p99", "extra_bits_per_token_p99", "extra bits/token, 99th percentile"),
    ):
        _draw(output, suffix, functools.partial(_damage_picture, rows, key, label))


def _damage_picture(rows: list[dict[str, Any]], key: str, label: str) -> Any:
    from llmzip.evaluation import plots

    return plots.damage(rows, key, label)


@click.command()
@_MODEL
@click.option("-d", "--data", default="rust-blog", show_default=True, help="Corpus or folder of dated texts.")
@click.option("--cutoff", required=True, metavar="YYYY-MM", help="Last month of the model's training data.")
@click.option("--context", type=click.IntRange(2), default=2048, help="Tokens per segment.")
@click.option("--bytes", "most", type=int, help="Bytes of each month, at most.")
@_OUTPUT
def months(
    model: str | None,
    dtype: str,
    device: str,
    data: str,
    cutoff: str,
    context: int,
    most: int | None,
    output: Path | None,
) -> None:
    """Measure month by month, and the gap at the model's cutoff."""
    from llmzip.evaluation.dated import by_month, measure_months

    slices = by_month(library.texts(data))
    values = measure_months(_scorer(model, dtype, device), slices, cutoff, context=context, most_bytes=most)
    _emit(values, output)

    def picture() -> Any:
        from llmzip.evaluation import plots

        return plots.months(values)

    _draw(output, "", picture)


@click.command()
@click.argument("result", type=_FILE)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: beside the JSON.")
def report(result: Path, output: Path | None) -> None:
    """Make the HTML report of a result JSON."""
    from llmzip.evaluation.report import report as page

    values = json.loads(result.read_text("utf-8"))
    target = output or result.with_suffix(".html")
    target.write_text(page(values, values.get("cache_damage", ())), "utf-8")
    click.echo(target)


SUBCOMMANDS = (compare, conditional, knn, align, information, correlate, damage, months, report)
