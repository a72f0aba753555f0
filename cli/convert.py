"""Compress, decompress and test one input."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from llmzip.cli import files
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.bar import can_be_shown
from llmzip.cli.files import RefusalError, Sink
from llmzip.cli.inputs import Source, reading
from llmzip.cli.messages import say
from llmzip.cli.plan import output_of
from llmzip.cli.progress import FileProgress, file_progress
from llmzip.cli.repair import advising, say_damages
from llmzip.cli.repair import loss as report_loss
from llmzip.errors import IntegrityError, LLMZipError

if TYPE_CHECKING:
    from llmzip.compressor import LLMZipCompressor
    from llmzip.predictor.dictionary import Dictionary
    from llmzip.streams import Totals

# llmzip.streams is imported where it is used: it brings the engines, which help and refusals do
# without.


def compress(source: Source, arguments: Arguments) -> None:
    """Compress one input."""
    with reading(source) as reader, _output(source, reader, arguments) as sink:
        read = os.fstat(reader.fileno())
        begun = time.monotonic()
        totals = _encode(reader, sink, source.label, arguments)
        seconds = time.monotonic() - begun
        if arguments.remove and source.path is not None and sink.draft is not None:
            _verify(reader, sink.draft, arguments)
    _remove(source, read, arguments)
    _finish(source, totals, seconds, arguments)


def decompress(source: Source, arguments: Arguments) -> None:
    """Decompress one input; what --rm then removes was checked against its checksums on the way."""
    with reading(source) as reader, _output(source, reader, arguments) as sink:
        read = os.fstat(reader.fileno())
        begun = time.monotonic()
        totals, loss = _decode(reader, sink, source.label, arguments)
        seconds = time.monotonic() - begun
    if loss:
        raise loss
    _remove(source, read, arguments)
    _finish(source, totals, seconds, arguments)


def test(source: Source, arguments: Arguments) -> None:
    """Decompress one input to nowhere."""
    begun = time.monotonic()
    with reading(source) as reader, Path(os.devnull).open("wb") as sink:
        totals, loss = _decode(reader, sink, source.label, arguments)
    if loss:
        raise loss
    _finish(source, totals, time.monotonic() - begun, arguments)


def compressor(arguments: Arguments, progress: FileProgress | None = None) -> LLMZipCompressor:
    """A compressor as the command line asks for it.

    Raises ValueError for options that exclude each other or are out of range.
    """
    from llmzip.block_encoder import CompressionOptions
    from llmzip.compressor import LLMZipCompressor

    shown = progress or FileProgress(None, None)
    return LLMZipCompressor.with_options(
        CompressionOptions(**arguments.compression),
        model=arguments.model,
        dictionary=dictionary(arguments.dictionary),
        runtime=dataclasses.replace(arguments.runtime, download_progress=shown.download),
        progress=shown.advance,
    )


def _encode(reader: BinaryIO, sink: BinaryIO, label: str, arguments: Arguments) -> Totals:
    from llmzip.streams import compress_with

    bar = _shows_bar(sink, arguments)
    with file_progress(label, _file_bytes(reader), bar=bar, quiet=arguments.quiet) as progress:
        return compress_with(compressor(arguments, progress), reader, sink)


def _decode(
    reader: BinaryIO, sink: BinaryIO, label: str, arguments: Arguments
) -> tuple[Totals, IntegrityError | None]:
    """Decompress; the error is that of a damaged file of which all was written that is sound, as
    was asked for.
    """
    from llmzip.salvage.repair import repair_stream
    from llmzip.streams import Totals, decompress_stream

    bar = _shows_bar(sink, arguments)
    with file_progress(
        label, _content_bytes(reader) if bar else None, bar=bar, quiet=arguments.quiet
    ) as progress:
        if not arguments.keep_going:
            with advising():
                totals = decompress_stream(
                    reader,
                    sink,
                    model=arguments.model,
                    dictionary=dictionary(arguments.dictionary),
                    max_memory=arguments.max_memory,
                    max_output=arguments.max_output,
                    runtime=arguments.runtime,
                    progress=progress.advance,
                )
            return totals, None
        report = repair_stream(
            reader,
            sink,
            join=arguments.join,
            sparse=isinstance(sink, Sink) and sink.draft is not None,
            model=arguments.model,
            dictionary=dictionary(arguments.dictionary),
            max_memory=arguments.max_memory,
            max_output=arguments.max_output,
            runtime=arguments.runtime,
            progress=progress.advance,
        )
    say_damages(label, report)
    loss = report_loss(report)
    if loss and not report.blocks:
        raise loss  # and so keep nothing
    return Totals(
        report.recovered_bytes, report.compressed_bytes, report.tokens, report.frames
    ), loss


@functools.cache
def dictionary(path: str | None) -> Dictionary | None:
    """The dictionary of --dictionary, the same object for all files: it is read only once."""
    if path is None:
        return None
    from llmzip.predictor.dictionary import Dictionary

    try:
        return Dictionary(Path(path).read_bytes())
    except OSError as error:
        raise LLMZipError(f"--dictionary {path}: {error.strerror}") from error


def _verify(original: BinaryIO, compressed: Path, arguments: Arguments) -> None:
    """Decode what was written and compare it with the source, which --rm is about to remove."""
    original.seek(0)
    with compressed.open("rb") as reader, files.Comparison(original) as comparison:
        _decode(reader, comparison, "verifying", arguments)
        comparison.finish()


@contextlib.contextmanager
def _output(source: Source, reader: BinaryIO, arguments: Arguments) -> Iterator[Sink]:
    """What the output of `source` is written to."""
    with _sink(output_of(source, arguments), source, reader, arguments) as sink:
        if arguments.action is Action.COMPRESS and sink.isatty() and not arguments.force:
            raise RefusalError(
                "compressed data is not written to a terminal (-o FILE, or -c -f; llmzip --help)"
            )
        if arguments.remove and sink.draft is None:
            raise RefusalError(
                "--rm needs an output that can be read back, "
                f"and {sink.label} is not a regular file"
            )
        yield sink


@contextlib.contextmanager
def _sink(
    target: Path | None, source: Source, reader: BinaryIO, arguments: Arguments
) -> Iterator[Sink]:
    if target is None:
        yield Sink(1, "stdout", closefd=False)
        return
    status = os.fstat(reader.fileno())
    like = status if source.path is not None and stat.S_ISREG(status.st_mode) else None
    with files.writing(target, force=arguments.force, like=like) as sink:
        yield sink


def _remove(source: Source, read: os.stat_result, arguments: Arguments) -> None:
    if arguments.remove and source.path is not None:
        files.remove_source(source.path, read)


def _finish(source: Source, totals: Totals, seconds: float, arguments: Arguments) -> None:
    interactive = sys.stderr.isatty() and source.path is not None and not arguments.stdout
    if not arguments.quiet and (arguments.verbose or interactive):
        say(f"{source.label}: {_summary(totals, seconds, arguments.action)}")


def _summary(totals: Totals, seconds: float, action: Action) -> str:
    sizes = [f"{totals.uncompressed_bytes:,}", f"{totals.compressed_bytes:,}"]
    text = " -> ".join(sizes if action is Action.COMPRESS else reversed(sizes)) + " bytes"
    if totals.uncompressed_bytes:
        text += f", {8 * totals.compressed_bytes / totals.uncompressed_bytes:.3f} bits/byte"
    text += f", {seconds:.1f} s"
    if totals.tokens and seconds:
        text += f", {totals.tokens / seconds:,.0f} tokens/s"
    return f"OK, {text}" if action is Action.TEST else text


def _shows_bar(sink: BinaryIO, arguments: Arguments) -> bool:
    """Whether there is a terminal for a bar, and no text that the bar would run through."""
    return arguments.progress and not arguments.quiet and can_be_shown() and not sink.isatty()


def _file_bytes(reader: BinaryIO) -> int | None:
    status = os.fstat(reader.fileno())
    return status.st_size - reader.tell() if stat.S_ISREG(status.st_mode) else None


def _content_bytes(reader: BinaryIO) -> int | None:
    """The uncompressed size of a file that can be read twice; an error in it is left for the
    decoder to report.
    """
    from llmzip.container.frame_info import list_frames

    if _file_bytes(reader) is None:
        return None
    start = reader.tell()
    try:
        return sum(frame.uncompressed_size for frame in list_frames(reader))
    except LLMZipError:
        return None
    finally:
        reader.seek(start)
