"""How the tokens of a payload lie in streams: chosen by encoders, written before what is coded,
checked by decoders.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from llmzip import accounting
from llmzip.container.block import WINDOW_UNIT
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import SINK_TOKENS
from llmzip.errors import FormatError
from llmzip.levels import Level, stream_count
from llmzip.mixing.base import MIN_CAPACITY_BITS, MIXING_VERSION, capacity_bits_for
from llmzip.model.spec import ModelSpec

MAX_STREAMS = 1 << 9
"""The limit of the format: four times as many as any level has."""


@dataclasses.dataclass(frozen=True)
class StreamLayout:
    """The parameters of a payload of streams (docs/format.md, "Payloads", llm; docs/codecs.md,
    "Ranks").
    """

    tokens: int
    streams: int
    window: int
    """Tokens that attention sees, a multiple of `WINDOW_UNIT`."""
    context: int = 0
    """Tokens that each stream has read before its first; not written, as the dictionary says it."""
    capacity_bits: int = 0
    """log2 of how many tokens mixing remembers; 0: predictions are not mixed."""

    @classmethod
    def for_level(
        cls, level: Level, tokens: int, spec: ModelSpec, context: int = 0
    ) -> StreamLayout:
        """The layout of 1 to `max_tokens(level, spec, context)` tokens at a level, without
        mixing.
        """
        longest = spec.max_positions - context
        streams = max(stream_count(level, tokens), -(-tokens // longest))
        seen = context - (-tokens // streams)
        window = min(max(level.window, context), rounded_to_units(seen))
        return cls(tokens, streams, rounded_to_units(window), context)

    @classmethod
    def usual(cls, tokens: int, context: int, capacity_bits: int) -> StreamLayout:
        """The layout of short texts: one stream, whose window holds everything."""
        return cls(tokens, 1, rounded_to_units(context + tokens), context, capacity_bits)

    @property
    def positions(self) -> int:
        """The positions that the longest stream takes: its context and its own tokens."""
        return self.context - (-self.tokens // self.streams)

    def write(self, usual: StreamLayout | None = None) -> bytes:
        """The varints that precede the coded tokens.

        usual: for payloads with a capacity; this layout is written in two of them.
        """
        fields: tuple[int, ...] = (self.tokens, self.streams, self.window // WINDOW_UNIT)
        if usual is not None:
            fields = (self.tokens, 0) if self == usual else (*fields, self.capacity_bits)
        return b"".join(map(varint, fields))

    @classmethod
    def read(
        cls,
        reader: ByteReader,
        context: int = 0,
        usual: Callable[[int], StreamLayout] | None = None,
    ) -> StreamLayout:
        """The inverse of `write`; `usual` gives the layout that so many tokens have where it is
        written short.

        Any layout may be read, also an impossible one. Raises FormatError or TruncatedError where
        there is none.
        """
        tokens, streams = (reader.varint(f"a block's {what}") for what in ("tokens", "streams"))
        if usual and not streams:
            return usual(tokens)
        units = reader.varint("a block's window")
        capacity_bits = reader.varint("a block's mixing capacity") if usual else 0
        return cls(tokens, streams, units * WINDOW_UNIT, context, capacity_bits)

    def validate(self, size: int, spec: ModelSpec, max_capacity_bits: int = 0) -> None:
        """Raise FormatError where no payload that stands for `size` bytes has this layout under
        this model.
        """
        can_mix = (
            self.capacity_bits == 0 or MIN_CAPACITY_BITS <= self.capacity_bits <= max_capacity_bits
        )
        if not (
            1 <= self.tokens <= size
            and 1 <= self.streams <= min(self.tokens, MAX_STREAMS)
            and max(1, self.context) <= self.window < spec.max_positions + WINDOW_UNIT
            and self.positions <= spec.max_positions
            and can_mix
        ):
            raise FormatError(
                f"impossible block parameters ({self.tokens} tokens, {self.streams} streams, "
                f"window {self.window}, mixing capacity {self.capacity_bits}): the data is damaged"
            )

    def decoder_bytes(
        self, spec: ModelSpec, has_dictionary: bool, mixing_version: int = MIXING_VERSION
    ) -> int:
        """The memory that decoding a payload of this layout takes (docs/format.md, "Memory")."""
        slots = accounting.rounded_up(
            min(min(self.window, self.positions) + SINK_TOKENS, spec.max_positions)
        )
        return accounting.llm_bytes(
            self.tokens,
            self.streams,
            self.streams * slots,
            self.capacity_bits,
            spec,
            has_dictionary,
            mixing_version,
        )


def rounded_to_units(tokens: int) -> int:
    """The smallest window that holds so many tokens."""
    return -(-tokens // WINDOW_UNIT) * WINDOW_UNIT


def max_tokens(level: Level, spec: ModelSpec, context: int = 0) -> int:
    """The most tokens that one payload may hold at a level."""
    return level.max_streams * (spec.max_positions - context)


def decoder_bytes_bound(
    level: Level, spec: ModelSpec, context: int, capacity_bits: int | None, has_dictionary: bool
) -> int:
    """An upper bound on the `decoder_bytes` of payloads at a level.

    capacity_bits: of its mixing; None where the number of tokens decides, 0 for none.
    """
    # A token stands for at least one byte.
    tokens = min(max_tokens(level, spec, context), level.block_size)
    streams = StreamLayout.for_level(level, tokens, spec, context).streams
    widest = accounting.rounded_up(max(level.window, context) + WINDOW_UNIT + SINK_TOKENS)
    # What a stream has beside its share of the tokens.
    longest = context + 1 + SINK_TOKENS + accounting.SLOT_UNIT
    bits = capacity_bits_for(tokens) if capacity_bits is None else capacity_bits
    slots = min(streams * widest, tokens + streams * longest)
    return accounting.llm_bytes(tokens, streams, slots, bits, spec, has_dictionary)
