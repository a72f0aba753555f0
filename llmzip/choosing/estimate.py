"""What a file takes at a level: time by the measured speed, memory by the account that its header
states (`accounting`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from llmzip import accounting, levels
from llmzip.blocks.options import CompressionOptions
from llmzip.choosing.sample import Sample
from llmzip.choosing.speed import Speed
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.probe import leading_run
from llmzip.container.header import memory_code, memory_limit
from llmzip.engine.base import Engine
from llmzip.predictor.dictionary import PreparedDictionary
from llmzip.predictor.stream_layout import StreamLayout, max_tokens


@dataclasses.dataclass(frozen=True)
class LevelEstimate:
    """What a file takes at a level."""

    level: int
    compression_seconds: float
    decompression_seconds: float
    """Both on this machine, one block at a time, without the start of the program."""
    memory: int
    """Bytes that decoding takes at most, as the file's header will state them."""

    @property
    def seconds(self) -> float:
        """Of the slower direction."""
        return max(self.compression_seconds, self.decompression_seconds)


@dataclasses.dataclass(frozen=True)
class Work:
    """A file that is to be compressed, as far as its sample tells."""

    size: int | None
    """In bytes; None where nobody knows it."""
    text_bytes: int
    """How many of them a model codes."""
    tokens_per_byte: float
    """Of the text."""
    line_bytes: float
    """Of a line."""
    only_block: bytes | None
    """All of the file, where it is at hand and may be one block."""

    @classmethod
    def of(cls, sample: Sample, engine: Engine) -> Work:
        """As the sample of a file tells it."""
        text = sample.text
        tokens = len(engine.model.tokenizer.encode(text).ids)
        data = sample.data
        return cls(
            sample.total,
            round(sample.total * sample.text_share),
            tokens / max(1, len(text)),
            len(data) / max(1, data.count(b"\n")),
            data if sample.is_whole else None,
        )


UNKNOWN = Work(None, 0, 0.0, 1.0, None)
"""A file of which nobody knows how long it is: only its memory has a bound."""


class LevelEstimator:
    """Estimates one file's levels on one engine."""

    def __init__(
        self,
        work: Work,
        engine: Engine,
        speed: Speed | None,
        options: CompressionOptions,
        dictionary: PreparedDictionary | None = None,
    ) -> None:
        """speed: None where times are not asked for; they are 0 then. options: of which the level
        is not looked at.
        """
        self._work = work
        self._engine = engine
        self._speed = speed
        self._options = options
        self._dictionary = dictionary

    def estimate(self, number: int) -> LevelEstimate:
        """What the file takes at a level."""
        codec = self._codec(number)
        encoding = decoding = 0.0
        if self._speed is not None:
            read = 0.0
            if self._dictionary:  # both sides read it first
                read = self._dictionary.tokens * self._speed.encoded_token
            layouts = list(self.layouts(number))
            encoding = read + sum(n * self._speed.encoding(layout) for layout, n in layouts)
            decoding = read + sum(n * self._speed.decoding(layout) for layout, n in layouts)
        return LevelEstimate(number, encoding, decoding, self._memory(codec, number))

    def layouts(self, number: int) -> Iterator[tuple[StreamLayout, int]]:
        """How the file's blocks are laid out at a level, and how many of each kind there are."""
        codec, level = self._codec(number), self._level(number)
        size = level.block_size
        if self._options.block_lines is not None:
            size = max(1, min(size, round(self._options.block_lines * self._work.line_bytes)))
        full, rest = divmod(self._work.text_bytes, size)
        most = max_tokens(level, self._engine.model.spec, self._context)
        for bytes_, count in ((size, full), (rest, 1)):
            tokens = min(most, round(bytes_ * self._work.tokens_per_byte))
            if tokens and count:
                yield codec.layout_of(tokens), count

    @property
    def _context(self) -> int:
        return len(self._dictionary.context) if self._dictionary else 0

    def _level(self, number: int) -> levels.Level:
        return levels.level_parameters(number, self._options.block_size)

    def _codec(self, number: int) -> LLMCodec:
        return LLMCodec(
            self._engine,
            self._level(number),
            mixing=self._options.mixing,
            dictionary=self._dictionary,
            solid=self._options.solid,
        )

    def _memory(self, codec: LLMCodec, number: int) -> int:
        """What the frame's header states: of a single block what that needs, else a bound."""
        level, data = self._level(number), self._work.only_block
        need = accounting.block_bytes(level.block_size, self._options.solid, codec.bound())
        if data is not None and self._is_one_block(data, level):
            of_text = _most_bytes(codec, level, self._tokens(data), self._dictionary is not None)
            need = min(need, accounting.block_bytes(len(data), self._options.solid, of_text))
        elif data is not None and not self._work.text_bytes and self._options.block_lines is None:
            need = min(need, bytes_without_model(data, self._options))
        return memory_limit(memory_code(need))

    def _is_one_block(self, data: bytes, level: levels.Level) -> bool:
        return (
            len(data) <= level.block_size
            and self._options.block_lines is None
            and not self._options.solid
            and self._work.text_bytes == len(data)
            and (self._options.codec is not None or leading_run(data)[1] == len(data))
            and self._tokens(data) <= max_tokens(level, self._engine.model.spec, self._context)
        )

    def _tokens(self, data: bytes) -> int:
        return round(len(data) * self._work.tokens_per_byte)


def bytes_without_model(data: bytes, options: CompressionOptions) -> int:
    """What the header of a file states that holds this data, and of which no model codes
    anything.
    """
    size = levels.level_parameters(levels.DEFAULT_LEVEL, options.block_size).block_size
    if leading_run(data[:size])[1] == len(data):  # a single block, on which none builds
        return accounting.block_bytes(len(data), False)
    return accounting.block_bytes(size, options.solid)


def _most_bytes(codec: LLMCodec, level: levels.Level, tokens: int, has_dictionary: bool) -> int:
    """The most memory that a block of so many tokens and fewer takes: matches may leave fewer. For
    each number of streams it is the longest.
    """
    counts = {tokens, *(n * level.stream_tokens - 1 for n in range(2, level.max_streams + 1))}
    return max(
        codec.layout_of(count).decoder_bytes(codec.model.spec, has_dictionary)
        for count in counts
        if 0 < count <= tokens
    )
