"""`llmzip view`: a page that shows where the bits of a file are."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import click

from llmzip.blocks.options import CompressionOptions
from llmzip.cli import environment, options, paths, restore
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.bar import can_be_shown
from llmzip.cli.files import SUFFIX, has_suffix
from llmzip.cli.messages import about, reporting
from llmzip.cli.names import NAME
from llmzip.cli.outputs import open_output, refuse_same
from llmzip.cli.progress import file_progress
from llmzip.cli.repair import advising
from llmzip.cli.spans import Span, parse_bytes
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.runtime import EngineName
from llmzip.view.observe import is_compressed, observe_file, observe_text
from llmzip.view.page import page


def _run(
    file: str,
    output: str | None,
    force: bool,
    digit: int | None,
    model: str | None,
    dictionary: str | None,
    offline: bool,
    device: str,
    engine: EngineName,
    threads: int | None,
    max_memory: int | None,
    max_output: int | None,
    bytes: Span | None,
    **compression: Any,
) -> None:
    """Write FILE.html, one page with everything in it: the text of FILE coloured by the bits that
    each token takes, what the model and its mixer thought, and sums.

    A compressed FILE is decoded, another one compressed as the options say; neither is written.
    With --bytes, only the blocks of a compressed FILE that hold these bytes are decoded and shown;
    of another one, these bytes are compressed as a file of their own.
    """
    given = compression.pop("level")
    level = environment.level(given if digit is None else digit)
    try:
        chosen = CompressionOptions(level=level, **compression)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    runtime = options.runtime_of(offline, True, device, engine, threads)
    label = "stdin" if file == "-" else paths.shown(Path(file).name)
    target = output or ("-" if file == "-" else f"{file}.html")
    refuse_same(file, target)
    # What cannot be written is refused before the work.
    with about(file), open_output(target, force) as sink:
        known = restore.dictionary(Arguments(Action.COMPRESS, dictionary=dictionary))
        data = sys.stdin.buffer.read() if file == "-" else paths.from_name(file).read_bytes()
        packed = is_compressed(data) or has_suffix(Path(file).name, [SUFFIX]) is not None
        span = None if bytes is None else _range(bytes)
        is_open = bytes is not None and bytes.last is None
        if span and not packed:
            if len(data) <= span.start:
                raise LLMZipError(f"it ends before byte {span.start:,}: it has {len(data):,}")
            data = data[span.start : span.stop]
        total = None if packed else len(data)
        with file_progress(label, total, bar=can_be_shown(), quiet=False) as progress, advising():
            runtime = dataclasses.replace(runtime, download_progress=progress.download)
            loader = EngineLoader.of(model, known, runtime)
            observed = (
                observe_file(
                    data,
                    loader,
                    max_memory=max_memory,
                    max_output=max_output,
                    progress=progress.advance,
                    span=span,
                )
                if packed
                else observe_text(data, chosen, loader, progress.advance)
            )
        part = "" if span is None else f", bytes {span.start}-{'' if is_open else span.stop - 1}"
        sink.write(page(observed, label + part).encode())


def _range(span: Span) -> range:
    return range(span.first, sys.maxsize if span.last is None else span.last + 1)


view = click.Command(
    "view",
    callback=reporting(_run),
    help=_run.__doc__,
    params=[
        click.Argument(["file"], type=NAME),
        click.Option(
            ["-o", "--output"],
            type=NAME,
            metavar="FILE",
            help="Write to FILE, - for standard output; without, to FILE.html.",
        ),
        options.flag("-f", "--force", help="Overwrite it."),
        click.Option(
            ["--bytes"],
            type=parse_bytes,
            metavar="A-B",
            help="Only the part with these bytes; the first is 0.",
        ),
        *options.LEVEL_DIGITS,
        *options.COMPRESSION,
        options.DICTIONARY,
        *options.LIMITS,
        options.OFFLINE,
        *options.ENGINE,
    ],
)
