"""Compress, decompress and test one input."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from llmzip.cli import files, folders
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.files import RefusalError, Sink
from llmzip.cli.inputs import Source, reading
from llmzip.cli.messages import say
from llmzip.cli.pieces import sampled_work
from llmzip.cli.plan import output_of
from llmzip.cli.progress import FileProgress, file_progress
from llmzip.cli.restore import decode, dictionary, file_bytes, restore, shows_bar
from llmzip.cli.targets import with_level

if TYPE_CHECKING:
    from llmzip.blocks.local_encoder import KnownTexts
    from llmzip.cli.short_files import ShortFiles
    from llmzip.compressor import LLMZipCompressor
    from llmzip.streams import Totals

# llmzip.streams is imported where it is used: it brings the engines, which help and refusals do
# without.


def compress(source: Source, arguments: Arguments, short: ShortFiles) -> None:
    """Compress one input."""
    with reading(source) as reader, _output(source, reader, arguments) as sink:
        read = os.fstat(reader.fileno())
        begun = time.monotonic()
        totals = _encode(reader, sink, source.label, arguments, short.known_texts)
        seconds = time.monotonic() - begun + short.seconds_of(source)
        if arguments.remove and source.path is not None and sink.draft is not None:
            _verify(reader, sink.draft, arguments)
    _remove(source, read, arguments)
    _finish(source, totals, seconds, arguments)
    _say_partial(source, arguments)


def decompress(source: Source, arguments: Arguments, short: ShortFiles) -> None:
    """Decompress one input; what --rm then removes was checked against its checksums on the way."""
    with reading(source) as reader, _output(source, reader, arguments) as sink:
        read = os.fstat(reader.fileno())
        begun = time.monotonic()
        with sink.sparse() if arguments.sparse else contextlib.nullcontext():
            restored = restore(reader, sink, source.label, arguments, short.known)
        seconds = time.monotonic() - begun + short.seconds_of(source)
    if restored is None:
        return
    totals, loss = restored
    if loss:
        raise loss
    _remove(source, read, arguments)
    _finish(source, totals, seconds, arguments)


def test(source: Source, arguments: Arguments, short: ShortFiles) -> None:
    """Decompress one input to nowhere."""
    begun = time.monotonic()
    with reading(source) as reader, Path(os.devnull).open("wb") as sink:
        totals, loss = decode(reader, sink, source.label, arguments, short.known)
    if loss:
        raise loss
    seconds = time.monotonic() - begun + short.seconds_of(source)
    _finish(source, totals, seconds, arguments)


def compressor(
    arguments: Arguments,
    progress: FileProgress | None = None,
    known: KnownTexts | None = None,
) -> LLMZipCompressor:
    """A compressor as the command line asks for it; known: short contents that it may be given.

    Raises ValueError for options that exclude each other or are out of range.
    """
    from llmzip.compressor import LLMZipCompressor

    shown = progress or FileProgress(None, None)
    return LLMZipCompressor.with_options(
        arguments.options,
        model=arguments.model,
        dictionary=dictionary(arguments),
        runtime=dataclasses.replace(arguments.runtime, download_progress=shown.download),
        progress=shown.advance,
        known=known,
    )


def _encode(
    reader: BinaryIO, sink: BinaryIO, label: str, arguments: Arguments, known_texts: KnownTexts
) -> Totals:
    from llmzip.cli import resume
    from llmzip.streams import compress_with

    bar = shows_bar(sink, arguments)
    size = file_bytes(reader)
    work = sampled_work(reader, size) if bar else None
    with file_progress(label, size, bar=bar, quiet=arguments.quiet, work=work) as progress:
        arguments = with_level(reader, label, arguments, progress)
        made = compressor(arguments, progress, known_texts)
        if not arguments.resume:
            return compress_with(made, reader, sink)
        assert isinstance(sink, resume.PartialSink)
        known = dictionary(arguments)
        return resume.compress(
            made,
            dataclasses.asdict(arguments.options),
            known.content if known else None,
            reader,
            sink,
        )


def _verify(original: BinaryIO, compressed: Path, arguments: Arguments) -> None:
    """Decode what was written and compare it with the source, which --rm is about to remove."""
    original.seek(0)
    with compressed.open("rb") as reader, files.Comparison(original) as comparison:
        decode(reader, comparison, "verifying", arguments)
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
    if target is None and arguments.resume:
        raise RefusalError("--resume needs an output file: name it with -o FILE")
    if target is None:
        yield Sink(1, "stdout", closefd=False)
        return
    if arguments.output_dir and source.path is not None:
        folders.make_for(target, Path(arguments.output_dir), source.path)
    status = os.fstat(reader.fileno())
    like = status if source.path is not None and stat.S_ISREG(status.st_mode) else None
    if arguments.resume:
        from llmzip.cli import resume

        if like is None:
            raise RefusalError("--resume needs a regular file to read")
        with resume.writing(target, force=arguments.force, like=like) as partial:
            yield partial
        return
    with files.writing(target, force=arguments.force, like=like) as sink:
        yield sink


def _say_partial(source: Source, arguments: Arguments) -> None:
    """Tell of what an interrupted run with --resume has left beside a file that is whole now. It
    stays: another process may be at work on it, and it may be hours of work.
    """
    target = output_of(source, arguments)
    if arguments.resume or arguments.quiet or target is None:
        return
    partial = target.with_name(target.name + files.PARTIAL)
    if partial.exists():
        say(
            f"{partial}: is of a run with --resume that was interrupted; "
            f"remove it and {target.name}{files.PARTIAL_STATE} if it is not to go on"
        )


def _remove(source: Source, read: os.stat_result, arguments: Arguments) -> None:
    if arguments.remove and source.path is not None:
        files.remove_source(source.path, read)


def _finish(source: Source, totals: Totals, seconds: float, arguments: Arguments) -> None:
    interactive = sys.stderr.isatty() and source.path is not None and not arguments.stdout
    if not arguments.quiet and (arguments.verbose or interactive):
        say(f"{source.label}: {_summary(totals, seconds, arguments.action)}")


def _summary(totals: Totals, seconds: float, action: Action) -> str:
    sizes = [f"{totals.uncompressed_bytes:,}", f"{totals.compressed_bytes:,}"]
    sizes = sizes if action is Action.COMPRESS else sizes[::-1]
    text = " -> ".join(sizes) + (" byte" if sizes[-1] == "1" else " bytes")
    if totals.uncompressed_bytes:
        text += f", {8 * totals.compressed_bytes / totals.uncompressed_bytes:.3f} bits/byte"
    text += f", {seconds:.1f} s"
    if totals.tokens and seconds:
        text += f", {totals.tokens / seconds:,.0f} tokens/s"
    return f"OK, {text}" if action is Action.TEST else text
