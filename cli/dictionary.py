"""`llmzip dictionary`: samples that help to pack records."""

from __future__ import annotations

from typing import Any

import click

from llmzip.cli import options
from llmzip.cli.messages import reporting, say
from llmzip.cli.names import NAME
from llmzip.cli.paths import from_name
from llmzip.cli.records import (
    framing_options,
    make_runtime,
    open_output,
    refuse_same,
    with_options,
)
from llmzip.cli.sizes import format_size, parse_size
from llmzip.records import training
from llmzip.records.framing import join, split


@click.group()
def dictionary() -> None:
    """Make dictionaries for `llmzip records pack -D`."""


@dictionary.command()
@click.argument("samples", type=NAME, nargs=-1, required=True)
@click.option(
    "-o", "--output", type=NAME, required=True, metavar="FILE", help="Write to this file."
)
@click.option("-f", "--force", is_flag=True, help="Overwrite it.")
@framing_options
@click.option(
    "--size",
    type=parse_size,
    default=str(training.DICTIONARY_BYTES),
    metavar="SIZE",
    help="Of the dictionary, at most; 32K.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only errors.")
@with_options(options.OFFLINE, *options.ENGINE)
@reporting
def train(
    samples: tuple[str, ...],
    output: str,
    force: bool,
    framing: str,
    size: int,
    quiet: bool,
    offline: bool,
    model: str | None,
    **engine: Any,
) -> None:
    """Choose the records of the files SAMPLES that save most bits, as a file of records.

    A fifth of them at most is held out, and says what the dictionary gains.
    """
    for name in samples:
        refuse_same(name, output)
    records = [
        record for name in samples for record in split(from_name(name).read_bytes(), framing)
    ]
    with open_output(output, force) as sink:  # what cannot be written is refused before the work
        try:
            trained = training.train(
                records,
                size,
                model=model,
                runtime=make_runtime(offline, download=True, **engine),
                report=(lambda _: None) if quiet else say,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        chosen = trained.dictionary.samples
        text = join(chosen, framing)
        sink.write(text)
    if not quiet:
        held = trained.held_out
        say(f"{len(chosen)} of {len(records)} samples, {format_size(len(text))} ({trained.chosen})")
        say(
            f"{held} held-out records of {trained.held_out_bytes / held:.0f} bytes: "
            f"{trained.without_bytes / held:.1f} bytes each without a dictionary, "
            f"{trained.even_bytes / held:.1f} with samples taken evenly, "
            f"{trained.with_bytes / held:.1f} with this one"
        )
