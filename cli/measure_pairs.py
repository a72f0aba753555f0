"""The sub-commands of `llmzip eval` that measure texts given other texts, by a model or a codec."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from llmzip.cli.measure_options import CODEC, FILE, MODEL, OUTPUT, emit, scorer_of
from llmzip.corpora import library
from llmzip.errors import LLMZipError
from llmzip.evaluation import pairs
from llmzip.metrics import conditional as conditionals
from llmzip.metrics.alignment import select
from llmzip.metrics.distances import nearest_neighbours


def _conditional(model: str | None, codec: str | None, dtype: str, device: str) -> pairs.Conditional:
    if codec:
        return pairs.conditional_by_codec(pairs.codec_length(codec))
    return pairs.ModelCodeLengths(scorer_of(model, dtype, device))


@click.command()
@click.option("--text", required=True, type=FILE, help="y: what is predicted.")
@click.option("--given", required=True, type=FILE, help="z: a compressed prompt, a summary, a reconstruction.")
@click.option("--full", type=FILE, help="The full prompt that z stands for: gives the retained information.")
@MODEL
@CODEC
@OUTPUT
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
    emit(values, output)


@click.command()
@click.option(
    "--train", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="FOLDER/LABEL/FILE."
)
@click.option(
    "--test", "tests", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path), help="The same."
)
@click.option("--distance", type=click.Choice(pairs.DISTANCES), default="gpt_mean", show_default=True)
@click.option("-k", type=click.IntRange(1), default=1, show_default=True)
@MODEL
@CODEC
@OUTPUT
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
    emit(values, output)


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
@MODEL
@click.option(
    "-c", "--codec", default="zlib:level=9", show_default=True, help="Codec; --model measures bits saved instead."
)
@OUTPUT
def align(
    sources: str, targets: str, top: int, model: str | None, dtype: str, device: str, codec: str, output: Path | None
) -> None:
    """Select the source texts that fit the targets best (ZIP-FIT)."""
    texts, wanted = library.texts(sources), list(library.texts(targets).values())
    length = None if model else pairs.codec_length(codec)
    conditional = pairs.ModelCodeLengths(scorer_of(model, dtype, device)) if model else None
    scores = pairs.fit_scores(list(texts.values()), wanted, length=length, conditional=conditional)
    names = list(texts)
    chosen = [{"name": names[i], "score": float(scores[i])} for i in select(scores, top)]
    emit({"measure": "bits saved per byte" if model else f"1 - NCD by {codec}", "selected": chosen}, output)


@click.command()
@click.option("--inputs", required=True, help="Folder of x: what each output was made from.")
@click.option("--outputs", required=True, help="Folder of z, with the same file names.")
@MODEL
@CODEC
@OUTPUT
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
    emit(
        {
            "pairs": len(names),
            "mutual_information_bits": bits,
            "at_most_bits": float(np.log2(len(names))),
            "mutual_information_rate_bits_per_byte": bits / size,
        },
        output,
    )
