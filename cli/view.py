"""`llmzip view`: a page that shows where the bits of a file are."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import click

from llmzip.block_encoder import CompressionOptions
from llmzip.cli import environment, files, options, paths, restore
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.bar import can_be_shown
from llmzip.cli.files import SUFFIX, RefusalError, has_suffix
from llmzip.cli.messages import reporting
from llmzip.cli.names import NAME
from llmzip.cli.progress import file_progress
from llmzip.cli.repair import advising
from llmzip.engine_loader import EngineLoader
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
    **compression: Any,
) -> None:
    """Write FILE.html, one page with everything in it: the text of FILE coloured by the bits that
    each token takes, what the model and its mixer thought, and sums.

    A compressed FILE is decoded, another one compressed as the options say; neither is written.
    """
    given = compression.pop("level")
    level = environment.level(given if digit is None else digit)
    try:
        chosen = CompressionOptions(level=level, **compression)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    runtime = options.make_runtime(
        engine, device, environment.threads(threads), offline, download=True
    )
    label = "stdin" if file == "-" else paths.shown(Path(file).name)
    with _writing(file, output, force) as sink:
        known = restore.dictionary(Arguments(Action.COMPRESS, dictionary=dictionary))
        data = sys.stdin.buffer.read() if file == "-" else paths.from_name(file).read_bytes()
        packed = is_compressed(data) or has_suffix(Path(file).name, [SUFFIX]) is not None
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
                )
                if packed
                else observe_text(data, chosen, loader, progress.advance)
            )
        sink.write(page(observed, label).encode())


@contextlib.contextmanager
def _writing(file: str, output: str | None, force: bool) -> Iterator[BinaryIO]:
    """Where the page goes; what cannot be written is refused before the work."""
    target = output or ("-" if file == "-" else f"{file}.html")
    if target == "-":
        yield sys.stdout.buffer
        return
    if (
        file != "-"
        and paths.identity_of(file, regular=True)
        == paths.identity_of(target, regular=True)
        is not None
    ):
        raise RefusalError(f"{target}: is also the input")
    with files.writing(Path(target), force=force, like=None) as sink:
        yield sink


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
        *options.LEVEL_DIGITS,
        *options.COMPRESSION,
        options.DICTIONARY,
        *options.LIMITS,
        options.OFFLINE,
        *options.ENGINE,
    ],
)
