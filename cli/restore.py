"""The content of one input: decoded, a span of it, or as it is."""

from __future__ import annotations

import functools
import io
import os
import shutil
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from llmzip.cli.arguments import Arguments
from llmzip.cli.bar import can_be_shown
from llmzip.cli.files import RefusalError, Sink
from llmzip.cli.inputs import Source, is_compressed, reading
from llmzip.cli.progress import dictionary_progress, file_progress
from llmzip.cli.repair import advising, refuse_archive, say_damages
from llmzip.cli.repair import loss as report_loss
from llmzip.errors import IntegrityError, LLMZipError

if TYPE_CHECKING:
    from llmzip.blocks.local_decoder import KnownBlocks
    from llmzip.engine_loader import EngineLoader
    from llmzip.predictor.dictionary import Dictionary
    from llmzip.streams import Totals

# llmzip.streams is imported where it is used: it brings the engines, which help and refusals do
# without.


def pour(source: Source, sink: Sink, arguments: Arguments) -> None:
    """Write the content of one input."""
    with reading(source) as reader:
        restore(reader, sink, source.label, arguments)


def restore(
    reader: io.BufferedReader,
    sink: Sink,
    label: str,
    arguments: Arguments,
    known: KnownBlocks | None = None,
) -> tuple[Totals, IntegrityError | None] | None:
    """Decompress as `decode` does; None where a file that is not compressed has been copied, or a
    part of one written, as was asked for.
    """
    compressed = True
    if arguments.copies_others:
        compressed, reader = is_compressed(reader)
    if not compressed and not arguments.has_span:
        shutil.copyfileobj(reader, sink)
        return None
    if arguments.has_span:
        _write_span(reader, sink, arguments, compressed)
        return None
    return decode(reader, sink, label, arguments, known)


def _write_span(
    reader: io.BufferedReader, sink: Sink, arguments: Arguments, compressed: bool
) -> None:
    """Write some lines or bytes of the content."""
    from llmzip.cli import ranges
    from llmzip.container.seek_table import SeekTable
    from llmzip.file import LLMZipFile

    content: io.BufferedIOBase = reader
    if compressed:
        content = LLMZipFile(
            reader,
            model=arguments.model,
            dictionary=dictionary(arguments),
            max_memory=arguments.max_memory,
            max_output=arguments.max_output,
            runtime=arguments.runtime,
        )
    with advising():
        if arguments.bytes is not None:
            ranges.copy_bytes(content, sink, arguments.bytes)
        elif arguments.lines is not None:
            if arguments.lines_per_block and compressed:
                if not reader.seekable():
                    raise RefusalError("--block-lines needs a file that can be read anywhere")
                ranges.copy_lines_of_blocks(
                    content, sink, arguments.lines, SeekTable(reader), arguments.lines_per_block
                )
            else:
                ranges.copy_lines(content, sink, arguments.lines)


def decode(
    reader: io.BufferedReader,
    sink: BinaryIO,
    label: str,
    arguments: Arguments,
    known: KnownBlocks | None = None,
) -> tuple[Totals, IntegrityError | None]:
    """Decompress; the error is that of a damaged file of which all was written that is sound, as
    was asked for. known: blocks that have been decoded.
    """
    from llmzip.blocks.decoder import BlockDecoder
    from llmzip.salvage.repair import repair_stream
    from llmzip.streams import Totals, decompress_with

    bar = shows_bar(sink, arguments)
    with file_progress(
        label, _content_bytes(reader) if bar else None, bar=bar, quiet=arguments.quiet
    ) as progress:
        if not arguments.keep_going:
            with advising():
                decoder = BlockDecoder(
                    loader(arguments),
                    max_memory=arguments.max_memory,
                    max_output=arguments.max_output,
                    progress=progress.advance,
                    wants_all=True,
                    known=known,
                )
                totals = decompress_with(decoder, reader, sink)
            return totals, None
        refuse_archive(reader)
        report = repair_stream(
            reader,
            sink,
            join=arguments.join,
            sparse=arguments.sparse and isinstance(sink, Sink) and sink.draft is not None,
            model=arguments.model,
            dictionary=dictionary(arguments),
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


def loader(arguments: Arguments) -> EngineLoader:
    """The loader of the model, the dictionary and the engine that the options name."""
    from llmzip.engine_loader import EngineLoader

    return EngineLoader.of(arguments.model, dictionary(arguments), arguments.runtime)


def dictionary(arguments: Arguments) -> Dictionary | None:
    """The dictionary of --dictionary, the same object for all files: it is read only once."""
    if arguments.dictionary is None:
        return None
    return _dictionary(arguments.dictionary, may_show(arguments))


@functools.cache
def _dictionary(path: str, bar: bool) -> Dictionary:
    from llmzip.predictor.dictionary import Dictionary

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise LLMZipError(f"--dictionary {path}: {error.strerror}") from error
    return Dictionary(content, progress=dictionary_progress() if bar else None)


def shows_bar(sink: BinaryIO, arguments: Arguments) -> bool:
    """Whether there is a terminal for a bar, and no text that the bar would run through."""
    return may_show(arguments) and not sink.isatty()


def may_show(arguments: Arguments) -> bool:
    """Whether bars are wanted, and there is a terminal for them."""
    return arguments.progress and not arguments.quiet and can_be_shown()


def file_bytes(reader: BinaryIO) -> int | None:
    """The bytes from here to the end; None where that is no regular file."""
    status = os.fstat(reader.fileno())
    return status.st_size - reader.tell() if stat.S_ISREG(status.st_mode) else None


def _content_bytes(reader: BinaryIO) -> int | None:
    """The uncompressed size of a file that can be read twice; an error in it is left for the
    decoder to report.
    """
    from llmzip.container.frame_info import list_frames

    if file_bytes(reader) is None:
        return None
    start = reader.tell()
    try:
        return sum(frame.uncompressed_size for frame in list_frames(reader))
    except LLMZipError:
        return None
    finally:
        reader.seek(start)
