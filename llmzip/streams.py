"""Whole streams from one binary file to another, in bounded memory."""

from __future__ import annotations

import dataclasses
from typing import BinaryIO

from llmzip.blocks.decoder import BlockDecoder
from llmzip.buffers import check_file, write_all
from llmzip.compressor import LLMZipCompressor
from llmzip.container.varint import ready
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.frame_stream import FrameStream
from llmzip.runtime import Runtime
from llmzip.types import Progress

_READ_BYTES = 1 << 18


@dataclasses.dataclass(frozen=True)
class Totals:
    """What a finished stream amounted to."""

    uncompressed_bytes: int
    compressed_bytes: int
    tokens: int
    frames: int


def compress_stream(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    level: int | None = None,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    block_lines: int | None = None,
    codec: str | None = None,
    mixing: bool = True,
    solid: bool = False,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Compress everything that `source` yields into `sink`; arguments as for `LLMZipCompressor`.

    Raises TypeError for what is no binary file, and what `LLMZipCompressor` raises.
    """
    check_file(source, "read", "compress_stream")
    check_file(sink, "write", "compress_stream")
    compressor = LLMZipCompressor(
        level,
        model=model,
        dictionary=dictionary,
        block_size=block_size,
        block_lines=block_lines,
        codec=codec,
        mixing=mixing,
        solid=solid,
        runtime=runtime,
        progress=progress,
    )
    return compress_with(compressor, source, sink)


def compress_with(compressor: LLMZipCompressor, source: BinaryIO, sink: BinaryIO) -> Totals:
    """Compress everything that `source` yields into `sink`, and end the stream."""
    read = written = 0
    while data := ready(source.read(_READ_BYTES)):
        read += len(data)
        packed = compressor.compress(data)
        write_all(sink, packed)
        written += len(packed)
    packed = compressor.flush()
    write_all(sink, packed)
    return Totals(read, written + len(packed), compressor.tokens, compressor.frames)


def decompress_stream(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Decompress all frames of `source` into `sink`; arguments as for `LLMZipDecompressor`.

    A block is written once its own check holds; an error after that leaves output behind that the
    caller must discard. Raises LLMZipError: TruncatedError for an empty source, FormatError for
    trailing junk, and so on; TypeError for what is no binary file.
    """
    check_file(source, "read", "decompress_stream")
    check_file(sink, "write", "decompress_stream")
    loader = EngineLoader.of(model, dictionary, runtime)
    decoder = BlockDecoder(
        loader,
        max_memory=max_memory,
        max_output=max_output,
        progress=progress,
        wants_all=True,
    )
    return decompress_with(decoder, source, sink)


def decompress_with(decoder: BlockDecoder, source: BinaryIO, sink: BinaryIO) -> Totals:
    """Decompress all frames of `source` into `sink`, as `decompress_stream` does."""
    stream = FrameStream(source, decoder)
    while stream.load():
        write_all(sink, stream.data)
    return Totals(
        decoder.progress_counter.bytes,
        stream.compressed_bytes,
        decoder.progress_counter.tokens,
        stream.frames,
    )
