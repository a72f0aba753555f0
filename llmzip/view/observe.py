"""Codes or decodes a file while it is watched."""

from __future__ import annotations

import bisect
import dataclasses
import functools
import io

from llmzip.blocks.decoder import BlockDecoder
from llmzip.blocks.options import DEFAULT_OPTIONS, CompressionOptions
from llmzip.compressor import LLMZipCompressor
from llmzip.container.frame_reader import read_frames
from llmzip.container.header import MAGIC
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.types import Progress
from llmzip.view.layout import Layout, layout_of
from llmzip.view.recorder import CodedTokens, Recorder


@dataclasses.dataclass(frozen=True)
class Observed:
    """A text, its compressed file, and what is known of both."""

    text: bytes
    packed_bytes: int
    """Of the file; of a part of it those of its blocks, and of the frames that they are in."""
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
    span: range | None = None,
) -> Observed:
    """Decompress a file; what it raises is what `LLMZipDecompressor` raises, and FormatError where
    there is something behind the last frame.

    span: bytes of the content: only the blocks that hold some of them are shown, and besides them
    only those are decoded that these build on, in a solid frame. Raises LLMZipError where there is
    none.
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
    shown = None if span is None else _blocks_in(packed, span)
    number = 0
    for frame in read_frames(io.BytesIO(packed)):
        decoder.open_frame(frame.header)
        recorder.engine_of = functools.partial(loader.for_fingerprint, frame.header.fingerprint)
        for block in frame:
            is_shown = shown is None or number in shown
            if is_shown or (shown and frame.header.solid and number < shown.start):
                data = decoder.decode(block)
                before = len(recorder.payloads)
                recorder.block(block)
                if shown is None:
                    frame.add_content(data)
                if is_shown:
                    text += data
                else:
                    del recorder.payloads[before:]
            number += 1
        if shown is None:
            frame.verify_content()
    layout = layout_of(packed, recorder.payloads, shown)
    size = len(packed) if shown is None else layout.bytes
    return Observed(bytes(text), size, layout, recorder.payloads)


def _blocks_in(packed: bytes, span: range) -> range:
    """The numbers of the blocks that hold some of these bytes of the content."""
    ends: list[int] = []
    for frame in read_frames(io.BytesIO(packed)):
        for block in frame:
            ends.append((ends[-1] if ends else 0) + block.size)
    first, stop = bisect.bisect_right(ends, span.start), bisect.bisect_left(ends, span.stop) + 1
    blocks = range(first, min(stop, len(ends)))
    if not blocks:
        raise LLMZipError(f"it ends before byte {span.start:,}: it has {ends[-1] if ends else 0:,}")
    return blocks
