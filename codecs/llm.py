"""The language-model codec: bytes -> tokens -> lockstep streams, corrected by a memory -> range coder (docs/format.md)."""

from __future__ import annotations

import dataclasses
import io

import numpy as np

from llmzip import accounting, levels
from llmzip.codecs.base import Progress
from llmzip.coding.range_coder import has_too_many, padded
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import Engine
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.memory.base import MAX_CAPACITY_BITS, MIN_CAPACITY_BITS, Memory, capacity_bits_for
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import Progress as TokenProgress
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.prime import Primed

_DEFAULT_LEVEL = levels.level_parameters(levels.DEFAULT_LEVEL)

SOLID_MEMORY_BITS = 18
"""The least capacity of a memory that is carried from block to block; larger blocks get as many positions as bytes."""


@dataclasses.dataclass(frozen=True)
class EncodedPrefix:
    """What became of the first bytes of some data."""

    payload: bytes
    covered: int
    """How many bytes the payload stands for."""
    taught: Memory | None
    """The block's memory, after it has learned the block: what the next block of a solid frame begins with."""


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
        memory: bool = True,
        primed: Primed | None = None,
        solid: bool = False,
        progress: Progress | None = None,
    ) -> None:
        """level, memory: what encoding follows. primed, solid: what the frame says, for encoding and decoding."""
        self._engine = engine
        self._level = level
        self._has_memory = memory
        self._primed = primed
        self._solid = solid
        self._progress = progress

    @property
    def model(self) -> IntegerModel:
        """The model that codes."""
        return self._engine.model

    @property
    def primed(self) -> Primed | None:
        """The reference that primes it."""
        return self._primed

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`. Raises LimitError for more than one block can hold: see `encode_prefix`."""
        made = self.encode_prefix(data)
        if made.covered < len(data):
            raise LimitError(
                f"{len(data)} bytes are more than one block holds ({made.covered}); use a smaller block size"
            )
        return made.payload

    def encode_prefix(self, data: bytes, carried: Memory | None = None) -> EncodedPrefix:
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
        bits = self._memory_bits(count)
        plan = dataclasses.replace(levels.plan(self._level, count, spec, self._context), memory_bits=bits)
        memory = self._memory(bits, carried and carried.copy())
        start = self._primed.start() if self._primed else None
        report = self._reporter(count, len(data))
        coded = encode_tokens(self._engine, tokens, plan.streams, plan.window, memory, start, report)
        return EncodedPrefix(self._parameters(plan) + padded(coded, count), len(data), memory)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""
        return self.decode_after(payload, size, None)[0]

    def decode_after(self, payload: bytes, size: int, carried: Memory | None) -> tuple[bytes, Memory | None]:
        """The same, and the memory for the next block of a solid frame: the block's own, or `carried` where it has none.

        carried: what the blocks before have taught; it learns the block.
        """
        plan, coded = self._read_plan(payload, size)
        memory = self._memory(plan.memory_bits, carried)
        start = self._primed.start() if self._primed else None
        report = self._reporter(plan.tokens, size)
        tokens = decode_tokens(self._engine, coded, plan.tokens, plan.streams, plan.window, memory, start, report)
        data = self.model.tokenizer.decode(tokens)
        if len(data) != size:
            raise IntegrityError(f"a block decodes to {len(data)} bytes instead of {size}: the file is damaged")
        return data, carried if memory is None else memory

    def need(self, payload: bytes, size: int) -> int:
        """The bytes that decoding takes (`accounting`). Raises FormatError for impossible parameters."""
        plan = self._read_plan(payload, size)[0]
        return accounting.llm_bytes(plan, self.model.spec, self._primed is not None)

    def bound(self) -> int:
        """At least that of any payload that this codec makes."""
        bits = self._memory_bits(0) if self._solid or not self._has_memory else None
        if bits is None and self._primed:
            bits = self._memory_bits(self._level.block_size)
        return accounting.llm_bound(self._level, self.model.spec, self._context, bits, self._primed is not None)

    @property
    def _context(self) -> int:
        """How many tokens each stream has read before its first."""
        return len(self._primed.context) if self._primed else 0

    def _memory_bits(self, tokens: int) -> int:
        """The capacity that a block of so many tokens gets."""
        if not self._has_memory:
            return 0
        if self._solid:
            return max(SOLID_MEMORY_BITS, capacity_bits_for(self._level.block_size))
        return self._bits_for_all(tokens)

    def _bits_for_all(self, tokens: int) -> int:
        """The capacity that holds so many tokens and the prime's."""
        return capacity_bits_for(tokens + (self._primed.tokens if self._primed else 0))

    def _memory(self, bits: int, carried: Memory | None) -> Memory | None:
        """What a block starts with: the memory carried on, a primed or an empty one."""
        if not bits:
            return None
        if carried is not None:
            if carried.capacity_bits != bits:
                raise FormatError("the memory changes its size between the blocks of a frame: the file is damaged")
            return carried
        return self._primed.memory(bits) if self._primed else self._engine.memory(bits)

    def _usual_plan(self, tokens: int) -> levels.Plan:
        """One stream that sees everything, and a memory that holds everything: what short texts get."""
        window = -(-(self._context + tokens) // levels.WINDOW_UNIT) * levels.WINDOW_UNIT
        return levels.Plan(tokens, 1, window, self._context, self._bits_for_all(tokens))

    def _parameters(self, plan: levels.Plan) -> bytes:
        """The parameters at the beginning of a payload; "0 streams" stands for the usual plan."""
        if plan == self._usual_plan(plan.tokens):
            return varint(plan.tokens) + varint(0)
        return b"".join(map(varint, (plan.tokens, plan.streams, plan.window // levels.WINDOW_UNIT, plan.memory_bits)))

    def _read_plan(self, payload: bytes, size: int) -> tuple[levels.Plan, bytes]:
        """The inverse of `_parameters`, and what is coded. Raises FormatError for what docs/format.md does not allow."""
        reader = ByteReader(io.BytesIO(payload))
        count, streams = (reader.varint(f"a block's {what}") for what in ("tokens", "streams"))
        plan = self._usual_plan(count)
        if streams:
            units, bits = (reader.varint(f"a block's {what}") for what in ("window", "memory"))
            plan = levels.Plan(count, streams, units * levels.WINDOW_UNIT, self._context, bits)
        coded = payload[reader.offset :]
        if not self._is_possible(plan, size) or has_too_many(count, coded):
            raise FormatError(
                f"impossible block parameters ({plan.tokens} tokens, {plan.streams} streams, window {plan.window}, "
                f"memory {plan.memory_bits}, {len(coded)} coded bytes): the file is damaged"
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
            and (not plan.memory_bits or MIN_CAPACITY_BITS <= plan.memory_bits <= most_bits)
        )

    def _reporter(self, tokens: int, size: int) -> TokenProgress | None:
        """Turn tokens done into bytes done, in proportion."""
        progress = self._progress
        if progress is None:
            return None
        return lambda done: progress(size * done // tokens, done)
