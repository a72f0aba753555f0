"""Compress, decompress and test one input."""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from llmzip.cli import files
from llmzip.cli.each import say
from llmzip.cli.files import RefusalError, Sink
from llmzip.cli.inputs import Source, reading
from llmzip.cli.plan import output_of
from llmzip.cli.progress import metering
from llmzip.cli.repair import advising, say_damages
from llmzip.cli.repair import loss as report_loss
from llmzip.cli.settings import Action, Settings
from llmzip.errors import IntegrityError, LLMZipError

if TYPE_CHECKING:
    from llmzip.predictor.prime import Prime
    from llmzip.streams import Totals

# llmzip.streams and llmzip.frames are imported where they are used: they bring the engines, which help and refusals do
# without.


def compress(source: Source, settings: Settings) -> None:
    """Compress one input."""
    with reading(source) as reader, _output(source, reader, settings) as sink:
        read = os.fstat(reader.fileno())
        begun = time.monotonic()
        totals = _encode(reader, sink, source.label, settings)
        seconds = time.monotonic() - begun
        if settings.remove and source.path is not None and sink.draft is not None:
            _verify(reader, sink.draft, settings)
    _remove(source, read, settings)
    _finish(source, totals, seconds, settings)


def decompress(source: Source, settings: Settings) -> None:
    """Decompress one input; what --rm then removes was checked against its checksums on the way."""
    with reading(source) as reader, _output(source, reader, settings) as sink:
        read = os.fstat(reader.fileno())
        begun = time.monotonic()
        totals, loss = _decode(reader, sink, source.label, settings)
        seconds = time.monotonic() - begun
    if loss:
        raise loss
    _remove(source, read, settings)
    _finish(source, totals, seconds, settings)


def test(source: Source, settings: Settings) -> None:
    """Decompress one input to nowhere."""
    begun = time.monotonic()
    with reading(source) as reader, Path(os.devnull).open("wb") as sink:
        totals, loss = _decode(reader, sink, source.label, settings)
    if loss:
        raise loss
    _finish(source, totals, time.monotonic() - begun, settings)


def _encode(reader: BinaryIO, sink: BinaryIO, label: str, settings: Settings) -> Totals:
    from llmzip.streams import compress_stream

    bar = _shows_bar(sink, settings)
    with metering(label, _file_bytes(reader), bar=bar, quiet=settings.quiet) as meter:
        return compress_stream(
            reader,
            sink,
            level=settings.level,
            model=settings.model,
            offline=settings.offline,
            fetch=not settings.offline,
            fetch_progress=meter.fetch,
            block_size=settings.block_size,
            codec=settings.codec,
            memory=not settings.no_memory,
            solid=settings.solid,
            prime=prime(settings.prime),
            threads=settings.threads,
            device=settings.device,
            engine=settings.engine,
            progress=meter.advance,
        )


def _decode(reader: BinaryIO, sink: BinaryIO, label: str, settings: Settings) -> tuple[Totals, IntegrityError | None]:
    """Decompress; the error is that of a damaged file of which all was written that is sound, as was asked for."""
    from llmzip.salvage.repair import repair_stream
    from llmzip.streams import Totals, decompress_stream

    bar = _shows_bar(sink, settings)
    with metering(label, _content_bytes(reader) if bar else None, bar=bar, quiet=settings.quiet) as meter:
        options = {
            "model": settings.model,
            "prime": prime(settings.prime),
            "threads": settings.threads,
            "device": settings.device,
            "engine": settings.engine,
            "max_memory": settings.memory,
            "max_output": settings.max_output,
            "progress": meter.advance,
        }
        if not settings.keep_going:
            with advising():
                return decompress_stream(reader, sink, **options), None  # type: ignore[arg-type]
        sparse = isinstance(sink, Sink) and sink.draft is not None
        report = repair_stream(reader, sink, join=settings.join, sparse=sparse, **options)  # type: ignore[arg-type]
    say_damages(label, report)
    loss = report_loss(report)
    if loss and not report.blocks:
        raise loss  # and so keep nothing
    return Totals(report.recovered_bytes, report.compressed_bytes, report.tokens, report.frames), loss


@functools.cache
def prime(path: str | None) -> Prime | None:
    """The reference text of --prime, the same object for all files: it is read only once."""
    from llmzip.predictor.prime import Prime

    if path is None:
        return None
    try:
        return Prime(Path(path).read_bytes())
    except OSError as error:
        raise LLMZipError(f"--prime {path}: {error.strerror}") from error


def _verify(original: BinaryIO, compressed: Path, settings: Settings) -> None:
    """Decode what was written and compare it with the source, which --rm is about to remove."""
    original.seek(0)
    with compressed.open("rb") as reader, files.Comparison(original) as comparison:
        _decode(reader, comparison, "verifying", settings)
        comparison.finish()


@contextlib.contextmanager
def _output(source: Source, reader: BinaryIO, settings: Settings) -> Iterator[Sink]:
    """What the output of `source` is written to."""
    with _sink(output_of(source, settings), source, reader, settings) as sink:
        if settings.action is Action.COMPRESS and sink.isatty() and not settings.force:
            raise RefusalError("compressed data is not written to a terminal (-o FILE, or -c -f; llmzip --help)")
        if settings.remove and sink.draft is None:
            raise RefusalError(f"--rm needs an output that can be read back, and {sink.label} is not a regular file")
        yield sink


@contextlib.contextmanager
def _sink(target: Path | None, source: Source, reader: BinaryIO, settings: Settings) -> Iterator[Sink]:
    if target is None:
        yield Sink(1, "stdout", closefd=False)
        return
    status = os.fstat(reader.fileno())
    like = status if source.path is not None and stat.S_ISREG(status.st_mode) else None
    with files.writing(target, force=settings.force, like=like) as sink:
        yield sink


def _remove(source: Source, read: os.stat_result, settings: Settings) -> None:
    if settings.remove and source.path is not None:
        files.remove_source(source.path, read)


def _finish(source: Source, totals: Totals, seconds: float, settings: Settings) -> None:
    interactive = sys.stderr.isatty() and source.path is not None and not settings.stdout
    if not settings.quiet and (settings.verbose or interactive):
        say(f"{source.label}: {_summary(totals, seconds, settings.action)}")


def _summary(totals: Totals, seconds: float, action: Action) -> str:
    sizes = [f"{totals.uncompressed_bytes:,}", f"{totals.compressed_bytes:,}"]
    text = " -> ".join(sizes if action is Action.COMPRESS else reversed(sizes)) + " bytes"
    if totals.uncompressed_bytes:
        text += f", {8 * totals.compressed_bytes / totals.uncompressed_bytes:.3f} bits/byte"
    text += f", {seconds:.1f} s"
    if totals.tokens and seconds:
        text += f", {totals.tokens / seconds:,.0f} tokens/s"
    return f"OK, {text}" if action is Action.TEST else text


def _shows_bar(sink: BinaryIO, settings: Settings) -> bool:
    """Whether there is a terminal for a bar, and no text that the bar would run through."""
    return settings.progress and not settings.quiet and sys.stderr.isatty() and not sink.isatty()


def _file_bytes(reader: BinaryIO) -> int | None:
    status = os.fstat(reader.fileno())
    return status.st_size - reader.tell() if stat.S_ISREG(status.st_mode) else None


def _content_bytes(reader: BinaryIO) -> int | None:
    """The uncompressed size of a file that can be read twice; an error in it is left for the decoder to report."""
    from llmzip.frames import list_frames

    if _file_bytes(reader) is None:
        return None
    start = reader.tell()
    try:
        return sum(frame.uncompressed_size for frame in list_frames(reader))
    except LLMZipError:
        return None
    finally:
        reader.seek(start)
