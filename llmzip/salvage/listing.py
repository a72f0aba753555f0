"""Lists the frames of a damaged file as far as they can be read."""

from __future__ import annotations

from typing import BinaryIO

from llmzip.container.checks import is_short
from llmzip.container.frame_info import FrameSummary, codec_name, content_check_name
from llmzip.container.header import VERSION, FrameHeader
from llmzip.engine_loader import EngineLoader
from llmzip.salvage.frames import FoundFrame, survey_frames
from llmzip.salvage.headers import HeaderGuesses

MISSING = "missing"
"""Stands for the codec of a block that is damaged or absent."""


def list_damaged_frames(file: BinaryIO) -> list[FrameSummary]:
    """Summaries of the frames found in a seekable file; unknown sizes count as 0."""
    frames = survey_frames(file, HeaderGuesses(EngineLoader()))
    return [_info(frame) for frame in frames if frame.is_frame]


def _info(frame: FoundFrame) -> FrameSummary:
    header = frame.header.header if frame.header else FrameHeader(False, 0)
    parts = [slot for slot in (frame.header, *frame.slots, frame.end) if slot is not None]
    size = sum(slot.size or 0 for slot in frame.slots)
    codecs = (codec_name(slot.block.codec) if slot.block else MISSING for slot in frame.slots)
    return FrameSummary(
        version=VERSION,
        compressed_size=max(part.end for part in parts) - min(part.offset for part in parts),
        uncompressed_size=size,
        blocks=len(frame.slots),
        model=header.fingerprint.hex() or None,
        check=content_check_name(is_short(header.single_block, size)),
        memory=header.memory,
        dictionary_id=header.dictionary_id.hex() or None,
        solid=header.solid,
        codecs=tuple(codecs),
    )
