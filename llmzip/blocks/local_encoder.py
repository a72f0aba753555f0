"""Encodes the blocks of frames in this process, and says what a frame's header must state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from llmzip import accounting, levels
from llmzip.blocks.ahead import EncoderAhead
from llmzip.blocks.options import CompressionOptions
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.history import History
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.match_finder import MatchFinder
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.codecs.selection import (
    Candidates,
    candidates_for_model,
    encode_block_as,
    find_candidates,
)
from llmzip.coding.observer import CodingObserver
from llmzip.container.codec_ids import CodecId
from llmzip.container.header import FrameHeader, fingerprint_bytes, memory_code
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.mixing.base import ContextMixer
from llmzip.model.integer_model import IntegerModel
from llmzip.types import Progress

KnownTexts = Mapping[bytes, EncodedBlock]
"""Blocks that hold the whole of short contents, encoded beside those of others."""


class LocalBlockEncoder:
    """Encodes blocks here: chooses codecs, loads the model when the first text needs it, and keeps
    what blocks of solid frames build on.
    """

    def __init__(
        self,
        loader: EngineLoader,
        options: CompressionOptions,
        progress: Progress,
        observer: CodingObserver | None = None,
        known: KnownTexts | None = None,
    ) -> None:
        """loader: finds the model, when a block needs it. progress, observer: as of
        `LLMZipCompressor`. known: what `encode_apart` has made with the same loader and options.
        """
        self.loader = loader
        self._options = options
        self._level = levels.level_parameters(options.level, options.block_size)
        self._block_lines = options.block_lines
        self._forced = options.codec
        self._has_mixing = options.mixing
        # The other codecs carry nothing on.
        self._solid = options.solid and options.codec in (None, LLMCodec.name)
        self._progress = progress
        self._observer = observer
        self._known = known or {}
        self._llm_codec: LLMCodec | None = None
        self._meta_token_codec: MetaTokenCodec | None = None
        self._frame: FrameHeader | None = None
        self._carried: ContextMixer | None = None
        self._matches = MatchFinder(History(loader.dictionary_content))
        self._ahead = EncoderAhead()

    @property
    def block_size(self) -> int:
        """Uncompressed bytes per block."""
        return self._level.block_size

    @property
    def has_model(self) -> bool:
        """Whether a model has been loaded."""
        return self._llm_codec is not None

    @property
    def model(self) -> IntegerModel | None:
        """The model that has been loaded, if any."""
        codec = self._llm_codec or self._meta_token_codec
        return codec.model if codec else None

    def load_model(self) -> None:
        """Load the model."""
        if self._forced == MetaTokenCodec.name:
            self._meta_token()
        else:
            self._llm()

    def leave_model(self) -> None:
        """Code all further blocks without a model."""
        self._forced = MODEL_FREE[CodecId.ZSTD].name
        if self._frame is None:
            self._solid = False

    def look_ahead(self, pending: bytearray, kept: int) -> None:
        """Prepare the next blocks of the pending data, as many as go side by side; its last `kept`
        bytes are no block yet.
        """
        if self._solid or self._observer or self._forced not in (None, LLMCodec.name):
            return
        if self._known and self._known_block(self.next_data(pending)):
            return
        while self._ahead.wants(len(pending), kept):
            data = self.next_data(pending, self._ahead.size)
            self._ahead.add(data, self._candidates(data), self._matches, self._llm)

    def next_data(self, pending: bytearray, begin: int = 0) -> bytes:
        """What the block that begins there is to hold of the pending data. Raises LLMZipError where
        its lines do not fit into a block.
        """
        data = bytes(pending[begin : begin + self.block_size])
        if self._block_lines is None:
            return data
        end = 0
        for _ in range(self._block_lines):
            end = data.find(b"\n", end) + 1
            if not end:
                if begin + len(data) < len(pending):
                    raise self._too_long()
                return data
        return data[:end]

    def _too_long(self) -> LLMZipError:
        return LLMZipError(
            f"{self._block_lines:,} lines do not fit into a block of {self.block_size:,} bytes: "
            "choose fewer lines, or a larger block size"
        )

    @property
    def waits(self) -> bool:
        """Whether more data would let more blocks go side by side."""
        return self._ahead.waits

    def encode(self, data: bytes) -> EncodedBlock:
        """A block that holds a prefix of the data, and may become the next one of the frame, or the
        first one of a frame.
        """
        block = self._encode(data)
        if self._block_lines is not None and block.size < len(data):
            raise self._too_long()  # their tokens do not
        return block

    def encode_apart(self, pieces: Sequence[bytes], reaches_back: bool) -> list[EncodedBlock]:
        """A block of each piece, of which none follows another; side by side, where that pays.
        Nothing builds on them, so they come without their mixers.

        reaches_back: whether they may refer to the dictionary.
        """
        if not reaches_back:
            self._matches = MatchFinder(History())
        if self._forced in (None, LLMCodec.name):
            for data in pieces:
                self._ahead.add(data, self._candidates(data), self._matches, self._llm)
        return [dataclasses.replace(self.encode(data), mixer=None) for data in pieces]

    def _encode(self, data: bytes) -> EncodedBlock:
        if self._known and (known := self._known_block(data)):
            return known
        if self._forced not in (None, LLMCodec.name):
            return encode_block_as(self._named(self._forced), data)
        self._ahead.encode()
        if prepared := self._ahead.take(data, self._matches):
            return prepared
        candidates = self._candidates(data)
        if not candidates.needs_model:
            return candidates.block(None)
        return candidates.block(self._llm().encode_block(candidates.text, self._carried))

    def _known_block(self, data: bytes) -> EncodedBlock | None:
        """What has been made of the data, unless it may refer to a dictionary, and this frame has
        none.
        """
        has_same = bool(len(self._matches.history)) == bool(self.loader.dictionary_content)
        return self._known.get(data) if has_same else None

    def _candidates(self, data: bytes) -> Candidates:
        return (
            find_candidates(
                data,
                self._matches,
                self._ahead.threads,
                whole=self._block_lines is not None,
            )
            if self._forced is None
            else candidates_for_model(data, self._matches)
        )

    def begin_frame(self, header: FrameHeader) -> None:
        """Begin a frame with this header: the next block is its first."""
        self._frame = header
        self._carried = None
        if not header.dictionary_id and len(self._matches.history):
            self._matches = MatchFinder(History())

    def end_frame(self) -> None:
        """End the frame: the header of the next one follows from its first block."""
        self._frame = None
        self._carried = None
        self._matches = MatchFinder(History(self.loader.dictionary_content))

    def note(self, block: EncodedBlock, content: bytes) -> None:
        """Accept the block as part of the frame: the next one may build on it."""
        assert self._frame is not None
        if self._frame.solid:
            self._carried = block.mixer or self._carried
            self._matches.history.extend(content)

    def header_for(self, block: EncodedBlock, only: bool, names_model: bool) -> FrameHeader:
        """The header of a frame that begins with this block.

        only: whether the frame has no other block. names_model: whether it names the model also
        where this block does not need it.
        """
        solid = self._solid and (block.solid_only or not only)
        fingerprint = dictionary = b""
        bound = 0
        if block.inner == CodecId.META_TOKEN:  # as have all that follow: it was asked for
            model = self._meta_token().model
            fingerprint, bound = (
                model.fingerprint,
                accounting.meta_token_bound(self._level, model.spec.vocab),
            )
        elif names_model or block.inner == CodecId.LLM or block.lookback:
            # A lookback reaches into the dictionary: nothing else lies before.
            llm = self._llm()
            fingerprint, bound = llm.model.fingerprint, llm.bound()
            dictionary = llm.dictionary.digest if llm.dictionary else b""
        need = accounting.block_bytes(self._level.block_size, solid, bound)
        if only:
            need = accounting.block_bytes(block.size, solid, block.decoder_bytes)
        fingerprint = fingerprint[: fingerprint_bytes(only, bool(dictionary))]
        return FrameHeader(only, memory_code(need), fingerprint, dictionary, solid)

    def _named(self, codec: str | None) -> PayloadCodec:
        if codec == MetaTokenCodec.name:
            return self._meta_token()
        return next(known for known in MODEL_FREE.values() if known.name == codec)

    def _meta_token(self) -> MetaTokenCodec:
        if self._meta_token_codec is None:
            self._meta_token_codec = MetaTokenCodec(self.loader.chosen_model())
        return self._meta_token_codec

    def _llm(self) -> LLMCodec:
        if self._llm_codec is None:
            engine = self.loader.for_compression()
            self._llm_codec = LLMCodec(
                engine,
                self._level,
                mixing=self._has_mixing,
                dictionary=self.loader.prepared_dictionary(engine),
                solid=self._solid,
                progress=self._progress,
                observer=self._observer,
            )
        return self._llm_codec
