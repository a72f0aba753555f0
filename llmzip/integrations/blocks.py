"""One block as a function of bytes, for what maps functions over records: Spark, Dask, a shell.

Blocks do not depend on each other, so frames of one block each, joined in their order, are a file
that `llmzip -d` reads.
"""

from __future__ import annotations

import llmzip
from llmzip.blocks.options import DEFAULT_OPTIONS, CompressionOptions
from llmzip.compressor import LLMZipCompressor
from llmzip.engine_loader import DictionaryLike, ModelLike
from llmzip.errors import LimitError
from llmzip.runtime import Runtime


def encode_block(
    data: bytes,
    options: CompressionOptions = DEFAULT_OPTIONS,
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    runtime: Runtime | None = None,
) -> bytes:
    """A frame of the data: one block, or some where the data turns from text into binary.

    The same bytes give the same frame in any process, on any machine, whatever the runtime. The
    engine stays loaded for the next call. Raises LimitError for more data than the block size, and
    what `LLMZipCompressor` raises.
    """
    compressor = LLMZipCompressor.with_options(
        options, model=model, dictionary=dictionary, runtime=runtime
    )
    if len(data) > compressor.block_size:
        raise LimitError(
            f"{len(data):,} bytes are more than a block of {compressor.block_size:,}: cut the data "
            "into smaller pieces, or choose a larger block size"
        )
    return compressor.compress(data) + compressor.flush()


def decode_block(
    frame: bytes,
    *,
    dictionary: DictionaryLike | None = None,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
) -> bytes:
    """The data of a frame, or of several, its check verified. Raises what `llmzip.decompress`
    raises.
    """
    return llmzip.decompress(
        frame,
        dictionary=dictionary,
        max_memory=max_memory,
        max_output=max_output,
        runtime=runtime,
    )
