"""`llmzip eval dimension`: intrinsic dimension beside code length."""

from __future__ import annotations

import functools

import click

from llmzip.cli.eval.measurement import DATA_HELP, Measurement, draw, measuring
from llmzip.cli.names import NAME
from llmzip.cli.numbers import WholeNumber
from llmzip.extras import needing

_DEFAULT_DATA = (
    "corpus:python-topics:131072",
    "corpus:python-sources:131072",
    "corpus:logs:131072",
    "corpus:json:131072",
    "corpus:csv:131072",
)


@click.command()
@click.option("-d", "--data", type=NAME, multiple=True, help=DATA_HELP)
@click.option(
    "--sequences",
    type=WholeNumber(1),
    default=512,
    show_default=True,
    help="How many of each text: estimates compare only at one number.",
)
@click.option(
    "--tokens", type=WholeNumber(1), default=32, show_default=True, help="Of each sequence."
)
@click.option(
    "--subsamples",
    type=WholeNumber(2),
    default=5,
    show_default=True,
    help="Random halves over which the spread is taken.",
)
@measuring
def dimension(
    work: Measurement, data: tuple[str, ...], sequences: int, tokens: int, subsamples: int
) -> None:
    """Measure the intrinsic dimension of hidden states layer by layer, and the code length.

    By TwoNN and by maximum likelihood, on the last tokens of sequences; with three texts or more
    also how dimension and surprisal go together over them. --output keeps a table and pictures,
    too.
    """
    with needing("dimension", "estimating intrinsic dimensions"):
        from llmzip.evaluation import dimension as dimensions
    from llmzip.evaluation import dimension_report

    texts = work.texts(*(data or _DEFAULT_DATA))
    scorer = work.scorer()
    found = dimensions.measure_dimensions(
        scorer,
        texts,
        sequences=sequences,
        tokens=tokens,
        subsamples=subsamples,
        partial=work.partial,
        begin=work.progress.begin,
    )
    card = scorer.model_card
    work.finish(found, model=card.name, digest=card.digest)
    if work.output:
        work.output.with_suffix(".md").write_text(dimension_report.markdown(found), "utf-8")
    draw(work.output, "", functools.partial(dimension_report.by_layer, found))
    if any(correlation.pearson is not None for correlation in found.correlations):
        draw(
            work.output,
            "-surprisal",
            functools.partial(dimension_report.correlations_by_layer, found),
        )
