"""Decodes the blocks of frames, here or in a pool."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from llmzip.blocks.decode_job import DecodeJob
from llmzip.blocks.elsewhere import DecoderElsewhere
from llmzip.blocks.local_decoder import KnownBlocks, LocalBlockDecoder
from llmzip.container.block import Block
from llmzip.container.header import FrameHeader
from llmzip.errors import IntegrityError, LimitError


class BlockDecoder(LocalBlockDecoder):
    """Has the blocks decoded by the pool of the runtime, where it has one and they build on no
    other; else here.
    """

    _elsewhere: DecoderElsewhere | None = None  # for the frame

    @property
    def has_pool(self) -> bool:
        """Whether blocks are decoded elsewhere, so that further ones should be read meanwhile."""
        return self._loader.runtime.pool is not None

    def open_frame(self, header: FrameHeader) -> None:
        """As of `LocalBlockDecoder`. Raises LimitError, and what finding the named model raises."""
        super().open_frame(header)
        if self._elsewhere:
            self._elsewhere.drop()
        self._elsewhere = self._pooled(header)

    def _pooled(self, header: FrameHeader) -> DecoderElsewhere | None:
        pool = self._loader.runtime.pool
        if pool is None or header.solid or self._observer:
            return None
        fingerprint = header.fingerprint
        if fingerprint and self._loader.model is not None:
            fingerprint = self._loader.model_for_fingerprint(fingerprint).fingerprint
        job = DecodeJob(header, fingerprint, self._loader.dictionary_content, self._limits.memory)
        return DecoderElsewhere(pool, job)

    def has_room(self, blocks: Sequence[Block]) -> bool:
        """As of `LocalBlockDecoder`; of a pool, whether it has work for another one."""
        if not self._elsewhere:
            return super().has_room(blocks)
        need = sum(block.size for block in blocks) + blocks[-1].size
        return self._elsewhere.has_room(len(blocks)) and need <= self._limits.most_memory // 4

    def decode_ahead(self, blocks: Sequence[Block]) -> None:
        """As of `LocalBlockDecoder`; the pool gets those that it has not."""
        if not self._elsewhere:
            super().decode_ahead(blocks)
            return
        done = self.progress_counter.bytes
        with contextlib.suppress(LimitError):  # it is raised when it is the block's turn
            for number, block in enumerate(blocks):
                self._limits.check_output(done, block)
                done += block.size
                if number >= self._elsewhere.count:
                    self._elsewhere.submit(block)

    def know(self, blocks: Sequence[Block], headers: Sequence[FrameHeader]) -> KnownBlocks:
        """As of `LocalBlockDecoder`; nothing where the pool decodes them."""
        return {} if self._elsewhere else super().know(blocks, headers)

    def _content(self, block: Block) -> bytes:
        if not self._elsewhere:
            return super()._content(block)
        done = 0

        def report(size: int) -> None:
            nonlocal done
            done = size
            self.progress_counter.report(size)

        data, tokens = self._elsewhere.take(block, report)
        if len(data) != block.size:
            raise IntegrityError(
                f"a worker gave {len(data)} bytes for a block of {block.size}: is it the same "
                "version of llmzip?"
            )
        self.progress_counter.report(max(done, block.size), tokens)
        return data
