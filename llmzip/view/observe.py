"""Codes or decodes a file while it is watched."""

from __future__ import annotations

import dataclasses
import functools
import io

from llmzip.block_decoder import BlockDecoder
from llmzip.block_encoder import DEFAULT_OPTIONS, CompressionOptions
from llmzip.compressor import LLMZipCompressor
from llmzip.container.frame_reader import read_frames
from llmzip.container.header import MAGIC
from llmzip.engine_loader import EngineLoader
from llmzip.types import Progress
from llmzip.view.layout import Layout, layout_of
from llmzip.view.recorder import CodedTokens, Recorder


@dataclasses.dataclass(frozen=True)
class Observed:
    """A text, its compressed file, and what is known of both."""

    text: bytes
    packed_bytes: int
    layout: Layout
    payloads: list[CodedTokens]


def is_compressed(data: bytes) -> bool:
    """Whether the data begins as an llmzip file does."""
    return data.startswith(MAGIC)


def observe_text(
    text: bytes,
    options: CompressionOptions = DEFAULT_OPTIONS,
    loader: EngineLoader | None = None,
    progress: Progress | None = None,
) -> Observed:
    """Compress a text; what it raises is what `LLMZipCompressor` raises."""
    loader = loader or EngineLoader()
    recorder = Recorder(loader.for_compression)
    compressor = LLMZipCompressor.with_options(
        options,
        model=loader.model,
        dictionary=loader.dictionary,
        runtime=loader.runtime,
        progress=progress,
        observer=recorder,
    )
    packed = compressor.compress(text) + compressor.flush()
    layout = layout_of(packed, recorder.payloads)
    return Observed(text, len(packed), layout, recorder.payloads)


def observe_file(
    packed: bytes,
    loader: EngineLoader | None = None,
    *,
    max_memory: int | None = None,
    max_output: int | None = None,
    progress: Progress | None = None,
) -> Observed:
    """Decompress a file; what it raises is what `LLMZipDecompressor` raises, and FormatError where
    there is something behind the last frame.
    """
    loader = loader or EngineLoader()
    recorder = Recorder(loader.for_compression)
    decoder = BlockDecoder(
        loader,
        max_memory=max_memory,
        max_output=max_output,
        progress=progress,
        observer=recorder,
    )
    text = bytearray()
    for frame in read_frames(io.BytesIO(packed)):
        decoder.open_frame(frame.header)
        recorder.engine_of = functools.partial(loader.for_fingerprint, frame.header.fingerprint)
        for block in frame:
            data = decoder.decode(block)
            recorder.block(block)
            frame.add_content(data)
            text += data
        frame.verify_content()
    layout = layout_of(packed, recorder.payloads)
    return Observed(bytes(text), len(packed), layout, recorder.payloads)
