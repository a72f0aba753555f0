"""The sub-commands of `llmzip eval` that measure a model: compare, damage, months. Each prints its result as JSON."""

from __future__ import annotations

import functools
import re
from typing import Any

import click

from llmzip.cli.eval.measurement import Work, draw, measuring
from llmzip.cli.names import NAME
from llmzip.cli.numbers import WholeNumber


@click.command()
@click.option(
    "--to", type=NAME, required=True, help="The quantized, pruned or distilled model; both with one vocabulary."
)
@click.option("-d", "--data", type=NAME, multiple=True, default=("python-topics:32768",), show_default=True)
@click.option("--context", type=WholeNumber(2), default=1024, help="Tokens per segment.")
@measuring
def compare(work: Work, to: str, data: tuple[str, ...], context: int) -> None:
    """Compare two models per text: bits/byte, KL, JS, flips."""
    from llmzip.evaluation.compare import compare_texts

    texts = work.texts(*data)
    original, changed = work.scorer(), work.scorer(to)
    found = compare_texts(original, changed, texts, context=context, partial=work.partial, begin=work.progress.begin)
    cards = {
        "original": original.card.name,
        "original_digest": original.card.digest,
        "changed": changed.card.name,
        "changed_digest": changed.card.digest,
    }
    work.finish({**cards, **found})


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
        progress=work.progress.begin(f"{text.name}: cache damage"),
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
@click.option("--bytes", "max_bytes", type=WholeNumber(1), help="Bytes of each month, at most.")
@measuring
def months(work: Work, data: str, cutoff: str, context: int, max_bytes: int | None) -> None:
    """Measure month by month, and the gap at the model's cutoff."""
    from llmzip.evaluation.dated import by_month, measure_months

    slices = by_month(work.named(data))
    scorer = work.scorer()
    values = measure_months(
        scorer, slices, cutoff, context=context, max_bytes=max_bytes, partial=work.partial, begin=work.progress.begin
    )
    work.finish({"model": scorer.card.name, "digest": scorer.card.digest, "data": data, **values})

    def picture() -> Any:
        from llmzip.evaluation import plots

        return plots.months(values)

    draw(work.output, "", picture)
