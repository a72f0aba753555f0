"""`llmzip dictionary`: samples that help to pack records."""

from __future__ import annotations

from typing import Any

import click

from llmzip.cli import options
from llmzip.cli.files import RefusalError
from llmzip.cli.messages import about, reporting, say
from llmzip.cli.names import NAME
from llmzip.cli.outputs import open_output, refuse_same
from llmzip.cli.record_options import framing_options, read_records, with_options
from llmzip.cli.sizes import counted, format_size, parse_size
from llmzip.records import training
from llmzip.records.framing import join


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

    A fifth of them at most is held out, and says what the dictionary gains; where it gains nothing,
    none is written.
    """
    for name in samples:
        refuse_same(name, output)
    records: list[bytes] = []
    for name in samples:
        with about(name):
            records += read_records(name, framing)
    label = samples[0] if len(samples) == 1 else None
    # What cannot be written is refused before the work.
    with about(label), open_output(output, force) as sink:
        try:
            trained = training.train(
                records,
                size,
                model=model,
                runtime=options.runtime_of(offline, download=True, **engine),
                report=(lambda _: None) if quiet else say,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        held = trained.held_out
        measured = (
            f"{counted(held, 'held-out record')} of {trained.held_out_bytes / held:.0f} bytes: "
            f"{trained.without_bytes / held:.1f} bytes each without a dictionary, "
            f"{trained.even_bytes / held:.1f} with samples taken evenly, "
            f"{trained.with_bytes / held:.1f} with the best"
        )
        if not trained.helps:
            raise RefusalError(
                f"no dictionary of these samples helps, so none is written: {measured}"
            )
        chosen = trained.dictionary.samples
        text = join(chosen, framing)
        sink.write(text)
    if not quiet:
        size_text = format_size(len(text))
        say(f"{len(chosen):,} of {counted(len(records), 'sample')}, {size_text} ({trained.chosen})")
        say(measured)
