"""The language-model codec: bytes -> tokens -> lockstep streams, corrected by a mixer -> range
coder (docs/format.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmzip import levels
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.llm_layouts import LLMLayouts
from llmzip.codecs.pace import Pace
from llmzip.coding.observer import CodingObserver
from llmzip.coding.range_coder import padded
from llmzip.container.codec_ids import CodecId
from llmzip.engine.base import Engine
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.mixing.base import MIXING_VERSION, ContextMixer
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import batch
from llmzip.predictor.batch import in_halves
from llmzip.predictor.dictionary import PreparedDictionary
from llmzip.predictor.lockstep import (
    CodedBlock,
    TokenBlock,
    decode_blocks,
    decode_tokens,
    encode_blocks,
)
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.runtime import Runtime
from llmzip.types import Progress, TokenProgress

_DEFAULT_LEVEL = levels.level_parameters(levels.DEFAULT_LEVEL)


@dataclasses.dataclass(frozen=True)
class PreparedText:
    """The tokens of a block to be encoded."""

    tokens: Tokens
    size: int
    """How many bytes they stand for."""
    layout: StreamLayout


class LLMCodec(PayloadCodec):
    """Codes blocks of text with one model at one level; decoding takes its parameters from the
    payload.

    No call leaves a trace, so threads may share one: what a solid frame carries from block to
    block, its owner hands over.
    """

    id = CodecId.LLM
    name = id.label
    needs_model = id.needs_model

    def __init__(
        self,
        engine: Engine,
        level: levels.Level = _DEFAULT_LEVEL,
        *,
        mixing: bool = True,
        dictionary: PreparedDictionary | None = None,
        solid: bool = False,
        mixing_version: int = MIXING_VERSION,
        progress: Progress | None = None,
        observer: CodingObserver | None = None,
    ) -> None:
        """level, mixing: what encoding follows. dictionary, solid, mixing_version: what the frame
        says, for encoding and decoding.

        observer: is told what is coded, of one block at a time.
        """
        self._engine = engine
        self._level = level
        self._dictionary = dictionary
        self._mixing_version = mixing_version
        self._layouts = LLMLayouts(
            engine.model.spec,
            level,
            mixing=mixing,
            dictionary=dictionary,
            solid=solid,
            mixing_version=mixing_version,
        )
        self._progress = progress
        self._observer = observer

    @property
    def model(self) -> IntegerModel:
        """The model that codes."""
        return self._engine.model

    @property
    def dictionary(self) -> PreparedDictionary | None:
        """The dictionary of the frame, as the engine has read it."""
        return self._dictionary

    @classmethod
    def create(
        cls,
        *,
        level: int = levels.DEFAULT_LEVEL,
        model: ModelLike | None = None,
        runtime: Runtime | None = None,
    ) -> LLMCodec:
        """Take parameters as `llmzip.compress` does."""
        return cls(
            EngineLoader.of(model, runtime=runtime).for_compression(),
            levels.level_parameters(level),
        )

    def get_config(self) -> dict[str, Any]:
        """See `PayloadCodec.get_config`."""
        return {"level": self._level.number, "model": self.model.fingerprint.hex()}

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`. Raises LimitError for more than one block can hold: see
        `encode_block`.
        """
        block = self.encode_block(data)
        if block.size < len(data):
            raise LimitError(
                f"{len(data)} bytes are more than one block holds ({block.size}); "
                "use a smaller block size"
            )
        return block.payload

    def encode_block(self, data: bytes, carried: ContextMixer | None = None) -> EncodedBlock:
        """A block that holds as much of `data` as fits.

        carried: in a solid frame, what the blocks before have taught; it stays as it is, as the new
        block may be dropped.
        """
        return self.encode_texts([self.prepare(data)], carried)[0]

    def prepare(self, data: bytes) -> PreparedText:
        """As much of the data as one block holds, ready to be encoded."""
        spec, tokenizer = self.model.spec, self.model.tokenizer
        tokens = tokenizer.encode(data)
        limit = self._layouts.max_tokens
        if len(tokens.ids) > limit:
            kept = tokens.ids[:limit]
            escapes = int(np.count_nonzero(kept == spec.escape_token))
            tokens = Tokens(kept, tokens.literals[:escapes])
            data = tokenizer.decode(tokens)
        count = len(tokens.ids)
        return PreparedText(tokens, len(data), self.layout_of(count))

    def layout_of(self, tokens: int) -> StreamLayout:
        """How so many tokens, 1 to those that one block holds, are laid out."""
        return self._layouts.for_tokens(tokens)

    def encode_texts(
        self, texts: Sequence[PreparedText], carried: ContextMixer | None = None
    ) -> list[EncodedBlock]:
        """A block of each text, encoded side by side: as many as `fitting` allows. carried: as of
        `encode_block`, for a single one.
        """
        sizes = [text.size for text in texts]
        report = self._reporter([text.layout for text in texts], sum(sizes), decoding=False)
        start = self._dictionary.start() if self._dictionary else None
        self._begin_payload(texts[0].layout)

        def encode(part: Sequence[PreparedText]) -> list[EncodedBlock]:
            blocks = [
                TokenBlock(
                    text.tokens,
                    text.layout,
                    self._mixer(text.layout.capacity_bits, carried and carried.copy()),
                )
                for text in part
            ]
            coded = encode_blocks(self._engine, blocks, start, report, self._observer)
            return list(map(self._block, part, blocks, coded))

        return in_halves(encode, texts)

    def _block(self, text: PreparedText, block: TokenBlock, coded: bytes) -> EncodedBlock:
        layout, count = text.layout, text.layout.tokens
        parameters, coded = self._layouts.write(layout), padded(coded, count)
        if self._observer:
            self._observer.end_payload(parameters, coded)
        return EncodedBlock(
            self.id,
            text.size,
            parameters + coded,
            decoder_bytes=self._layouts.decoder_bytes(layout),
            solid_only=self._layouts.is_solid_only(layout),
            mixer=block.mixer,
            tokens=count,
        )

    def _begin_payload(self, layout: StreamLayout) -> None:
        if self._observer:
            self._observer.begin_payload(layout.tokens, layout.streams, layout.capacity_bits > 0)

    def fitting(
        self, blocks: Sequence[tuple[StreamLayout, int]], memory: int, few: bool = False
    ) -> int:
        """How many of these blocks, the first ones, are coded side by side (`batch.fitting`)."""
        return batch.fitting(self._engine, blocks, self._dictionary is not None, memory, few)

    def goes_side_by_side(self, few: bool = False) -> bool:
        """Whether the engine wants several blocks at all. few: also of short ones."""
        most = self._engine.batches
        return most.rows > 1 and (most.blocks > 1 or (few and most.few_rows > 1))

    @property
    def threads(self) -> int:
        """How many threads may work on blocks side by side."""
        return self._engine.batches.threads

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        return self.decode_block(payload, size, None)[0]

    def decode_block(
        self, payload: bytes, size: int, carried: ContextMixer | None
    ) -> tuple[bytes, ContextMixer | None]:
        """The same, and the mixer for the next block of a solid frame: the block's own, or
        `carried` where it has none.

        carried: what the blocks before have taught; it learns the block.
        """
        layout, coded = self._layouts.read(payload, size)
        mixer = self._mixer(layout.capacity_bits, carried)
        start = self._dictionary.start() if self._dictionary else None
        report = self._reporter([layout], size, decoding=True)
        self._begin_payload(layout)
        tokens = decode_tokens(self._engine, coded, layout, mixer, start, report, self._observer)
        if self._observer:
            self._observer.end_payload(payload[: len(payload) - len(coded)], coded)
        return self._joined(tokens, size), carried if mixer is None else mixer

    def decode_payloads(self, payloads: Sequence[tuple[bytes, int]]) -> list[bytes | None]:
        """The data of payloads and their sizes, decoded side by side: as many as `fitting` allows.

        None for damaged ones: alone they raise what is wrong with them.
        """
        read = [self._layouts.read(payload, size) for payload, size in payloads]
        size = sum(size for _, size in payloads)
        report = self._reporter([layout for layout, _ in read], size, decoding=True)
        start = self._dictionary.start() if self._dictionary else None

        def decode(part: Sequence[tuple[StreamLayout, bytes]]) -> list[Tokens | IntegrityError]:
            blocks = [
                CodedBlock(coded, layout, self._mixer(layout.capacity_bits, None))
                for layout, coded in part
            ]
            return decode_blocks(self._engine, blocks, start, report)

        found: list[bytes | None] = []
        for tokens, (_, size) in zip(in_halves(decode, read), payloads, strict=True):
            try:
                found.append(self._joined(tokens, size) if isinstance(tokens, Tokens) else None)
            except IntegrityError:
                found.append(None)
        return found

    def _joined(self, tokens: Tokens, size: int) -> bytes:
        data = self.model.tokenizer.decode(tokens)
        if len(data) != size:
            raise IntegrityError(
                f"a block decodes to {len(data)} bytes instead of {size}: the file is damaged"
            )
        return data

    def layout(self, payload: bytes, size: int) -> StreamLayout:
        """How the tokens of a payload lie. Raises FormatError as `decoder_bytes` does."""
        return self._layouts.read(payload, size)[0]

    def decoder_bytes(self, payload: bytes, size: int) -> int:
        """See `PayloadCodec.decoder_bytes`."""
        return self._layouts.decoder_bytes(self.layout(payload, size))

    def bound(self) -> int:
        """At least the `decoder_bytes` of any payload that this codec makes."""
        return self._layouts.bound()

    def _mixer(self, bits: int, carried: ContextMixer | None) -> ContextMixer | None:
        """The mixer that a block starts with: the one carried on, one that has learned the
        dictionary, or an empty one.
        """
        if not bits:
            return None
        if carried is not None:
            if carried.capacity_bits != bits:
                raise FormatError(
                    "the mixing capacity changes between the blocks of a frame: the file is damaged"
                )
            return carried
        source = self._dictionary or self._engine
        return source.mixer(bits, self._mixing_version)

    def _reporter(
        self, layouts: Sequence[StreamLayout], size: int, *, decoding: bool
    ) -> TokenProgress | None:
        """Turn tokens done into bytes done, in proportion to the time."""
        progress = self._progress
        if progress is None:
            return None
        pace = Pace(layouts, self.model.spec, decoding)
        return lambda done: progress(int(size * pace.share(done)), done)
