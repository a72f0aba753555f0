"""The codec llm (docs/format.md, "Payload of the llm codec"): streams of tokens in lockstep."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Protocol

from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.featured_transformer import new_stream
from tests.reference_decoder.mixing import Mixing
from tests.reference_decoder.model import Model, Spec
from tests.reference_decoder.range_decoder import (
    BUCKET,
    BYTES,
    RangeDecoder,
    cumulative_frequencies,
    in_buckets,
)
from tests.reference_decoder.row import Row

MAX_STREAMS = 512
WINDOW_UNIT = 64
MIN_CAPACITY_BITS, MAX_CAPACITY_BITS = 8, 22
SYMBOLS_PER_BYTE = 1024
"""The range coder's n bytes hold at most 1024 * (1 + n) tokens or symbols."""
DICTIONARY_WINDOW, DICTIONARY_STREAM = 1024, 4096
"""The window and the tokens of a stream with which the mixing learns a dictionary."""

Progress = Callable[[int, int], None]
"""Gets how many tokens are done, and of how many."""


class SymbolDecoder(Protocol):
    """A range decoder."""

    def decode(self, cumulative: Sequence[int], /) -> int:
        """The next symbol, which has these cumulative frequencies."""
        ...


@dataclasses.dataclass(frozen=True)
class StreamLayout:
    """How the tokens of a block lie in streams, and what predicts them."""

    tokens: int
    streams: int
    window: int
    capacity_bits: int
    """Of the mixing; 0 for none."""

    def lengths(self) -> list[int]:
        """The tokens of each stream."""
        return stream_lengths(self.tokens, self.streams)


def stream_lengths(tokens: int, streams: int) -> list[int]:
    """Consecutive parts of so many tokens, the longer ones first."""
    return [tokens // streams + (s < tokens % streams) for s in range(streams)]


def usual_capacity_bits(tokens: int) -> int:
    """The capacity that holds so many tokens."""
    return max(MIN_CAPACITY_BITS, min(MAX_CAPACITY_BITS, (tokens - 1).bit_length()))


def usual_layout(tokens: int, context: int, dictionary: int) -> StreamLayout:
    """What 0 streams stand for. context, dictionary: how many tokens these have."""
    window = -(-(context + tokens) // WINDOW_UNIT) * WINDOW_UNIT
    return StreamLayout(tokens, 1, window, usual_capacity_bits(tokens + dictionary))


def read_layout(
    reader: ByteReader, size: int, spec: Spec, context: int, dictionary: int, solid: bool
) -> StreamLayout:
    """The beginning of a payload, for a block of `size` bytes; refuses what the format does not
    allow."""
    tokens, streams = reader.varint("a block's tokens"), reader.varint("a block's streams")
    layout = usual_layout(tokens, context, dictionary)
    if streams:
        window, capacity_bits = reader.varint("a block's window"), reader.varint("a capacity")
        layout = StreamLayout(tokens, streams, window * WINDOW_UNIT, capacity_bits)
    most_bits = MAX_CAPACITY_BITS if solid else usual_capacity_bits(tokens + dictionary)
    coded = len(reader.data) - reader.offset
    rules = (
        (1 <= tokens <= size, "a token stands for at least one byte"),
        (layout.streams <= min(tokens, MAX_STREAMS), "too many streams"),
        (max(1, context) <= layout.window < spec.max_positions + WINDOW_UNIT, "no such window"),
        (
            context - (-tokens // max(1, layout.streams)) <= spec.max_positions,
            "streams longer than the model's positions",
        ),
        (
            not layout.capacity_bits or MIN_CAPACITY_BITS <= layout.capacity_bits <= most_bits,
            "no such capacity",
        ),
        (tokens <= SYMBOLS_PER_BYTE * (1 + coded), "more tokens than so few bytes hold"),
    )
    for allowed, problem in rules:
        if not allowed:
            raise DecodeError(f"{layout} for {size} bytes: {problem}")
    return layout


class Streams:
    """The streams of a block: each predicts by itself, the mixing is shared."""

    def __init__(
        self,
        model: Model,
        streams: int,
        window: int,
        mixing: Mixing | None,
        context: Sequence[int] = (),
    ) -> None:
        """context: tokens that every stream has read before its first."""
        self._mixing = mixing
        read = [model.spec.start_token, *context]
        start = new_stream(model, window)
        for token in read[:-1]:
            start.feed(token)
        self._transformers = [start, *(start.copy() for _ in range(streams - 1))]
        self._read = [list(read) for _ in range(streams)]

    def predict(self, active: int) -> list[list[int]]:
        """The weights of all tokens in the first `active` streams."""
        pairs = zip(self._transformers[:active], self._read, strict=False)
        rows = [Row(transformer.predict(read[-1]), read) for transformer, read in pairs]
        if self._mixing:
            return self._mixing.correct(rows)
        return [row.predicted.weights for row in rows]

    def learn(self, tokens: Sequence[int]) -> None:
        """The tokens that came in these streams."""
        if self._mixing:
            self._mixing.learn(tokens)
        for read, token in zip(self._read, tokens, strict=False):
            read.append(token)


def decode_streams(
    decoder: SymbolDecoder,
    model: Model,
    layout: StreamLayout,
    mixing: Mixing | None,
    context: Sequence[int] = (),
    progress: Progress | None = None,
) -> bytes:
    """The bytes that a block's tokens stand for."""
    streams = Streams(model, layout.streams, layout.window, mixing, context)
    texts = [bytearray() for _ in range(layout.streams)]
    lengths, done = layout.lengths(), 0
    for step in range(lengths[0]):
        active = sum(step < length for length in lengths)
        tokens = decode_step(decoder, streams.predict(active))
        for text, token in zip(texts, tokens, strict=False):
            if token >= model.spec.vocab:
                raise DecodeError(f"token {token} of a vocabulary of {model.spec.vocab}")
            if not model.token_bytes[token] and token != model.spec.escape_token:
                raise DecodeError(f"token {token}, which stands for no text")
            text += model.token_bytes[token]
        for text, token in zip(texts, tokens, strict=False):
            if token == model.spec.escape_token:
                text.append(decoder.decode(BYTES))
        streams.learn(tokens)
        done += active
        if progress:
            progress(done, layout.tokens)
    return b"".join(texts)


def decode_step(decoder: SymbolDecoder, weights: Sequence[Sequence[int]]) -> list[int]:
    """A token for each stream, by its tokens' weights: all buckets, then all slots in them."""
    bucketed = [in_buckets(of_stream) for of_stream in weights]
    buckets = [
        decoder.decode(cumulative_frequencies([sum(bucket) for bucket in of_stream]))
        if len(of_stream) > 1
        else 0
        for of_stream in bucketed
    ]
    return [
        bucket * BUCKET + decoder.decode(cumulative_frequencies(of_stream[bucket]))
        for of_stream, bucket in zip(bucketed, buckets, strict=True)
    ]


def mixing_that_read(
    tokens: Sequence[int], capacity_bits: int, model: Model, version: int
) -> Mixing:
    """A mixing that has learned a dictionary ("Dictionaries")."""
    mixing = Mixing(capacity_bits, model, version)
    if tokens:
        fewest = -(-len(tokens) // model.spec.max_positions)
        lengths = stream_lengths(len(tokens), max(1, len(tokens) // DICTIONARY_STREAM, fewest))
        starts = [sum(lengths[:s]) for s in range(len(lengths))]
        streams = Streams(model, len(lengths), DICTIONARY_WINDOW, mixing)
        for step in range(lengths[0]):
            active = sum(step < length for length in lengths)
            streams.predict(active)
            streams.learn([tokens[start + step] for start in starts[:active]])
    return mixing


def decode_llm(
    payload: bytes,
    size: int,
    model: Model,
    dictionary: Sequence[int] = (),
    carried: Mixing | None = None,
    solid: bool = False,
    progress: Progress | None = None,
    mixing_version: int = 3,
) -> tuple[bytes, Mixing | None]:
    """The `size` bytes of a payload, and the mixing for the next block of a solid frame.

    dictionary: its tokens. carried: what the blocks before have taught.
    """
    reader = ByteReader(payload)
    context = context_of(dictionary, model.spec)
    layout = read_layout(reader, size, model.spec, len(context), len(dictionary), solid)
    mixing = None
    if layout.capacity_bits:
        mixing = carried or mixing_that_read(
            dictionary, layout.capacity_bits, model, mixing_version
        )
        if mixing.capacity_bits != layout.capacity_bits:
            raise DecodeError("the mixing changes its capacity between the blocks of a frame")
    decoder = RangeDecoder(reader.rest())
    text = decode_streams(decoder, model, layout, mixing, context, progress)
    if len(text) != size:
        raise DecodeError(f"a block's tokens stand for {len(text)} bytes instead of {size}")
    return text, mixing or carried


def context_of(dictionary: Sequence[int], spec: Spec) -> Sequence[int]:
    """The last tokens of a dictionary, which every stream reads before its first."""
    return dictionary[len(dictionary) - min(len(dictionary), 512, spec.max_positions // 2) :]
