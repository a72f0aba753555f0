"""llmzip: lossless text compression with a language model whose arithmetic is exact.

>>> import llmzip
>>> packed = llmzip.compress(b"To be, or not to be, that is the question.")
>>> llmzip.decompress(packed)
b'To be, or not to be, that is the question.'
"""

from __future__ import annotations

import io

from llmzip.buffers import Buffer, flat
from llmzip.compressor import LLMZipCompressor
from llmzip.container.frame_info import FrameInfo, FrameSummary, get_frame_info, list_frames
from llmzip.decompressor import LLMZipDecompressor
from llmzip.engine_loader import DictionaryLike, ModelLike
from llmzip.errors import (
    DictionaryError,
    FormatError,
    IntegrityError,
    LimitError,
    LLMZipError,
    ModelError,
    ModelMismatchError,
    ModelNotFoundError,
    TruncatedError,
    UnsupportedModelError,
)
from llmzip.file import LLMZipFile
from llmzip.levels import DEFAULT_LEVEL, MAX_LEVEL, MIN_LEVEL, chosen_level
from llmzip.open_file import open
from llmzip.predictor.dictionary import Dictionary
from llmzip.runtime import Runtime
from llmzip.salvage.repair import Damage, RepairReport, repair_stream
from llmzip.streams import compress_stream, decompress_stream
from llmzip.types import Progress

__all__ = [
    "DEFAULT_LEVEL",
    "MAX_LEVEL",
    "MIN_LEVEL",
    "Damage",
    "Dictionary",
    "DictionaryError",
    "FormatError",
    "FrameInfo",
    "FrameSummary",
    "IntegrityError",
    "LLMZipCompressor",
    "LLMZipDecompressor",
    "LLMZipError",
    "LLMZipFile",
    "LimitError",
    "ModelError",
    "ModelMismatchError",
    "ModelNotFoundError",
    "RepairReport",
    "Runtime",
    "TruncatedError",
    "UnsupportedModelError",
    "compress",
    "compress_stream",
    "decompress",
    "decompress_stream",
    "get_frame_info",
    "list_frames",
    "open",
    "repair_stream",
]


def compress(
    data: Buffer,
    level: int | None = None,
    *,
    compresslevel: int | None = None,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    codec: str | None = None,
    mixing: bool = True,
    solid: bool = False,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> bytes:
    """Compress bytes into one stream; arguments as for `LLMZipCompressor`. compresslevel: gzip's name for the level.

    Raises TypeError for a str, ValueError for a bad level, ModelNotFoundError where the model is not installed.
    """
    compressor = LLMZipCompressor(
        chosen_level(level, compresslevel),
        model=model,
        dictionary=dictionary,
        block_size=block_size,
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
        io.BytesIO(flat(data)),
        out,
        model=model,
        dictionary=dictionary,
        max_memory=max_memory,
        max_output=max_output,
        runtime=runtime,
        progress=progress,
    )
    return out.getvalue()
