"""The sub-commands of `llmzip eval` that measure a model: compare, damage, months. Each prints its
result as JSON.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

import click

from llmzip.cli.eval.measurement import DATA_HELP, Measurement, draw, measuring
from llmzip.cli.names import NAME
from llmzip.cli.numbers import WholeNumber
from llmzip.evaluation.rows import DamageGrid
from llmzip.extras import needing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@click.command()
@click.option(
    "--to",
    type=NAME,
    required=True,
    help="The quantized, pruned or distilled model; both with one vocabulary.",
)
@click.option(
    "-d",
    "--data",
    type=NAME,
    multiple=True,
    default=("corpus:python-topics:32768",),
    show_default=True,
    help=DATA_HELP,
)
@click.option("--context", type=WholeNumber(2), default=1024, help="Tokens per segment.")
@measuring
def compare(work: Measurement, to: str, data: tuple[str, ...], context: int) -> None:
    """Compare two models per text: bits/byte, KL, JS, flips."""
    from llmzip.evaluation.compare import compare_texts

    texts = work.texts(*data)
    original, changed = work.scorer(), work.scorer(to)
    found = compare_texts(
        original, changed, texts, context=context, partial=work.partial, begin=work.progress.begin
    )
    work.finish(
        found,
        original=original.model_card.name,
        original_digest=original.model_card.digest,
        changed=changed.model_card.name,
        changed_digest=changed.model_card.digest,
    )


@click.command()
@click.option(
    "-d",
    "--data",
    type=NAME,
    default="corpus:python-topics:65536",
    show_default=True,
    help=DATA_HELP,
)
@click.option(
    "--contexts",
    default="128,512,1024",
    show_default=True,
    help="Lengths of the contexts [tokens].",
)
@click.option(
    "--evict-fractions",
    default="0,0.25,0.5,0.75,0.9",
    show_default=True,
    help="Fractions of the context that are evicted.",
)
@click.option("--bits", default="8,4,3,2", show_default=True, help="Widths of the cache [bits].")
@click.option(
    "--samples",
    type=WholeNumber(1),
    default=8,
    show_default=True,
    help="How many contexts of each length.",
)
@measuring
def damage(
    work: Measurement, data: str, contexts: str, evict_fractions: str, bits: str, samples: int
) -> None:
    """Measure key/value cache damage: bits/byte by context, evicted fraction and cache bits."""
    from llmzip.evaluation import plots

    with needing("eval", "damaging key/value caches"):
        from llmzip.evaluation.cache_damage import MAX_BITS, measure_damage

    try:
        lengths, widths = [int(c) for c in contexts.split(",")], [int(b) for b in bits.split(",")]
        fractions = [float(f) for f in evict_fractions.split(",")]
    except ValueError as error:
        raise click.UsageError(f"lists are numbers separated by commas: {error}") from error
    if not all(0 <= fraction <= 1 for fraction in fractions):
        raise click.UsageError("fractions are 0 to 1")
    if not all(2 <= width <= MAX_BITS for width in widths):
        raise click.UsageError(f"--bits: there are 2 to {MAX_BITS}")
    text = work.texts(data)[0]
    scorer = work.scorer()
    points = measure_damage(
        scorer,
        text.data,
        contexts=lengths,
        evict_fractions=fractions,
        bits=widths,
        samples=samples,
        partial=work.partial,
        progress=work.progress.begin(f"{text.name}: cache damage"),
    )
    card = scorer.model_card
    work.finish(DamageGrid(points), model=card.name, digest=card.digest, data=text.name)
    for curve in plots.DAMAGE_CURVES:
        draw(work.output, curve.suffix, functools.partial(plots.damage, points, curve))


def _month(ctx: click.Context, param: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", value):
        raise click.BadParameter(f"{value!r} is not a month such as 2025-07.")
    return value


@click.command()
@click.option(
    "-d",
    "--data",
    type=NAME,
    default="corpus:rust-blog",
    show_default=True,
    help="Corpus or folder of dated texts.",
)
@click.option(
    "--cutoff",
    required=True,
    metavar="YYYY-MM",
    callback=_month,
    help="Last month of the model's training data.",
)
@click.option("--context", type=WholeNumber(2), default=2048, help="Tokens per segment.")
@click.option(
    "--bytes", "max_bytes", type=WholeNumber(1), help="At most this many bytes of each month."
)
@measuring
def months(work: Measurement, data: str, cutoff: str, context: int, max_bytes: int | None) -> None:
    """Measure month by month, and the gap at the model's cutoff."""
    from llmzip.evaluation.dated import by_month, measure_months

    slices = by_month(work.named(data))
    scorer = work.scorer()
    found = measure_months(
        scorer,
        slices,
        cutoff,
        context=context,
        max_bytes=max_bytes,
        partial=work.partial,
        begin=work.progress.begin,
    )
    card = scorer.model_card
    work.finish(found, model=card.name, digest=card.digest, data=data)

    def picture() -> Figure:
        from llmzip.evaluation import plots

        return plots.months(found)

    draw(work.output, "", picture)
