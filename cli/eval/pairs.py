"""The sub-commands of `llmzip eval` that measure texts given other texts, by a model or a codec."""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np

from llmzip.cli.eval.measurement import CODEC, FILE, Measurement, measuring
from llmzip.cli.names import FilePath
from llmzip.cli.numbers import WholeNumber
from llmzip.errors import LLMZipError
from llmzip.evaluation import pairs
from llmzip.metrics import conditional as conditionals
from llmzip.metrics.alignment import select
from llmzip.metrics.distances import nearest_neighbors

_PAIRS = "code lengths"


def _conditional(work: Measurement, codec: str | None) -> pairs.Conditional:
    _one_of(work, codec)
    if codec is not None:
        return pairs.conditional_by_codec(pairs.codec_length(codec, work.partial))
    return pairs.ModelCodeLengths(work.scorer(), work.partial)


def _one_of(work: Measurement, codec: str | None) -> None:
    if codec is not None and work.model is not None:
        raise click.UsageError("--model, --codec: one of them")


@click.command()
@click.option("--text", required=True, type=FILE, help="y: what is predicted.")
@click.option(
    "--given", required=True, type=FILE, help="z: a compressed prompt, a summary, a reconstruction."
)
@click.option(
    "--full", type=FILE, help="The full prompt that z stands for: gives the retained information."
)
@CODEC
@measuring
def conditional(
    work: Measurement, text: Path, given: Path, full: Path | None, codec: str | None
) -> None:
    """Conditional code length C(y|z): how much of y does z tell?"""
    y, z = work.read(text), work.read(given)
    if not y:
        raise LLMZipError(f"{text}: there is no text to measure")
    length = _conditional(work, codec)
    contexts = [b"", z, *([work.read(full)] if full else [])]
    alone, residual, *given_full = pairs.conditional_table(
        [y], contexts, length, work.progress.begin("code lengths")
    )[0]
    retained = None
    if full:
        try:
            retained = pairs.Retained(
                given_full[0], conditionals.retained_information(alone, residual, given_full[0])
            )
        except ValueError as error:
            raise LLMZipError(f"{full}: {error}") from error
    work.finish(
        pairs.ConditionalLength(
            bytes=len(y),
            code_length_bits=alone,
            conditional_code_length_bits=residual,
            residual_bits_per_byte=residual / len(y),
            information_gain_bits_per_byte=conditionals.information_gain(alone, residual, len(y)),
            retained=retained,
        )
    )


_LABELED = FilePath(exists=True, file_okay=False)


@click.command()
@click.option("--train", required=True, type=_LABELED, help="Folder of LABEL/FILE.")
@click.option("--test", "tests", required=True, type=_LABELED, help="The same.")
@click.option(
    "--distance",
    type=click.Choice(pairs.DISTANCES),
    default="gpt_mean",
    show_default=True,
    help="By which texts are near.",
)
@click.option(
    "-k", type=WholeNumber(1), default=1, show_default=True, help="How many neighbors vote."
)
@CODEC
@measuring
def knn(
    work: Measurement, train: Path, tests: Path, distance: str, k: int, codec: str | None
) -> None:
    """Classify texts by their nearest neighbors under a compression distance."""
    known, unknown = _labeled(work, train), _labeled(work, tests)
    if k > len(known):
        raise click.UsageError(f"-k {k}: {train} has {len(known)} texts")
    length, progress = _conditional(work, codec), work.progress.begin("distances", _PAIRS)
    table = pairs.distance_table(
        list(unknown.values()), list(known.values()), length, distance, progress
    )
    guesses = nearest_neighbors(table, [_label(name) for name in known], k)
    right = [guess == _label(name) for guess, name in zip(guesses, unknown, strict=True)]
    work.finish(
        pairs.Classification(
            distance=distance,
            k=k,
            accuracy=float(np.mean(right)),
            predictions=dict(zip(unknown, guesses, strict=True)),
            training=list(known),
            distances=table.tolist(),
        )
    )


def _labeled(work: Measurement, folder: Path) -> dict[str, bytes]:
    """`label/file` -> bytes."""
    texts = {name: data for name, data in work.named(str(folder)).items() if "/" in name}
    if not texts:
        raise LLMZipError(f"{folder}: no files in folders named by their label")
    return texts


def _label(name: str) -> str:
    return name.partition("/")[0]


@click.command()
@click.option("--sources", required=True, help="Corpus or folder to select from.")
@click.option("--targets", required=True, help="Corpus or folder that the selection is to fit.")
@click.option(
    "--top", type=WholeNumber(1), default=10, show_default=True, help="How many texts to select."
)
@click.option("-c", "--codec", help="Codec [zlib:level=9]; --model measures bits saved instead.")
@measuring
def align(work: Measurement, sources: str, targets: str, top: int, codec: str | None) -> None:
    """Select the source texts that fit the targets best (ZIP-FIT)."""
    _one_of(work, codec)
    codec = "zlib:level=9" if codec is None else codec
    texts, wanted = work.named(sources), list(work.named(targets).values())
    length = None if work.model else pairs.codec_length(codec, work.partial)
    conditional = pairs.ModelCodeLengths(work.scorer(), work.partial) if work.model else None
    progress = work.progress.begin("alignment", _PAIRS)
    scores = pairs.fit_scores(
        list(texts.values()), wanted, length=length, conditional=conditional, progress=progress
    )
    names = list(texts)
    work.finish(
        pairs.Selection(
            measure="bits saved per byte" if work.model else f"1 - NCD by {codec}",
            selected=[pairs.Selected(names[i], float(scores[i])) for i in select(scores, top)],
        )
    )


@click.command()
@click.option("--inputs", required=True, help="Folder of x: what each output was made from.")
@click.option("--outputs", required=True, help="Folder of z, with the same file names.")
@CODEC
@measuring
def information(work: Measurement, inputs: str, outputs: str, codec: str | None) -> None:
    """Estimate the mutual information between inputs and what was made of them."""
    x, z = work.named(inputs), work.named(outputs)
    names = [name for name in z if name in x]
    if len(names) < 2:
        raise LLMZipError(
            f"{inputs} and {outputs} share {len(names)} file names: two or more are needed"
        )
    length, progress = _conditional(work, codec), work.progress.begin("mutual information", _PAIRS)
    table = pairs.conditional_table(
        [z[name] for name in names], [x[name] for name in names], length, progress
    )
    bits = conditionals.mutual_information(-table)
    size = float(np.mean([len(z[name]) for name in names]))
    work.finish(
        pairs.MutualInformation(
            pairs=len(names),
            mutual_information_bits=bits,
            upper_bound_bits=float(np.log2(len(names))),
            mutual_information_rate_bits_per_byte=bits / size,
        )
    )
