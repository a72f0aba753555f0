"""Compression, a block at a time."""

from __future__ import annotations

import dataclasses
import operator
from typing import Final

import xxhash

from llmzip import accounting, levels
from llmzip.codecs.base import BlockCodec, Buffer, flat
from llmzip.codecs.history import History
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.needs import block_need
from llmzip.codecs.repeats import RepeatFinder
from llmzip.codecs.selection import (
    CHOICES,
    MODEL_FREE,
    OF_A_MODEL,
    EncodedBlock,
    coded_part,
    encode_block,
    encode_block_as,
    reach,
)
from llmzip.coding.observer import CodingObserver
from llmzip.container.block import END_OF_BLOCKS, Block
from llmzip.container.checks import content_check, is_short_frame
from llmzip.container.header import FrameHeader, fingerprint_bytes, memory_code
from llmzip.container.index import Entries, index_bytes
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.mixing.base import ContextMixer
from llmzip.runtime import DEFAULT_RUNTIME, Runtime
from llmzip.tally import Tally
from llmzip.turns import NotCopied, Turns
from llmzip.types import Progress

_ENDED = "the compressor has been flushed: make a new one"


class LLMZipCompressor(NotCopied):
    """Turns data that arrives in pieces into one stream of frames; holds one block in memory.

    Threads that call the same compressor wait for each other. After an exception in the middle of a call (KeyboardInterrupt, a
    missing model, an error in `progress`) its stream cannot be completed: every further call raises ValueError.

    >>> compressor = LLMZipCompressor()
    >>> packed = compressor.compress(b"To be, ") + compressor.compress(b"or not") + compressor.flush()
    """

    CONTINUE: Final = 0
    """Mode of `compress`: return the blocks that are full."""
    FLUSH_BLOCK: Final = 1
    """Mode of `compress` and `flush`: end the block, so that a decoder can return all data so far; the frame goes on."""
    FLUSH_FRAME: Final = 2
    """Mode of `compress` and `flush`: end the frame, and with it the stream."""

    def __init__(
        self,
        level: int = levels.DEFAULT_LEVEL,
        *,
        model: ModelLike | None = None,
        dictionary: DictionaryLike | None = None,
        block_size: int | None = None,
        codec: str | None = None,
        mixing: bool = True,
        solid: bool = False,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
        observer: CodingObserver | None = None,
    ) -> None:
        """Prepare to compress; the model is loaded when the first text arrives.

        level: 1 to 9; more is smaller and slower. model: a name, path, hub id or model; None: LLMZIP_MODEL or the default.
        block_size: uncompressed bytes per block, None: the level's. codec: the one that all blocks get, by name (docs/format.md);
        None: the smallest for each. mixing: whether predictions are corrected by what has been coded. solid: whether that mixer
        is carried from block to block, and repeats are found over all blocks: smaller, but reading begins at the frame's first
        block. dictionary: a text like the data, which decompression needs too; a `Dictionary` that is kept is read only once.
        runtime: how and where to compute, which changes no byte. progress: called with the uncompressed bytes and tokens done.
        observer: is told what is coded, for measurements.

        Raises ValueError for a level or block size out of range and for a codec that blocks cannot have.
        """
        if codec is not None and codec not in CHOICES:
            raise ValueError(f"codec {codec!r}: blocks can have {', '.join(CHOICES)}")
        if solid and not mixing:
            raise ValueError("solid compression carries the mixer on: it needs mixing")
        self._forced = codec
        self._mixing = mixing
        self._solid = solid and codec in (None, LLMCodec.name)  # the others carry nothing on
        self._level = levels.level_parameters(level, block_size)
        self._loader = EngineLoader(model, dictionary, runtime or DEFAULT_RUNTIME)
        self._tally = Tally(progress)
        self._observer = observer
        self._pending = bytearray()
        self._header: FrameHeader | None = None
        self._entries: Entries = []
        self._hash = xxhash.xxh3_64()
        self._codec: LLMCodec | None = None
        self._tokens_codec: MetaTokenCodec | None = None
        self._carried: ContextMixer | None = None
        self.frames = 0
        """How many frames have been begun."""
        self._turns = Turns("compressor")
        self._repeats = RepeatFinder(History(self._loader.dictionary_content))

    def find_model(self) -> None:
        """Find the model that was named, and the device, before any text arrives. Raises an LLMZipError for what is not there."""
        if self._loader.runtime.device != "cpu":
            self._loader.for_compression()
        if self._loader.model is not None:
            self._loader = dataclasses.replace(self._loader, model=self._loader.chosen_model())

    def compress(self, data: Buffer, mode: int = CONTINUE) -> bytes:
        """Take more data, return what is ready: with CONTINUE whole blocks, else what `flush` returns in this mode.

        Raises ValueError after the end of the stream, after an exception, and for an unknown mode; TypeError for a str.
        """
        piece = flat(data)
        _check_mode(mode, self.CONTINUE, self.FLUSH_BLOCK, self.FLUSH_FRAME)
        return self._turns.take(lambda: self._compress(piece, mode), then=_ENDED if mode == self.FLUSH_FRAME else "")

    def flush(self, mode: int = FLUSH_FRAME) -> bytes:
        """Return all the rest and end the stream; with FLUSH_BLOCK end the block only.

        After FLUSH_BLOCK, a decoder that is given all bytes so far returns all data so far. A block costs 5 to 16 bytes, and
        the model predicts it from its own text alone (a solid frame carries what it has learned), so flush seldom.

        Raises ValueError after the end of the stream, after an exception, and for an unknown mode.
        """
        _check_mode(mode, self.FLUSH_BLOCK, self.FLUSH_FRAME)
        return self.compress(b"", mode)

    def _compress(self, data: memoryview, mode: int) -> bytes:
        self._pending += data
        kept = self._level.block_size if mode == self.CONTINUE else 0  # the last block waits: it may be the only one
        out = []
        while len(self._pending) > kept:
            out.append(self._next_block(mode))
        if mode == self.FLUSH_FRAME:
            if self._header is None:  # no data at all
                out.append(self._open_frame(FrameHeader(single_block=False, memory_code=0)))
            out.append(self._close_frame())
        return b"".join(out)

    @property
    def tokens(self) -> int:
        """How many tokens the model has coded so far."""
        return self._tally.tokens

    def _next_block(self, mode: int) -> bytes:
        """Encode the block at the head of the pending data."""
        data = bytes(self._pending[: self._level.block_size])
        self._tally.begin_block()
        made = self._encode(data)
        out = b""
        if self._header is not None and not self._header.fingerprint and coded_part(made.block)[0] in OF_A_MODEL:
            out = self._close_frame()  # it names no model, and its header is written: start another
            if reach(made.block):
                made = self._encode(data)  # without what it can no longer reach
        block, covered = made.block, made.block.size
        data = data[:covered]
        if self._header is None:
            only = mode == self.FLUSH_FRAME and covered == len(self._pending) and not out
            # A text that a flush makes so short that the model does not pay: what follows is to fit into the same frame.
            names_model = mode == self.FLUSH_BLOCK and self._codec is not None
            out += self._open_frame(self._header_for(block, only, names_model))
        assert self._header is not None
        if self._header.solid:
            self._carried = made.taught or self._carried
            self._repeats.history.extend(data)
        written = block.to_bytes(None if self._entries else self._header)
        self._entries.append((len(written), block.size))
        self._hash.update(data)
        del self._pending[:covered]
        if self._observer:
            self._observer.block(block)
        self._tally.report(covered)
        self._tally.end_block(covered)
        return out + written

    def _encode(self, data: bytes) -> EncodedBlock:
        """What may become the next block: as much of the data as it holds."""
        if self._forced is None:
            return encode_block(data, self._llm, self._repeats, self._carried)
        return encode_block_as(self._named(self._forced), data, self._repeats, self._carried)

    def _header_for(self, block: Block, only: bool, names_model: bool) -> FrameHeader:
        """The header of a frame that begins with this block; names_model: also where this block does not need it."""
        codec, payload, size = coded_part(block)
        solid = self._solid and not (only and codec != LLMCodec.id)
        if only and solid:
            solid = self._llm().belongs_in_solid_frame(payload, size)
        fingerprint = dictionary = b""
        of_model = 0
        if codec == MetaTokenCodec.id:  # as are all that follow: it was asked for
            model = self._meta_token().model
            fingerprint, of_model = model.fingerprint, accounting.meta_token_bound(self._level, model.spec.vocab)
        elif names_model or codec == LLMCodec.id or reach(block):  # into the dictionary, as nothing else lies before
            llm = self._llm()
            fingerprint, of_model = llm.model.fingerprint, llm.bound()
            dictionary = llm.dictionary.digest if llm.dictionary else b""
        need = accounting.block_bytes(self._level.block_size, solid, of_model)
        if only:
            need = block_need(block, solid, self._of_model)
        fingerprint = fingerprint[: fingerprint_bytes(only, bool(dictionary))]
        return FrameHeader(only, memory_code(need), fingerprint, dictionary, solid)

    def _of_model(self, codec: int) -> LLMCodec | MetaTokenCodec:
        return self._meta_token() if codec == MetaTokenCodec.id else self._llm()

    def _open_frame(self, header: FrameHeader) -> bytes:
        self._header = header
        self._carried = None
        if not header.dictionary_id:
            self._repeats = RepeatFinder(History())
        self.frames += 1
        self._entries = []
        self._hash.reset()
        return header.to_bytes()

    def _close_frame(self) -> bytes:
        assert self._header is not None
        short = is_short_frame(self._header.single_block, self._entries)
        end = b"" if self._header.single_block else bytes([END_OF_BLOCKS])
        index = index_bytes(self._entries) if len(self._entries) > 1 else b""
        self._header = None
        self._repeats = RepeatFinder(History(self._loader.dictionary_content))
        return end + content_check(self._hash, short) + index

    def _named(self, codec: str) -> BlockCodec:
        if codec == LLMCodec.name:
            return self._llm()
        if codec == MetaTokenCodec.name:
            return self._meta_token()
        return next(known for known in MODEL_FREE.values() if known.name == codec)

    def _meta_token(self) -> MetaTokenCodec:
        if self._tokens_codec is None:
            self._tokens_codec = MetaTokenCodec(self._loader.chosen_model())
        return self._tokens_codec

    def _llm(self) -> LLMCodec:
        if self._codec is None:
            engine = self._loader.for_compression()
            self._codec = LLMCodec(
                engine,
                self._level,
                mixing=self._mixing,
                dictionary=self._loader.prepared_dictionary(engine),
                solid=self._solid,
                progress=self._tally.report,
                observer=self._observer,
            )
        return self._codec


def _check_mode(mode: int, *modes: int) -> None:
    if operator.index(mode) not in modes:
        known = ", ".join(map(str, modes))
        raise ValueError(f"flush mode {mode!r}: modes are {known} (LLMZipCompressor.FLUSH_BLOCK and the like)")
