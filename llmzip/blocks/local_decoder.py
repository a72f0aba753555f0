"""Decodes the blocks of frames in this process, within limits."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from llmzip.accounting import block_bytes
from llmzip.blocks.ahead import DecoderAhead
from llmzip.blocks.frame_codecs import FrameCodecs
from llmzip.codecs.history import History
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.long_distance import decode_matches, parse_payload
from llmzip.coding.observer import CodingObserver
from llmzip.container.block import Block
from llmzip.container.codec_ids import NO_LITERALS, CodecId
from llmzip.container.header import FrameHeader
from llmzip.engine_loader import EngineLoader
from llmzip.errors import FormatError, LimitError, LLMZipError, TruncatedError
from llmzip.limits import Limits
from llmzip.mixing.base import ContextMixer
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.progress import ProgressCounter
from llmzip.types import Progress

KnownBlocks = dict[tuple[bytes, bytes, int, bytes, int], bytes]
"""The data of payloads of the model that have been decoded: by the fingerprint, the dictionary and
the version of mixing of their frames, the payload and its size.
"""


class LocalBlockDecoder:
    """Decodes the blocks of frames here: knows limits, follows progress over all frames of a
    stream, and has the model decode side by side what goes together.
    """

    def __init__(
        self,
        loader: EngineLoader,
        *,
        max_memory: int | None = None,
        max_output: int | None = None,
        progress: Progress | None = None,
        observer: CodingObserver | None = None,
        wants_all: bool = False,
        known: KnownBlocks | None = None,
    ) -> None:
        """Take the parameters of `LLMZipDecompressor`.

        observer: is told what the model decodes, one block after the other. wants_all: whether all
        blocks will be decoded, so that short ones may go side by side. known: what has been
        decoded.
        """
        self._observer = observer
        self._loader = loader
        self._wants_all = wants_all
        self._known = known or {}
        self._limits = Limits(max_memory, max_output)
        self.progress_counter = ProgressCounter(progress)
        """Counts what has been decoded."""
        self._header: FrameHeader | None = None
        self._history: History | None = None
        self._codecs: FrameCodecs | None = None
        self._carried: ContextMixer | None = None
        self._ahead = DecoderAhead()
        self._unsure = False  # whether a block of a solid frame was begun and does not count (yet)

    def open_frame(self, header: FrameHeader) -> None:
        """Begin a frame. Raises LimitError where it needs more memory than allowed."""
        self._limits.check_frame(header)
        self._header = header
        self._history = self._carried = None
        self._codecs = FrameCodecs(
            header, self._loader, self.progress_counter.report, self._observer
        )
        self._ahead = DecoderAhead()
        self._unsure = False

    def has_room(self, blocks: Sequence[Block]) -> bool:
        """Whether another block like the last of these, the next ones of the frame, could be
        decoded beside them; not while blocks that have been decoded wait for their turn.
        """
        return not self._ahead and self._together([*blocks, blocks[-1]]) > len(blocks)

    def decode_ahead(self, blocks: Sequence[Block]) -> None:
        """Decode the next blocks of the frame side by side, as far as the limits allow; `attempt`
        then gives their contents, and raises what is wrong with them.
        """
        if not self._ahead and len(blocks) > 1:
            self._decode_together(blocks[: self._together(blocks)])

    def _decode_together(self, blocks: Sequence[Block]) -> None:
        """Decode blocks side by side; a single one is left to its turn."""
        if len(blocks) < 2:
            return
        self.progress_counter.begin_block()
        # What is too large together may not be so alone.
        with contextlib.suppress(LLMZipError, MemoryError):
            self._ahead.decode(self._llm(), [_model_payload(block)[1:] for block in blocks])

    def _together(
        self, blocks: Sequence[Block], headers: Sequence[FrameHeader] | None = None
    ) -> int:
        """How many of these blocks, the first ones, can be decoded side by side within the limits.
        headers: those of their frames, where it is not this one.
        """
        assert self._header is not None
        if self._header.solid or self._observer:
            return 0
        chosen: list[tuple[StreamLayout, int]] = []
        done = self.progress_counter.bytes
        with contextlib.suppress(LLMZipError):  # it is raised when it is the block's turn
            for block, header in zip(blocks, headers or [self._header] * len(blocks), strict=True):
                codec, payload, size = _model_payload(block)
                if codec != CodecId.LLM:
                    break
                self._limits.check_output(done, block)
                done += block.size
                llm = self._llm()
                if not llm.goes_side_by_side(self._wants_all):
                    break
                need = block_bytes(block.size, False, llm.decoder_bytes(payload, size))
                self._limits.check_block(need, header)
                chosen.append((llm.layout(payload, size), block.size))
                memory = self._limits.most_memory
                if llm.fitting(chosen, memory, self._wants_all) < len(chosen):
                    return len(chosen) - 1
        return len(chosen)

    def know(self, blocks: Sequence[Block], headers: Sequence[FrameHeader]) -> KnownBlocks:
        """What the model makes of blocks, side by side as far as the limits allow. Of damaged ones,
        and of others, nothing: their turn comes.

        headers: those of the blocks' frames, which name what this one names.
        """
        known: KnownBlocks = {}
        while len(blocks) > 1:
            count = max(1, self._together(blocks, headers))
            self._decode_together(blocks[:count])
            for (payload, size), data in self._ahead.take_all().items():
                known[self._key(payload, size)] = data
            self.progress_counter.end_block(sum(block.size for block in blocks[:count]))
            blocks, headers = blocks[count:], headers[count:]
        return known

    def _key(self, payload: bytes, size: int) -> tuple[bytes, bytes, int, bytes, int]:
        """What the data of a payload of the model depends on, in a frame that is not solid."""
        assert self._header is not None
        header = self._header
        return header.fingerprint, header.dictionary_id, header.mixing_version, payload, size

    def decode(self, block: Block) -> bytes:
        """The content of a block: as `attempt`, then `note`."""
        data = self.attempt(block)
        self.note(block, data)
        return data

    def attempt(self, block: Block) -> bytes:
        """The content of a block. Raises LimitError, IntegrityError, FormatError, or what finding a
        model raises.

        After an exception it can be tried again, but for blocks of a solid frame, which change what
        the next one builds on: then ValueError is raised.
        """
        assert self._header is not None
        if self._unsure:
            raise ValueError(
                "a block of a solid frame was interrupted: begin again at the frame's first block"
            )
        self._unsure = self._header.solid
        self._limits.check_output(self.progress_counter.bytes, block)
        self.progress_counter.begin_block()
        try:
            data = self._content(block)
        except TruncatedError as error:  # a payload is complete: waiting for more would not help
            raise FormatError(f"a block's payload is damaged: {error}") from error
        self.progress_counter.report(block.size)
        return data

    def note(self, block: Block, data: bytes) -> None:
        """Accept the block that was decoded last: the next one may build on it."""
        assert self._header is not None
        if self._header.solid and self._history is not None:
            self._history.extend(data)
        self._limits.count(block)
        self.progress_counter.end_block(block.size)
        self._unsure = False

    def _content(self, block: Block) -> bytes:
        """The content of a block, once its need of memory is known to keep to the limits."""
        assert self._header is not None and self._codecs is not None
        parsed = None
        codec, payload, size = block.codec, block.payload, block.size
        if codec == CodecId.LONG_DISTANCE:
            parsed = parse_payload(payload, size)
            codec, payload, size = parsed.inner, parsed.inner_payload, parsed.literals_size
        decoder_bytes = (
            0 if codec == NO_LITERALS else self._codecs.codec(codec).decoder_bytes(payload, size)
        )
        need = block_bytes(block.size, self._header.solid, decoder_bytes)
        self._limits.check_block(need, self._header)
        try:
            if self._history is None:
                self._history = History(self._codecs.dictionary_content())
            if parsed:
                return decode_matches(parsed, self._history, self._decode_payload)
            return self._decode_payload(codec, payload, size)
        except MemoryError as error:
            raise LimitError(
                f"decoding a block needs {need} bytes of memory, more than this machine can give"
            ) from error

    def _decode_payload(self, codec: int, payload: bytes, size: int) -> bytes:
        """The `size` bytes of a payload of any codec that does not nest."""
        assert self._codecs is not None
        decoder = self._codecs.codec(codec)
        if codec != CodecId.LLM:
            return decoder.decode(payload, size)
        assert isinstance(decoder, LLMCodec)
        ahead = self._ahead.take(payload, size)
        if ahead is None and self._known and self._header is not None and not self._header.solid:
            ahead = self._known.get(self._key(payload, size))
        if ahead is not None:
            self.progress_counter.report(0, decoder.layout(payload, size).tokens)
            return ahead
        data, mixer = decoder.decode_block(payload, size, self._carried)
        if self._header is not None and self._header.solid:
            self._carried = mixer
        return data

    def _llm(self) -> LLMCodec:
        assert self._codecs is not None
        return self._codecs.llm()


def _model_payload(block: Block) -> tuple[int, bytes, int]:
    """What is coded inside a block's matches, if it has such: the codec, the payload and the size
    of its data.
    """
    if block.codec != CodecId.LONG_DISTANCE:
        return block.codec, block.payload, block.size
    parsed = parse_payload(block.payload, block.size)
    return parsed.inner, parsed.inner_payload, parsed.literals_size
