"""Encodes the blocks of frames, and says what a frame's header must state."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from llmzip import accounting, levels
from llmzip.buffers import whole_number
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.blocks_ahead import EncoderAhead
from llmzip.codecs.blocks_elsewhere import EncoderElsewhere
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.history import History
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.match_finder import MatchFinder
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.codecs.probe import leading_run
from llmzip.codecs.selection import Draft, draft, draft_for_model, encode_block_as
from llmzip.coding.observer import CodingObserver
from llmzip.container.codec_ids import CHOICES, CodecId
from llmzip.container.header import FrameHeader, fingerprint_bytes, memory_code
from llmzip.engine_loader import EngineLoader, kept_dictionary
from llmzip.errors import LLMZipError, ModelMismatchError
from llmzip.mixing.base import ContextMixer
from llmzip.model.integer_model import IntegerModel
from llmzip.runtime import Runtime
from llmzip.types import Progress


@dataclasses.dataclass(frozen=True)
class CompressionOptions:
    """How blocks are coded: what decides the bytes of a file beside its model and its dictionary.

    A field that has a row of the same name in `cli/options.py`, in the table COMPRESSION, is an
    option of the command line; for Python it is a keyword wherever one can compress
    (CONTRIBUTING.md has the list). Raises ValueError for options that are out of range or
    contradict each other.
    """

    level: int = levels.DEFAULT_LEVEL
    """1 to 9; more is smaller and slower."""
    block_size: int | None = None
    """Uncompressed bytes per block; None: the level's."""
    block_lines: int | None = None
    """Lines of each block but the last; None: blocks end wherever they are full."""
    codec: str | None = None
    """The codec that all blocks get, by name (docs/format.md); None: the smallest for each."""
    mixing: bool = True
    """Whether predictions are corrected by what has been coded."""
    solid: bool = False
    """Whether the mixer is carried from block to block, and matches reach over all blocks."""

    def __post_init__(self) -> None:
        levels.level_parameters(self.level, self.block_size)
        if self.block_lines is not None and whole_number(self.block_lines, "block_lines") < 1:
            raise ValueError(f"{self.block_lines} lines of a block: it has 1 or more")
        if self.codec is not None and self.codec not in CHOICES:
            raise ValueError(f"codec {self.codec!r}: blocks can have {', '.join(CHOICES)}")
        if self.solid and not self.mixing:
            raise ValueError(
                "solid compression carries the mixer on: leave out --no-mixing, "
                "or mixing=False in Python"
            )


DEFAULT_OPTIONS = CompressionOptions()


class BlockEncoder:
    """Chooses codecs, loads the model when the first text needs it, and keeps what blocks of solid
    frames build on.
    """

    def __init__(
        self,
        loader: EngineLoader,
        options: CompressionOptions,
        progress: Progress,
        observer: CodingObserver | None = None,
    ) -> None:
        """loader: finds the model, when a block needs it. progress, observer: as of
        `LLMZipCompressor`.
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
        self._llm_codec: LLMCodec | None = None
        self._meta_token_codec: MetaTokenCodec | None = None
        self._frame: FrameHeader | None = None
        self._carried: ContextMixer | None = None
        self._matches = MatchFinder(History(loader.dictionary_content))
        self._ahead = EncoderAhead()
        pool = loader.runtime.pool
        self._elsewhere = EncoderElsewhere(pool) if pool and not self._solid else None
        self._jobs: dict[bool, EncodeJob] = {}

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

    def look_ahead(self, pending: bytearray, kept: int) -> None:
        """Draft the next blocks of the pending data, as many as go side by side, or submit them to
        the pool; its last `kept` bytes are no block yet.
        """
        if self._goes_elsewhere:
            self._submit(pending, kept)
            return
        if self._solid or self._observer or self._forced not in (None, LLMCodec.name):
            return
        while self._ahead.wants(len(pending), kept):
            data = self.next_data(pending, self._ahead.size)
            self._ahead.add(data, self._draft(data), self._matches, self._llm)

    @property
    def _goes_elsewhere(self) -> bool:
        return self._elsewhere is not None and not self._observer

    def _submit(self, pending: bytearray, kept: int) -> None:
        assert self._elsewhere
        while self._elsewhere.wants(len(pending), kept):
            data = self.next_data(pending, self._elsewhere.size)
            self._elsewhere.add(data, self._presumed_size(data), self._job())

    def _presumed_size(self, data: bytes) -> int:
        """How much of the data its block will hold, presumably: only the text's tokens tell, and
        they are counted from the first block on that had too many.
        """
        assert self._elsewhere
        if self._block_lines is not None or self._forced not in (None, LLMCodec.name):
            return len(data)
        if not self._elsewhere.surprised:
            return leading_run(data)[1] if self._forced is None else len(data)
        draft = self._draft(data)
        return draft.size(self._llm().prepare(draft.text).size) if draft.text else len(draft.data)

    def _job(self) -> EncodeJob:
        """What the pool does with the next block."""
        reaches_back = bool(len(self._matches.history))
        if reaches_back not in self._jobs:
            needs_model = self._forced in (None, LLMCodec.name, MetaTokenCodec.name)
            model = self.loader.chosen_model() if needs_model else None
            self._jobs[reaches_back] = EncodeJob(
                self._options,
                model.fingerprint if model else b"",
                model.vocabulary.rules if model else "",
                self.loader.dictionary_content,
                reaches_back,
            )
        return self._jobs[reaches_back]

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
        return (self._elsewhere or self._ahead).waits

    def encode(self, data: bytes) -> EncodedBlock:
        """A block that holds a prefix of the data, and may become the next one of the frame, or the
        first one of a frame.
        """
        block = self._encode_elsewhere(data) if self._goes_elsewhere else self._encode(data)
        if self._block_lines is not None and block.size < len(data):
            raise self._too_long()  # their tokens do not
        return block

    def encode_apart(self, pieces: Sequence[bytes], reaches_back: bool) -> list[EncodedBlock]:
        """A block of each piece, of which none follows another; side by side, where that pays.

        reaches_back: whether they may refer to the dictionary.
        """
        if not reaches_back:
            self._matches = MatchFinder(History())
        if self._forced in (None, LLMCodec.name):
            for data in pieces:
                self._ahead.add(data, self._draft(data), self._matches, self._llm)
        return [self.encode(data) for data in pieces]

    def _encode_elsewhere(self, data: bytes) -> EncodedBlock:
        assert self._elsewhere
        done = 0

        def report(size: int) -> None:
            nonlocal done
            done = size
            self._progress(size, 0)

        block = self._elsewhere.take(data, self._job(), report)
        self._progress(max(done, block.size), block.tokens)
        return block

    def _encode(self, data: bytes) -> EncodedBlock:
        if self._forced not in (None, LLMCodec.name):
            return encode_block_as(self._named(self._forced), data)
        self._ahead.encode()
        if drafted := self._ahead.take(data, self._matches):
            return drafted
        draft = self._draft(data)
        if not draft.needs_model:
            return draft.block(None)
        return draft.block(self._llm().encode_block(draft.text, self._carried))

    def _draft(self, data: bytes) -> Draft:
        return (
            draft(
                data,
                self._matches,
                self._ahead.threads,
                whole=self._block_lines is not None,
            )
            if self._forced is None
            else draft_for_model(data, self._matches)
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


@dataclasses.dataclass(frozen=True)
class EncodeJob:
    """A `Job` of a pool: blocks of pieces of data that do not depend on each other."""

    options: CompressionOptions
    fingerprint: bytes
    """Of the model, which the worker has in its own store; nothing where none is needed."""
    rules: str = dataclasses.field(repr=False)
    """The model's tokenizer rules, by which the data is split here."""
    dictionary: bytes = dataclasses.field(repr=False)
    """The dictionary, or nothing."""
    reaches_back: bool
    """Whether blocks may refer to the dictionary."""

    def __call__(
        self, pieces: Sequence[bytes], runtime: Runtime
    ) -> list[EncodedBlock | LLMZipError]:
        """A block of a prefix of each piece."""
        try:
            encoder = BlockEncoder(self._loader(runtime), self.options, lambda size, tokens: None)
            blocks = encoder.encode_apart(pieces, self.reaches_back)
        except LLMZipError as error:
            if len(pieces) == 1:
                return [error]
            return [done for piece in pieces for done in self([piece], runtime)]
        return [dataclasses.replace(block, mixer=None) for block in blocks]

    def _loader(self, runtime: Runtime) -> EngineLoader:
        if not self.fingerprint:
            return EngineLoader(None, kept_dictionary(self.dictionary), runtime)
        model = EngineLoader(runtime=runtime).model_for_fingerprint(self.fingerprint)
        if model.vocabulary.rules != self.rules:
            raise ModelMismatchError(
                f"the model {self.fingerprint.hex()[:16]} has other tokenizer rules here than "
                "where the file is written: install the same model with `llmzip models pull`"
            )
        return EngineLoader(model, kept_dictionary(self.dictionary), runtime)
