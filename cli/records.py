"""`llmzip records`: many short messages in an archive, each decodable by itself."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from llmzip.cli import archives, options
from llmzip.cli.bar import can_be_shown
from llmzip.cli.files import RefusalError
from llmzip.cli.messages import about, reporting, say
from llmzip.cli.names import NAME
from llmzip.cli.outputs import open_output, refuse_same
from llmzip.cli.paths import from_name
from llmzip.cli.progress import FileProgress, file_progress
from llmzip.cli.record_options import framing_options, read_records, with_options
from llmzip.cli.sizes import counted, format_size, parse_size
from llmzip.cli.spans import parse_bytes
from llmzip.errors import LLMZipError
from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.append import appending
from llmzip.records.coder import CHECK_SIZES
from llmzip.records.framing import Splitter, joined
from llmzip.records.reader import RecordReader
from llmzip.records.writer import RecordWriter
from llmzip.runtime import Runtime

SUFFIX = ".llmr"

_FILE = click.argument("file", type=NAME)
_OUTPUT = click.option("-o", "--output", type=NAME, metavar="FILE", help="Write to this file.")
_FORCE = click.option("-f", "--force", is_flag=True, help="Overwrite it.")
_DICTIONARY = click.option(
    "-D", "--dictionary", type=NAME, metavar="FILE", help="Samples, as `llmzip dictionary` makes."
)
_QUIET = click.option("-q", "--quiet", is_flag=True, help="Only errors.")
_LIMIT = click.option(
    "-M",
    "--max-memory",
    type=parse_size,
    metavar="SIZE",
    help="Refuse archives whose decoding needs more memory.",
)


@click.group()
def records() -> None:
    """Pack many short messages (JSON lines, log lines, CSV rows) so that each can be read alone."""


@records.command()
@click.argument("file", type=NAME, default="-")
@_OUTPUT
@_FORCE
@framing_options
@_DICTIONARY
@click.option("--no-embed", is_flag=True, help="Leave the dictionary out of the archive.")
@click.option(
    "--check",
    type=click.Choice([str(size) for size in CHECK_SIZES]),
    default="0",
    help="Bytes that tell, of each record, whether it is damaged; 0: of a group.",
)
@_QUIET
@with_options(options.OFFLINE, *options.ENGINE)
@reporting
def pack(
    file: str,
    output: str | None,
    force: bool,
    framing: str,
    dictionary: str | None,
    no_embed: bool,
    check: str,
    quiet: bool,
    offline: bool,
    model: str | None,
    **engine: Any,
) -> None:
    """Pack the records of FILE (-: standard input) into FILE.llmr.

    Without -D no dictionary helps the model: `llmzip dictionary train` makes one.
    """
    target = output or ("-" if file == "-" else file + SUFFIX)
    refuse_same(file, target)
    with about(dictionary):
        samples = RecordDictionary([] if dictionary is None else read_records(dictionary, framing))
    runtime = options.runtime_of(offline, download=True, **engine)
    with (
        about(file),
        _input(file) as source,
        _shown(file, quiet) as shown,
        open_output(target, force) as opened,
    ):
        sink = archives.Counting(opened)
        with RecordWriter(
            sink,  # type: ignore[arg-type]
            dictionary=samples,
            embed=not no_embed,
            check=int(check),
            framing=framing,
            model=model,
            runtime=Runtime(**{**vars(runtime), "download_progress": shown.download}),
            progress=shown.advance,
        ) as writer:
            count, given = _write(writer, source, framing)
    if not quiet:
        each = f", {sink.count / count:.1f} bytes each" if count else ""
        say(f"{counted(count, 'record')}, {format_size(given)} -> {format_size(sink.count)}{each}")


@records.command()
@click.argument("archive", type=NAME)
@click.argument("file", type=NAME, default="-")
@_DICTIONARY
@_QUIET
@_LIMIT
@with_options(*options.ENGINE)
@reporting
def append(
    archive: str,
    file: str,
    dictionary: str | None,
    quiet: bool,
    max_memory: int | None,
    model: str | None,
    **engine: Any,
) -> None:
    """Append the records of FILE (-: standard input) to ARCHIVE.

    Model, dictionary, checks and framing are the archive's. A new file takes its place once it is
    whole; until then ARCHIVE is what it was.
    """
    if archive == "-":
        raise RefusalError("what is appended to has to be a file, not standard input")
    refuse_same(file, archive)
    with about(archive), RecordReader(from_name(archive)) as reader:
        framing, before = archives.framing_of(reader), from_name(archive).stat().st_size
        samples = archives.given_samples(reader, dictionary)
    with (
        about(file),
        _input(file) as source,
        _shown(file, quiet) as shown,
        about(archive),
        appending(
            from_name(archive),
            dictionary=samples,
            model=model,
            max_memory=max_memory,
            runtime=options.runtime_of(offline=True, download=False, **engine),
            progress=shown.advance,
        ) as writer,
        about(file),
    ):
        count, given = _write(writer, source, framing)
    if not quiet:
        grown = from_name(archive).stat().st_size - before
        say(f"{counted(count, 'record')}, {format_size(given)} -> {format_size(grown)} more")


@records.command()
@_FILE
@_OUTPUT
@_FORCE
@_DICTIONARY
@click.option("--keep-going", is_flag=True, help="Leave out what is damaged, and say it.")
@_QUIET
@_LIMIT
@with_options(*options.ENGINE)
@reporting
def unpack(
    file: str,
    output: str | None,
    force: bool,
    dictionary: str | None,
    keep_going: bool,
    quiet: bool,
    max_memory: int | None,
    model: str | None,
    **engine: Any,
) -> None:
    """Restore the file that was packed into FILE, to FILE without .llmr; - is standard input, to
    standard output.
    """
    if output is None:
        output = file.removesuffix(SUFFIX) if file != "-" else "-"
        if output in (file, "") and file != "-":
            raise RefusalError(f"{file}: unknown suffix ({SUFFIX} expected); use -o FILE")
    refuse_same(file, output)
    with (
        about(file),
        archives.open_archive(file, dictionary, max_memory, model, engine) as reader,
        open_output(output, force) as sink,
    ):
        lost = archives.unpack(reader, sink, archives.label_of(file), keep_going)
    if lost or reader.damage:
        raise SystemExit(1)
    if not quiet:
        say(counted(len(reader), "record"))


@records.command()
@_FILE
@click.argument("numbers", nargs=-1, required=True, metavar="NUMBER[-NUMBER]...")
@_DICTIONARY
@_LIMIT
@with_options(*options.ENGINE)
@reporting
def get(
    file: str,
    numbers: tuple[str, ...],
    dictionary: str | None,
    max_memory: int | None,
    model: str | None,
    **engine: Any,
) -> None:
    """Write single records of FILE (-: standard input) to standard output, each with its end; the
    first is 0.
    """
    with about(file), archives.open_archive(file, dictionary, max_memory, model, engine) as reader:
        wanted = list(itertools.chain.from_iterable(_range(text, len(reader)) for text in numbers))
        for piece in joined(archives.framing_of(reader), reader.get_many(wanted)):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


@records.command()
@_FILE
@_DICTIONARY
@_LIMIT
@with_options(*options.ENGINE)
@reporting
def test(
    file: str, dictionary: str | None, max_memory: int | None, model: str | None, **engine: Any
) -> None:
    """Decode all records of FILE (-: standard input) to nowhere: is it sound?"""
    with about(file), archives.open_archive(file, dictionary, max_memory, model, engine) as reader:
        for _ in reader:
            pass


@records.command("list")
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def list_records(file: str, as_json: bool) -> None:
    """Show what FILE (-: standard input) says of itself; decodes nothing."""
    with about(file), archives.archive_file(file) as opened:
        reader = RecordReader(opened)
        header, damage = reader.header, reader.damage
        size = opened.seek(0, os.SEEK_END)
    row = {
        "filename": archives.label_of(file),
        "records": len(reader),
        "groups": reader.groups,
        "compressed_bytes": size,
        "bytes_per_record": round(size / len(reader), 2) if len(reader) else None,
        "framing": header.framing,
        "check_bytes": header.check,
        "model": header.fingerprint.hex(),
        "dictionary": header.digest.hex(),
        "dictionary_bytes": len(header.dictionary),
        "damage": None if damage is None else str(damage),
    }
    if as_json:
        click.echo(json.dumps(row, indent=2))
    else:
        for name, value in row.items():
            if value is not None:
                click.echo(f"{name.replace('_', ' '):<17} {value}")
    if damage:
        raise SystemExit(1)


def _range(text: str, count: int) -> range:
    span = parse_bytes(text)  # counts from 0, too
    numbers = range(span.first, count if span.last is None else span.last + 1)
    if not numbers or numbers[-1] >= count:
        raise LLMZipError(f"{text}: it has {counted(count, 'record')}, and the first is 0")
    return numbers


def _write(writer: RecordWriter, source: BinaryIO, framing: str) -> tuple[int, int]:
    """Write the records of a file; how many there are, and the file's bytes."""
    splitter, count, given = Splitter(source, framing), 0, 0
    for record in splitter:
        writer.write(record)
        count, given = count + 1, given + len(record) + 1
    writer.is_open_ended = splitter.is_open
    return count, given - splitter.is_open


@contextlib.contextmanager
def _shown(file: str, quiet: bool) -> Iterator[FileProgress]:
    """How far the work on an input is."""
    size = None if file == "-" else from_name(file).stat().st_size
    with file_progress(
        archives.label_of(file), size, bar=can_be_shown() and not quiet, quiet=quiet
    ) as shown:
        yield shown


@contextlib.contextmanager
def _input(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with from_name(name).open("rb") as file:
            yield file
