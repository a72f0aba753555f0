"""Recovers a damaged file: decodes its sound blocks, each to its position in the content."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

import xxhash

from llmzip.blocks.decoder import BlockDecoder
from llmzip.buffers import check_file, write_all
from llmzip.codecs.long_distance import parse_payload
from llmzip.container.block import Block, read_block
from llmzip.container.checks import content_check, is_short
from llmzip.container.codec_ids import CodecId
from llmzip.container.header import FrameHeader
from llmzip.container.varint import ByteReader
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.errors import LimitError, LLMZipError, ModelNotFoundError, TruncatedError
from llmzip.limits import FREE_OUTPUT, OUTPUT_PER_BYTE
from llmzip.runtime import Runtime
from llmzip.salvage.frames import FoundFrame, Slot, survey_frames
from llmzip.salvage.headers import NOTHING_STATED, HeaderGuesses
from llmzip.salvage.parts import BlockPart
from llmzip.salvage.report import Damage, RepairReport
from llmzip.types import Progress

_ZEROS = bytes(1 << 16)


def repair_stream(
    source: BinaryIO,
    sink: BinaryIO,
    *,
    join: bool = False,
    sparse: bool = False,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> RepairReport:
    """Write what can be had of `source`, sound or damaged, to `sink`; arguments as for
    `decompress_stream`.

    Missing content of known length is zeros, with `sparse` holes of the output file, with `join`
    nothing; of unknown length it is nothing. Damage is no error: the report names it. A source that
    cannot seek is copied first.

    Raises TruncatedError for an empty source, LimitError where the content with its holes exceeds
    max_output, TypeError for what is no binary file, and what reading and writing raise.
    """
    check_file(source, "read", "repair_stream")
    check_file(sink, "write", "repair_stream")
    loader = EngineLoader.of(model, dictionary, runtime)
    with _seekable(source) as file:
        salvage = _Salvage(
            file, _Output(sink, join, sparse), loader, max_memory, max_output, progress
        )
        return salvage.run()


class _Output:
    """Writes the content, and zeros, holes or nothing for what is missing of it."""

    def __init__(self, sink: BinaryIO, join: bool, sparse: bool) -> None:
        self._sink = sink
        self._join = join
        self._sparse = sparse
        self.position = 0
        """In the content, with the holes whose length is known."""

    def write(self, data: bytes) -> None:
        write_all(self._sink, data)
        self.position += len(data)

    def skip(self, size: int) -> None:
        self.position += size
        if self._join:
            return
        if self._sparse:
            self._sink.seek(size, os.SEEK_CUR)
            return
        for done in range(0, size, len(_ZEROS)):
            write_all(self._sink, _ZEROS[: size - done])

    def finish(self) -> None:
        if self._sparse:
            self._sink.truncate()  # as long as it is with a hole at the end


class _Salvage:
    """The recovery of one file."""

    def __init__(
        self,
        file: BinaryIO,
        output: _Output,
        loader: EngineLoader,
        max_memory: int | None,
        max_output: int | None,
        progress: Progress | None,
    ) -> None:
        self._file = file
        self._output = output
        self._loader = loader
        self._max_memory = max_memory
        self._max_output = max_output
        self._guesses = HeaderGuesses(loader)
        self._decoder = BlockDecoder(
            loader, max_memory=max_memory, max_output=max_output, progress=progress
        )
        self._blocks = 0
        self._damages: list[Damage] = []
        self._verified = True

    def run(self) -> RepairReport:
        frames = survey_frames(self._file, self._guesses)
        if not frames:
            raise TruncatedError("the data is empty: not an llmzip file")
        total = sum(slot.size or 0 for frame in frames for slot in frame.slots)
        self._file.seek(0, os.SEEK_END)
        size = self._file.tell()
        limit = (
            FREE_OUTPUT + OUTPUT_PER_BYTE * size if self._max_output is None else self._max_output
        )
        if total > limit:
            raise LimitError(
                f"the output, {total} bytes with its holes, exceeds the limit of {limit} bytes; "
                "raise the limit (--max-output, or max_output in Python)"
            )
        for frame in frames:
            self._frame(frame)
        self._output.finish()
        return RepairReport(
            frames=sum(frame.is_frame for frame in frames),
            blocks=self._blocks,
            recovered_bytes=self._decoder.progress_counter.bytes,
            compressed_bytes=size,
            tokens=self._decoder.progress_counter.tokens,
            damages=tuple(self._damages),
            verified=self._verified,
        )

    # ---- one frame -------------------------------------------------------------------------------

    def _frame(self, frame: FoundFrame) -> None:
        for flaw in frame.flaws:
            self._damages.append(
                Damage(flaw.offset, flaw.end, self._output.position, 0, flaw.reason)
            )
        if not frame.is_frame:
            for slot in frame.slots:
                self._miss(slot, slot.reason)
            self._verified &= not frame.slots
            return
        start = self._output.position
        try:
            header = self._header_for(frame)
            self._decoder.open_frame(header)
        except LLMZipError as error:
            self._verified = False
            for slot in frame.slots:
                self._miss(slot, slot.reason or str(error))
            return
        state = xxhash.xxh3_64()
        whole = True
        for slot in frame.slots:
            data = self._decoded(slot, header, whole)
            if data is not None:
                state.update(data)
                self._output.write(data)
                self._blocks += 1
            elif whole:
                whole = False
                if header.solid:  # what still can be had does not depend on the blocks before
                    self._decoder.open_frame(dataclasses.replace(header, solid=False))
        self._verify(frame, header, start, state if whole else None)

    def _decoded(self, slot: Slot, header: FrameHeader, whole: bool) -> bytes | None:
        """A block's bytes, or None, and the hole noted, where they cannot be had."""
        if slot.block is None:
            self._miss(slot, slot.reason)
            return None
        try:
            block = self._read(slot.block)
            if header.solid and not whole and _builds_on_others(block):
                self._miss(
                    slot,
                    "the block is sound, but builds on those before it in a solid frame, "
                    "of which one is missing",
                )
                return None
            return self._decoder.decode(block)
        except LLMZipError as error:
            self._miss(slot, str(error))
            return None

    def _read(self, part: BlockPart) -> Block:
        self._file.seek(part.offset)
        block = read_block(ByteReader(self._file, part.offset), part.header)
        assert block is not None
        return block

    def _miss(self, slot: Slot, reason: str) -> None:
        self._damages.append(
            Damage(slot.offset, slot.end, self._output.position, slot.size, reason)
        )
        self._output.skip(slot.size or 0)

    def _verify(
        self, frame: FoundFrame, header: FrameHeader, start: int, state: xxhash.xxh3_64 | None
    ) -> None:
        """Compare the content check; `state` is None where content is missing."""
        check = frame.end.check if frame.end else None
        if state is None or check is None or not frame.end:
            self._verified = False
            return
        first = frame.slots[0].size or 0 if frame.slots else 0
        short = bool(frame.slots) and is_short(header.single_block, first)
        if content_check(state, short) != check:
            self._verified = False
            why = (
                "the content check does not match: it is damaged itself, "
                "or the content is not what it was"
            )
            self._damages.append(Damage(frame.end.offset, frame.end.end, start, 0, why))

    # ---- lost headers ----------------------------------------------------------------------------

    def _header_for(self, frame: FoundFrame) -> FrameHeader:
        """The frame's header; where nothing proves it, one with which its blocks decode. Raises
        what the first one raises.
        """
        if frame.header and frame.header.proven:
            return frame.header.header
        stated = [frame.header.header] if frame.header else []
        block = next(
            (
                block
                for slot in frame.slots
                if slot.block and (block := self._read(slot.block)).needs_model
            ),
            None,
        )
        if block is None:
            return stated[0] if stated else NOTHING_STATED
        first_error: LLMZipError | None = None
        for header in [*stated, *self._guesses.likely()]:
            probe = BlockDecoder(self._loader, max_memory=self._max_memory)
            try:
                probe.open_frame(header)
                probe.decode(block)
            except LLMZipError as error:
                first_error = first_error or error
                continue
            if header not in stated:
                self._note_guess(frame, header)
            return header
        raise first_error or ModelNotFoundError(
            "the frame's header is lost and no model is installed; name its model with -m"
        )

    def _note_guess(self, frame: FoundFrame, header: FrameHeader) -> None:
        reason = (
            f"the frame's header is lost; decoded with model {header.fingerprint.hex()}, "
            "a guess that its blocks bear out"
        )
        offset = frame.slots[0].offset
        self._damages.append(Damage(offset, offset, self._output.position, 0, reason))


def _builds_on_others(block: Block) -> bool:
    """Whether a block of a solid frame needs those before it."""
    if block.inner == CodecId.LLM:
        return True
    return (
        block.codec == CodecId.LONG_DISTANCE
        and parse_payload(block.payload, block.size).lookback > 0
    )


@contextlib.contextmanager
def _seekable(source: BinaryIO) -> Iterator[BinaryIO]:
    """The source, or a temporary copy of one that cannot seek."""
    if source.seekable():
        yield source
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source, copy)
        yield copy
