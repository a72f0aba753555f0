"""Files anywhere that fsspec reads and writes: s3://, gs://, memory://, file:// and so on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import BinaryIO

from llmzip.blocks.options import DEFAULT_OPTIONS, CompressionOptions
from llmzip.compressor import LLMZipCompressor
from llmzip.engine_loader import DictionaryLike, ModelLike
from llmzip.errors import LLMZipError
from llmzip.extras import needing
from llmzip.runtime import Runtime
from llmzip.streams import Totals, compress_with, decompress_stream
from llmzip.types import Progress


def compress_url(
    source: str,
    target: str,
    options: CompressionOptions = DEFAULT_OPTIONS,
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Compress one file into another; arguments as for `LLMZipCompressor`, pools included.

    The target appears whole or not at all; what was there is replaced. Raises LLMZipError for
    protocols that nothing installed knows, OSError, and what `LLMZipCompressor` raises.
    """
    compressor = LLMZipCompressor.with_options(
        options, model=model, dictionary=dictionary, runtime=runtime, progress=progress
    )
    with _files(source, target) as (reader, writer):
        return compress_with(compressor, reader, writer)


def decompress_url(
    source: str,
    target: str,
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Totals:
    """Decompress one file into another; arguments as for `decompress_stream`.

    The target appears whole or not at all. Raises as `compress_url` and `decompress_stream` do.
    """
    with _files(source, target) as (reader, writer):
        return decompress_stream(
            reader,
            writer,
            model=model,
            dictionary=dictionary,
            max_memory=max_memory,
            max_output=max_output,
            runtime=runtime,
            progress=progress,
        )


@contextlib.contextmanager
def _files(source: str, target: str) -> Iterator[tuple[BinaryIO, BinaryIO]]:
    with needing("ray", "storage by URL"):
        import fsspec
    try:
        from_system, from_path = fsspec.core.url_to_fs(source)
        system, path = fsspec.core.url_to_fs(target)
    except (ImportError, ValueError) as error:
        raise LLMZipError(f"{source} or {target}: {error}") from error
    # What a transaction writes has its name only when it ends well.
    with (
        from_system.open(from_path, "rb") as reader,
        system.transaction,
        system.open(path, "wb") as writer,
    ):
        yield reader, writer
