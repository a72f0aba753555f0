"""`llmzip records`: many short messages in an archive, each decodable by itself."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import click

from llmzip.cli import environment, options
from llmzip.cli.bar import can_be_shown
from llmzip.cli.files import RefusalError, writing
from llmzip.cli.messages import reporting, say
from llmzip.cli.names import NAME
from llmzip.cli.paths import from_name, identity_of
from llmzip.cli.progress import file_progress
from llmzip.cli.sizes import format_size, parse_size
from llmzip.cli.spans import parse_bytes
from llmzip.errors import LLMZipError
from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.coder import CHECK_SIZES
from llmzip.records.framing import Splitter, joined, split
from llmzip.records.reader import RecordReader
from llmzip.records.writer import RecordWriter
from llmzip.runtime import EngineName, Runtime

SUFFIX = ".llmr"

_Command = TypeVar("_Command", bound=Callable[..., Any])


def framing_options(command: _Command) -> _Command:
    """How the records lie in a file."""
    for name, option, help in reversed(
        (
            ("lines", "--lines", "One record a line (JSON lines, CSV, logs); the default."),
            ("null", "--null", "A NUL ends each record."),
            ("lengths", "--lengths", "Each record's length stands before it, as LEB128."),
        )
    ):
        command = click.option(
            option, "framing", flag_value=name, default="lines", type=str, help=help
        )(command)
    return command


def with_options(*chosen: click.Option) -> Callable[[_Command], _Command]:
    """Options that other commands have, too."""

    def add(command: _Command) -> _Command:
        for option in reversed(chosen):
            command.__click_params__ = [*getattr(command, "__click_params__", []), option]  # type: ignore[attr-defined]
        return command

    return add


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
    samples = RecordDictionary(_samples(dictionary, framing))
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(_reading(file))
        size = None if file == "-" else from_name(file).stat().st_size
        shown = stack.enter_context(
            file_progress(file, size, bar=can_be_shown() and not quiet, quiet=quiet)
        )
        runtime = make_runtime(offline, download=True, **engine)
        runtime = Runtime(**{**vars(runtime), "download_progress": shown.download})
        sink = _Counting(stack.enter_context(open_output(target, force)))
        writer = RecordWriter(
            sink,  # type: ignore[arg-type]
            dictionary=samples,
            embed=not no_embed,
            check=int(check),
            framing=framing,
            model=model,
            runtime=runtime,
            progress=shown.advance,
        )
        splitter, count, given = Splitter(source, framing), 0, 0
        for record in splitter:
            writer.write(record)
            count, given = count + 1, given + len(record) + 1
        writer.is_open_ended = splitter.is_open
        writer.close()
    if not quiet:
        given -= splitter.is_open
        each = f", {(sink.count) / count:.1f} bytes each" if count else ""
        say(f"{count:,} records, {format_size(given)} -> {format_size(sink.count)}{each}")


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
    """Restore the file that was packed into FILE, to FILE without .llmr."""
    if output is None:
        output = file.removesuffix(SUFFIX)
        if output in (file, ""):
            raise RefusalError(f"{file}: unknown suffix ({SUFFIX} expected); use -o FILE")
    refuse_same(file, output)
    with (
        _open(file, dictionary, max_memory, model, engine) as reader,
        open_output(output, force) as sink,
    ):
        lost = _unpack(reader, sink, file, keep_going)
    if lost or reader.damage:
        raise SystemExit(1)
    if not quiet:
        say(f"{len(reader):,} records")


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
    """Write single records of FILE to standard output, each with its end; the first is 0."""
    with _open(file, dictionary, max_memory, model, engine) as reader:
        wanted = list(itertools.chain.from_iterable(_range(text, len(reader)) for text in numbers))
        for piece in joined(_framing(reader), reader.get_many(wanted)):
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
    """Decode all records of FILE to nowhere: is it sound?"""
    with _open(file, dictionary, max_memory, model, engine) as reader:
        for _ in reader:
            pass


@records.command("list")
@_FILE
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@reporting
def list_records(file: str, as_json: bool) -> None:
    """Show what FILE says of itself; decodes nothing."""
    size = from_name(file).stat().st_size
    with RecordReader(from_name(file)) as reader:
        header, damage = reader.header, reader.damage
        row = {
            "filename": file,
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


class _Counting:
    """A file for writing that counts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return self._file.write(data)


def _unpack(reader: RecordReader, sink: BinaryIO, label: str, keep_going: bool) -> int:
    """Write all records; returns how many are lost."""
    lost, framing = 0, _framing(reader)
    left = len(reader)
    for first, found in reader.iter_groups():
        whole: list[bytes] = []
        for number, record in enumerate(found, first):
            if isinstance(record, bytes):
                whole.append(record)
            elif keep_going:
                lost += 1
                say(f"{label}: record {number}: {record}")
            else:
                raise type(record)(f"{label}: record {number}: {record}")
        left -= len(found)
        pieces = list(joined(framing, whole))
        if not left and reader.is_open_ended and pieces and isinstance(found[-1], bytes):
            pieces[-1] = pieces[-1][:-1]
        sink.write(b"".join(pieces))
    if reader.damage:
        if not keep_going:
            raise reader.damage
        say(f"{label}: {reader.damage}")
    return lost


def _framing(reader: RecordReader) -> str:
    """How records are written out: those that came one by one each behind its length."""
    return "lengths" if reader.header.framing == "records" else reader.header.framing


def _range(text: str, count: int) -> range:
    span = parse_bytes(text)  # counts from 0, too
    numbers = range(span.first, count if span.last is None else span.last + 1)
    if not numbers or numbers[-1] >= count:
        raise LLMZipError(f"{text}: there are {count} records, the first is 0")
    return numbers


def _samples(name: str | None, framing: str) -> list[bytes]:
    return [] if name is None else split(from_name(name).read_bytes(), framing)


@contextlib.contextmanager
def _open(
    name: str,
    dictionary: str | None,
    max_memory: int | None,
    model: str | None,
    engine: dict[str, Any],
) -> Iterator[RecordReader]:
    with RecordReader(from_name(name)) as plain:
        framing = _framing(plain)
    samples = None if dictionary is None else _samples(dictionary, framing)
    with RecordReader(
        from_name(name),
        dictionary=samples,
        model=model,
        max_memory=max_memory,
        runtime=make_runtime(True, download=False, **engine),
    ) as reader:
        yield reader


def make_runtime(
    offline: bool, download: bool, device: str, engine: EngineName, threads: int | None
) -> Runtime:
    """The Runtime that options ask for."""
    return options.make_runtime(engine, device, environment.threads(threads), offline, download)


def refuse_same(source: str, target: str) -> None:
    """Raise RefusalError where the output is the input."""
    if source == "-" or target == "-":
        return
    if identity_of(source, regular=True) == identity_of(target, regular=True) is not None:
        raise RefusalError(f"{target}: is also the input")


@contextlib.contextmanager
def _reading(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with from_name(name).open("rb") as file:
            yield file


@contextlib.contextmanager
def open_output(name: str, force: bool) -> Iterator[BinaryIO]:
    """A new file, or for `-` standard output."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with writing(Path(name), force=force, like=None) as sink:
            yield sink
