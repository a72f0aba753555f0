"""Compression, a block at a time."""

from __future__ import annotations

import os
from typing import Any

import xxhash

from llmzip import levels
from llmzip.codecs.base import BlockCodec, Buffer, Progress
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.selection import CODEC_NAMES, MODEL_FREE, OF_A_MODEL, encode_block, encode_block_as
from llmzip.container.block import END_OF_BLOCKS, Block
from llmzip.container.content import content_check
from llmzip.container.header import FINGERPRINT_PREFIX, FrameHeader, memory_code
from llmzip.container.index import Entries, index_bytes
from llmzip.engines import EngineOptions
from llmzip.model.integer_model import IntegerModel


class LLMZipCompressor:
    """Turns data that arrives in pieces into one stream of frames; holds one block in memory.

    >>> compressor = LLMZipCompressor()
    >>> packed = compressor.compress(b"To be, ") + compressor.compress(b"or not") + compressor.flush()
    """

    def __init__(
        self,
        level: int = levels.DEFAULT_LEVEL,
        *,
        model: str | os.PathLike[str] | IntegerModel | None = None,
        block_size: int | None = None,
        codec: str | None = None,
        progress: Progress | None = None,
        **engine: Any,
    ) -> None:
        """Prepare to compress; the model is loaded when the first text arrives.

        level: 1 to 9; more is smaller and slower. model: a name, path, hub id or model; None: LLMZIP_MODEL or the default.
        block_size: uncompressed bytes per block, None: the level's. codec: the one that all blocks get, by name (docs/format.md);
        None: the smallest for each. progress: called with the uncompressed bytes and tokens done.
        engine: `engine`, `device`, `threads`, `fetch`, `offline`, `fetch_progress` of `EngineOptions`.

        Raises ValueError for a level or block size out of range and for a codec that blocks cannot have.
        """
        if codec is not None and codec not in CODEC_NAMES.values():
            raise ValueError(f"codec {codec!r}: blocks can have {', '.join(CODEC_NAMES.values())}")
        self._forced = codec
        self._level = levels.level_parameters(level, block_size)
        self._options = EngineOptions(model=model, **engine)
        self._progress = progress
        self._pending = bytearray()
        self._header: FrameHeader | None = None
        self._entries: Entries = []
        self._hash = xxhash.xxh3_64()
        self._done_bytes = self._done_tokens = self._block_tokens = 0
        self._codec: LLMCodec | None = None
        self.frames = 0
        """How many frames have been begun."""
        self._finished = False

    def compress(self, data: Buffer) -> bytes:
        """Take more data, return what is ready. Raises ValueError after `flush`, TypeError for a str."""
        if self._finished:
            raise ValueError("the compressor has been flushed; make a new one")
        self._pending += memoryview(data)
        out = []
        while len(self._pending) > self._level.block_size:  # the last block waits for flush: it may be the only one
            out.append(self._next_block(last=False))
        return b"".join(out)

    def flush(self) -> bytes:
        """Return all the rest and end the stream. Raises ValueError when called twice."""
        if self._finished:
            raise ValueError("the compressor has been flushed already")
        out = []
        while self._pending:
            out.append(self._next_block(last=True))
        if self._header is None:  # no data at all
            out.append(self._open_frame(FrameHeader(single_block=False, memory_code=0, fingerprint=b"")))
        out.append(self._close_frame())
        self._finished = True
        return b"".join(out)

    @property
    def tokens(self) -> int:
        """How many tokens the model has coded so far."""
        return self._done_tokens

    def _next_block(self, last: bool) -> bytes:
        """Encode the block at the head of the pending data."""
        data = bytes(self._pending[: self._level.block_size])
        self._block_tokens = 0
        if self._forced is None:
            block, covered = encode_block(data, self._llm)
        else:
            block, covered = encode_block_as(self._named(self._forced), data)
        data = data[:covered]
        only = last and covered == len(self._pending) and self._header is None
        out = self._frame_for(block, only)
        assert self._header is not None
        written = block.to_bytes(b"" if self._entries else self._header.to_bytes())
        self._entries.append((len(written), block.size))
        self._hash.update(data)
        del self._pending[:covered]
        self._done_bytes += covered
        self._done_tokens += self._block_tokens
        if self._progress:
            self._progress(self._done_bytes, self._done_tokens)
        return out + written

    def _frame_for(self, block: Block, only: bool) -> bytes:
        """Make sure that a frame is open that this block may join; return what that writes."""
        needs_model = block.codec in OF_A_MODEL
        closing = b""
        if self._header is not None:
            if not needs_model or self._header.fingerprint:
                return b""
            closing = self._close_frame()  # it names no model, and its header is written: start another
        fingerprint, code = b"", 0
        if needs_model:
            fingerprint = self._options.chosen_model().fingerprint[:FINGERPRINT_PREFIX]
        if block.codec == LLMCodec.id:
            llm = self._llm()
            need = llm.cache_need(block.payload) if only else levels.cache_bound(self._level, llm.model.spec)
            code = memory_code(need)
        return closing + self._open_frame(FrameHeader(only, code, fingerprint))

    def _open_frame(self, header: FrameHeader) -> bytes:
        self._header = header
        self.frames += 1
        self._entries = []
        self._hash.reset()
        return header.to_bytes()

    def _close_frame(self) -> bytes:
        assert self._header is not None
        end = b"" if self._header.single_block else bytes([END_OF_BLOCKS])
        index = index_bytes(self._entries) if len(self._entries) > 1 else b""
        self._header = None
        return end + content_check(self._hash) + index

    def _named(self, codec: str) -> BlockCodec:
        if codec == LLMCodec.name:
            return self._llm()
        if codec == MetaTokenCodec.name:
            return MetaTokenCodec(self._options.chosen_model())
        return next(known for known in MODEL_FREE.values() if known.name == codec)

    def _llm(self) -> LLMCodec:
        if self._codec is None:
            self._codec = LLMCodec(self._options.for_compression(), self._level, progress=self._report)
        return self._codec

    def _report(self, block_bytes: int, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        if self._progress:
            self._progress(self._done_bytes + block_bytes, self._done_tokens + block_tokens)
