"""Whole messages in one call."""

from __future__ import annotations

import io

from llmzip.buffers import Buffer, flat
from llmzip.compressor import LLMZipCompressor
from llmzip.engine_loader import DictionaryLike, ModelLike
from llmzip.levels import chosen_level
from llmzip.runtime import Runtime
from llmzip.streams import decompress_stream
from llmzip.types import Progress


def compress(
    data: Buffer,
    level: int | None = None,
    *,
    compresslevel: int | None = None,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    block_lines: int | None = None,
    codec: str | None = None,
    mixing: bool = True,
    solid: bool = False,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Compress bytes into one stream; arguments as for `LLMZipCompressor`.

    compresslevel: gzip's name for the level.

    Raises TypeError for a str, ValueError for a bad level, ModelNotFoundError where the model is
    not installed.
    """
    compressor = LLMZipCompressor(
        chosen_level(level, compresslevel),
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
    return compressor.compress(data) + compressor.flush()


def decompress(
    data: Buffer,
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Decompress one or more frames; arguments as for `LLMZipDecompressor`.

    Raises LLMZipError: TruncatedError, FormatError, IntegrityError, ModelNotFoundError, LimitError.
    """
    out = io.BytesIO()
    decompress_stream(
        io.BytesIO(flat(data, "decompress")),
        out,
        model=model,
        dictionary=dictionary,
        max_memory=max_memory,
        max_output=max_output,
        runtime=runtime,
        progress=progress,
    )
    return out.getvalue()
