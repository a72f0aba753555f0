"""The language-model codec: bytes -> tokens -> lockstep streams, corrected by a mixer -> range coder (docs/format.md)."""

from __future__ import annotations

import dataclasses
import io

import numpy as np

from llmzip import accounting, levels
from llmzip.coding.observer import CodingObserver
from llmzip.coding.range_coder import has_too_many, padded
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import Engine
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.mixing.base import MAX_CAPACITY_BITS, MIN_CAPACITY_BITS, ContextMixer, capacity_bits_for
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.dictionary import PreparedDictionary
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.types import Progress, TokenProgress

_DEFAULT_LEVEL = levels.level_parameters(levels.DEFAULT_LEVEL)

SOLID_CAPACITY_BITS = 18
"""The least capacity of a mixer that is carried from block to block; larger blocks get as many positions as bytes."""


@dataclasses.dataclass(frozen=True)
class EncodedPrefix:
    """What became of the first bytes of some data."""

    payload: bytes
    covered: int
    """How many bytes the payload stands for."""
    taught: ContextMixer | None
    """The block's mixer, after it has learned the block: what the next block of a solid frame begins with."""


class LLMCodec:
    """Codes blocks of text with one model at one level; decoding takes its parameters from the payload.

    No call leaves a trace, so threads may share one: what a solid frame carries from block to block, its owner hands over.
    """

    id = 3
    name = "llm"

    def __init__(
        self,
        engine: Engine,
        level: levels.Level = _DEFAULT_LEVEL,
        *,
        mixing: bool = True,
        dictionary: PreparedDictionary | None = None,
        solid: bool = False,
        progress: Progress | None = None,
        observer: CodingObserver | None = None,
    ) -> None:
        """level, mixing: what encoding follows. dictionary, solid: what the frame says, for encoding and decoding.

        observer: is told what encoding codes.
        """
        self._engine = engine
        self._level = level
        self._has_mixing = mixing
        self._dictionary = dictionary
        self._solid = solid
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

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`. Raises LimitError for more than one block can hold: see `encode_prefix`."""
        made = self.encode_prefix(data)
        if made.covered < len(data):
            raise LimitError(
                f"{len(data)} bytes are more than one block holds ({made.covered}); use a smaller block size"
            )
        return made.payload

    def encode_prefix(self, data: bytes, carried: ContextMixer | None = None) -> EncodedPrefix:
        """One block that holds as much of `data` as fits.

        carried: in a solid frame, what the blocks before have taught; it stays as it is, as the new block may be dropped.
        """
        spec = self.model.spec
        tokens = self.model.tokenizer.encode(data)
        most = levels.capacity(self._level, spec, self._context)
        if len(tokens.ids) > most:
            kept = tokens.ids[:most]
            escapes = int(np.count_nonzero(kept == spec.escape_token))
            tokens = Tokens(kept, tokens.literals[:escapes])
            data = self.model.tokenizer.decode(tokens)
        count = len(tokens.ids)
        bits = self._capacity_bits(count)
        plan = dataclasses.replace(levels.plan(self._level, count, spec, self._context), capacity_bits=bits)
        mixer = self._mixer(bits, carried and carried.copy())
        start = self._dictionary.start() if self._dictionary else None
        report = self._reporter(count, len(data))
        if self._observer:
            self._observer.begin_payload()
        coded = encode_tokens(self._engine, tokens, plan.streams, plan.window, mixer, start, report, self._observer)
        parameters, coded = self._parameters(plan), padded(coded, count)
        if self._observer:
            self._observer.end_payload(parameters, coded)
        return EncodedPrefix(parameters + coded, len(data), mixer)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""
        return self.decode_after(payload, size, None)[0]

    def decode_after(
        self, payload: bytes, size: int, carried: ContextMixer | None
    ) -> tuple[bytes, ContextMixer | None]:
        """The same, and the mixer for the next block of a solid frame: the block's own, or `carried` where it has none.

        carried: what the blocks before have taught; it learns the block.
        """
        plan, coded = self._read_plan(payload, size)
        mixer = self._mixer(plan.capacity_bits, carried)
        start = self._dictionary.start() if self._dictionary else None
        report = self._reporter(plan.tokens, size)
        tokens = decode_tokens(self._engine, coded, plan.tokens, plan.streams, plan.window, mixer, start, report)
        data = self.model.tokenizer.decode(tokens)
        if len(data) != size:
            raise IntegrityError(f"a block decodes to {len(data)} bytes instead of {size}: the file is damaged")
        return data, carried if mixer is None else mixer

    def need(self, payload: bytes, size: int) -> int:
        """The bytes that decoding takes (`accounting`). Raises FormatError for impossible parameters."""
        plan = self._read_plan(payload, size)[0]
        return accounting.llm_bytes(plan, self.model.spec, self._dictionary is not None)

    def belongs_in_solid_frame(self, payload: bytes, size: int) -> bool:
        """Whether only a solid frame may hold a payload: its mixer holds more than this block's tokens."""
        plan = self._read_plan(payload, size)[0]
        return plan.capacity_bits > self._bits_for_all(plan.tokens)

    def bound(self) -> int:
        """At least that of any payload that this codec makes."""
        bits = self._capacity_bits(0) if self._solid or not self._has_mixing else None
        if bits is None and self._dictionary:
            bits = self._capacity_bits(self._level.block_size)
        return accounting.llm_bound(self._level, self.model.spec, self._context, bits, self._dictionary is not None)

    @property
    def _context(self) -> int:
        """How many tokens each stream has read before its first."""
        return len(self._dictionary.context) if self._dictionary else 0

    def _capacity_bits(self, tokens: int) -> int:
        """The capacity that a block of so many tokens gets."""
        if not self._has_mixing:
            return 0
        if self._solid:
            return max(SOLID_CAPACITY_BITS, capacity_bits_for(self._level.block_size))
        return self._bits_for_all(tokens)

    def _bits_for_all(self, tokens: int) -> int:
        """The capacity that holds so many tokens and the dictionary's."""
        return capacity_bits_for(tokens + (self._dictionary.tokens if self._dictionary else 0))

    def _mixer(self, bits: int, carried: ContextMixer | None) -> ContextMixer | None:
        """The mixer that a block starts with: the one carried on, one that has learned the dictionary, or an empty one."""
        if not bits:
            return None
        if carried is not None:
            if carried.capacity_bits != bits:
                raise FormatError("the mixing capacity changes between the blocks of a frame: the file is damaged")
            return carried
        return self._dictionary.mixer(bits) if self._dictionary else self._engine.mixer(bits)

    def _usual_plan(self, tokens: int) -> levels.Plan:
        """One stream that sees everything, and a mixer that holds everything: what short texts get."""
        window = -(-(self._context + tokens) // levels.WINDOW_UNIT) * levels.WINDOW_UNIT
        return levels.Plan(tokens, 1, window, self._context, self._bits_for_all(tokens))

    def _parameters(self, plan: levels.Plan) -> bytes:
        """The parameters at the beginning of a payload; "0 streams" stands for the usual plan."""
        if plan == self._usual_plan(plan.tokens):
            return varint(plan.tokens) + varint(0)
        return b"".join(map(varint, (plan.tokens, plan.streams, plan.window // levels.WINDOW_UNIT, plan.capacity_bits)))

    def _read_plan(self, payload: bytes, size: int) -> tuple[levels.Plan, bytes]:
        """The inverse of `_parameters`, and what is coded. Raises FormatError for what docs/format.md does not allow."""
        reader = ByteReader(io.BytesIO(payload))
        count, streams = (reader.varint(f"a block's {what}") for what in ("tokens", "streams"))
        plan = self._usual_plan(count)
        if streams:
            units, bits = (reader.varint(f"a block's {what}") for what in ("window", "capacity"))
            plan = levels.Plan(count, streams, units * levels.WINDOW_UNIT, self._context, bits)
        coded = payload[reader.offset :]
        if not self._is_possible(plan, size) or has_too_many(count, coded):
            raise FormatError(
                f"impossible block parameters ({plan.tokens} tokens, {plan.streams} streams, window {plan.window}, "
                f"mixing capacity {plan.capacity_bits}, {len(coded)} coded bytes): the file is damaged"
            )
        return plan, coded

    def _is_possible(self, plan: levels.Plan, size: int) -> bool:
        """Whether docs/format.md allows this layout of a block of `size` bytes."""
        positions = self.model.spec.max_positions
        most_bits = MAX_CAPACITY_BITS if self._solid else self._bits_for_all(plan.tokens)
        return (
            1 <= plan.tokens <= size
            and 1 <= plan.streams <= min(plan.tokens, levels.MAX_STREAMS)
            and max(1, self._context) <= plan.window < positions + levels.WINDOW_UNIT
            and plan.context - (-plan.tokens // plan.streams) <= positions
            and (not plan.capacity_bits or MIN_CAPACITY_BITS <= plan.capacity_bits <= most_bits)
        )

    def _reporter(self, tokens: int, size: int) -> TokenProgress | None:
        """Turn tokens done into bytes done, in proportion."""
        progress = self._progress
        if progress is None:
            return None
        return lambda done: progress(size * done // tokens, done)
