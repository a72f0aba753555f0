"""Equal-Info Windows (arXiv 2404.03626): text as numbers of W bits, each of which a model decodes
by itself.

Coder and context begin anew with every window, so any window can be read alone, and an error stays
in one. docs/codecs.md has the rules and the wire form.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_BITS
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.window_packing import (
    LITERAL_FREQUENCY,
    Part,
    Symbol,
    Walk,
    WindowStatistics,
    part_bounds,
)
from llmzip.coding.windows import Interval, interval_starts, symbol_at
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import Engine
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import FormatError, IntegrityError
from llmzip.model.tokenizer import Tokens
from llmzip.runtime import Runtime

MIN_BITS, MAX_BITS = 32, 256

_MAX_TOKENS = 256  # in one window, so that text without information does not fill the cache
_BATCH = 32  # windows that are decoded at once


class EqualInfoCodec(PayloadCodec):
    """Windows of `bits` bits under one model."""

    name = "equal-info"
    needs_model = True

    def __init__(self, engine: Engine, bits: int = 64) -> None:
        """bits: W, a multiple of 8 from 32 to 256. Raises ValueError for others."""
        if not MIN_BITS <= bits <= MAX_BITS or bits % 8:
            raise ValueError(
                f"windows of {bits} bits: multiples of 8 from {MIN_BITS} to {MAX_BITS}"
            )
        self._engine = engine
        self._bits = bits
        self._spec = engine.model.spec
        self._longest = min(_MAX_TOKENS, self._spec.max_positions)
        self._escape_number = (1 << bits) - 1

    @classmethod
    def create(
        cls, *, bits: int = 64, model: ModelLike | None = None, runtime: Runtime | None = None
    ) -> EqualInfoCodec:
        """bits: of a window; the other parameters are as of `llmzip.compress`."""
        return cls(EngineLoader.of(model, runtime=runtime).for_compression(), bits)

    def get_config(self) -> dict[str, Any]:
        """See `PayloadCodec.get_config`."""
        return {"bits": self._bits, "model": self._engine.model.fingerprint.hex()}

    # ---- encoding --------------------------------------------------------------------------------

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`: W ÷ 8, tokens and parts, the windows of each part, then the
        windows.
        """
        parts, tokens = self._parts(data)
        counts = [self._bits // 8, tokens, len(parts), *(len(part.numbers) for part in parts)]
        size = self._bits // 8
        windows = b"".join(
            number.to_bytes(size, "big") for part in parts for number in part.numbers
        )
        return b"".join(map(varint, counts)) + windows

    def statistics(self, data: bytes) -> WindowStatistics:
        """What `encode` does with at least one byte, in numbers."""
        parts, tokens = self._parts(data)
        windows = sum(len(part.numbers) for part in parts)
        escaped = sum(part.numbers.count(self._escape_number) for part in parts)
        information = sum(part.information_bits for part in parts)
        return WindowStatistics(self._bits, len(data), tokens, windows, escaped, information)

    def _parts(self, data: bytes) -> tuple[list[Part], int]:
        """Parts of the text advance together, a window of each at a time: the model serves them all
        at once.
        """
        symbols = _symbols(self._engine.model.tokenizer.encode(data), self._spec.escape_token)
        parts = [Part(symbols[a:b], self._bits) for a, b in part_bounds(len(symbols))]
        guess = max(4, self._bits // 8)
        while waiting := [part for part in parts if part.done < len(part.symbols)]:
            self._next_windows(waiting, guess)
        return parts, len(symbols)

    def _next_windows(self, parts: list[Part], chunk: int) -> None:
        """Add a window to each part; the model looks `chunk` tokens ahead at a time."""
        session = self._engine.session(len(parts), self._longest, chunk)
        walks = [
            Walk(part.symbols[part.done : part.done + self._longest], self._bits) for part in parts
        ]
        length = max(len(walk.ahead) for walk in walks)
        fed = np.zeros((len(parts), length), np.int32)
        for row, walk in enumerate(walks):
            fed[row, 0] = self._spec.start_token
            fed[row, 1 : len(walk.ahead)] = [token for token, _ in walk.ahead[:-1]]
        for start in range(0, length, chunk):
            head = session.advance(fed[:, start : start + chunk])
            steps = head.scales.shape[1]
            buckets = np.zeros((len(parts), steps), np.int64)
            for row, walk in enumerate(walks):
                here = [token >> BUCKET_BITS for token, _ in walk.ahead[start : start + steps]]
                buckets[row, : len(here)] = here
            vectors, scales = head.vectors.reshape(buckets.size, -1), head.scales.reshape(-1)
            tables = self._engine.distributions(vectors, scales)
            first = interval_starts(tables.bucket_frequencies()).reshape(len(parts), steps, -1)
            second = interval_starts(tables.token_frequencies(buckets.reshape(-1))).reshape(
                len(parts), steps, -1
            )
            for row, walk in enumerate(walks):
                for step in range(min(steps, len(walk.ahead) - start)):
                    if not walk.open:
                        break
                    walk.inputs.append(
                        (head.vectors[row, step : step + 1], head.scales[row, step : step + 1])
                    )
                    walk.add(first[row, step], second[row, step], self._spec.escape_token)
            if not any(walk.open and start + steps < len(walk.ahead) for walk in walks):
                break
        for part, walk in zip(parts, walks, strict=True):
            self._close(part, walk)

    def _close(self, part: Part, walk: Walk) -> None:
        """Choose the window's number: the most tokens for which one ends the window by the
        decoder's rule.
        """
        if walk.open:  # the part or the longest window ends here: the decoder knows
            part.add(len(walk.intervals) - 1, walk.intervals[-1], walk.intervals[-1].first_number())
            return
        for count in range(len(walk.intervals) - 1, 0, -1):
            interval = walk.intervals[count]
            number = self._ending(interval, *walk.inputs[count])
            if number is not None:
                part.add(count, interval, number)
                return
        token, literal = walk.ahead[0]
        verbatim = self._spec.vocab + literal if token == self._spec.escape_token else token
        part.numbers += [self._escape_number, verbatim]
        part.done += 1

    def _ending(
        self, interval: Interval, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> int | None:
        """A number in the interval after which the decoder, by [1, d] and [1], finds no token that
        fits, or None.
        """
        weights = self._engine.distributions(vectors, scales)
        buckets = interval_starts(weights.bucket_frequencies())[0]
        for number in interval.numbers():
            reached = symbol_at(interval, number, buckets)
            if reached is None:
                return number
            bucket, inside = reached
            slots = interval_starts(weights.token_frequencies(np.array([bucket])))[0]
            reached = symbol_at(inside, number, slots)
            if reached is None:
                return number
            slot, inside = reached
            if (bucket << BUCKET_BITS | slot) == self._spec.escape_token:
                # Only the width matters, and it is the same for all bytes.
                inside = inside.narrowed(0, LITERAL_FREQUENCY)
            if not inside.fits:
                return number
        return None

    # ---- decoding --------------------------------------------------------------------------------

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        tokens, counts, numbers = self._read(payload)
        if not 1 <= tokens <= size:
            raise FormatError(f"{tokens} tokens cannot hold {size} bytes: the data is damaged")
        windows = self._decode_windows(numbers)
        symbols: list[Symbol] = []
        first = 0
        for (start, stop), count in zip(part_bounds(tokens), counts, strict=True):
            part = [symbol for window in windows[first : first + count] for symbol in window]
            if len(part) < stop - start:
                raise IntegrityError("the windows hold too few tokens: the data is damaged")
            symbols += part[: stop - start]
            first += count
        data = self._text(symbols)
        if len(data) != size:
            raise IntegrityError(
                f"the windows hold {len(data)} bytes instead of {size}: the data is damaged"
            )
        return data

    def decode_window(self, payload: bytes, index: int) -> bytes:
        """The text of one window of a payload, read without the others; the last one of a part may
        go on too far.

        Nothing for the first of two windows that hold one token. Raises IndexError for a window
        that does not exist.
        """
        numbers = self._read(payload)[2]
        if not 0 <= index < len(numbers):
            raise IndexError(f"window {index} of {len(numbers)}")
        with_previous = self._decode_windows(numbers[max(index - 1, 0) : index + 1])
        return self._text(with_previous[-1])

    def _read(self, payload: bytes) -> tuple[int, list[int], list[int]]:
        """Tokens, windows of each part, and the windows."""
        reader = ByteReader(io.BytesIO(payload))
        width, tokens, parts = (
            reader.varint(f"the {what}") for what in ("window size", "tokens", "parts")
        )
        if width * 8 != self._bits or parts != len(part_bounds(tokens)):
            raise FormatError(
                f"not windows of {self._bits} bits, or damaged: "
                f"{8 * width} bits, {tokens} tokens, {parts} parts"
            )
        counts = [reader.varint("the windows") for _ in range(parts)]
        packed = payload[reader.offset :]
        if sum(counts) * width != len(packed):
            raise FormatError(
                f"{len(packed)} bytes of windows instead of {sum(counts) * width}: "
                "the data is damaged"
            )
        return (
            tokens,
            counts,
            [int.from_bytes(packed[i : i + width], "big") for i in range(0, len(packed), width)],
        )

    def _decode_windows(self, numbers: list[int]) -> list[list[Symbol]]:
        """The symbols of each window."""
        windows: list[list[Symbol]] = [[] for _ in numbers]
        coded = []
        for i, number in enumerate(numbers):
            if i and numbers[i - 1] == self._escape_number:
                windows[i] = [self._verbatim(number)]
            elif number != self._escape_number:
                coded.append(i)
        for start in range(0, len(coded), _BATCH):
            batch = coded[start : start + _BATCH]
            for i, window in zip(
                batch, self._decode_batch([numbers[i] for i in batch]), strict=True
            ):
                windows[i] = window
        return windows

    def _verbatim(self, number: int) -> Symbol:
        if number >= self._spec.vocab + 256 or number == self._spec.escape_token:
            raise IntegrityError("a window holds no token: the data is damaged")
        return (
            (self._spec.escape_token, number - self._spec.vocab)
            if number >= self._spec.vocab
            else (number, 0)
        )

    def _decode_batch(self, numbers: list[int]) -> list[list[Symbol]]:
        """Windows in lockstep, each until a token does not fit."""
        session = self._engine.session(len(numbers), self._longest, 1)
        intervals: list[Interval | None] = [Interval.whole(self._bits)] * len(numbers)
        windows: list[list[Symbol]] = [[] for _ in numbers]
        fed = np.full((len(numbers), 1), self._spec.start_token, np.int32)
        for _ in range(self._longest):
            head = session.advance(fed)
            tables = self._engine.distributions(head.vectors[:, 0], head.scales[:, 0])
            intervals, buckets = _step(
                intervals, numbers, interval_starts(tables.bucket_frequencies())
            )
            intervals, slots = _step(
                intervals, numbers, interval_starts(tables.token_frequencies(buckets))
            )
            tokens = buckets << BUCKET_BITS | slots
            for row, interval in enumerate(intervals):
                literal = 0
                if interval is not None and tokens[row] == self._spec.escape_token:
                    literal = min(interval.quantile(numbers[row]) // LITERAL_FREQUENCY, 256)
                    interval = (
                        interval.narrowed(literal * LITERAL_FREQUENCY, LITERAL_FREQUENCY)
                        if literal < 256
                        else None
                    )
                if interval is None or not interval.fits or tokens[row] >= self._spec.vocab:
                    intervals[row] = None
                    continue
                intervals[row] = interval
                windows[row].append((int(tokens[row]), literal))
                fed[row, 0] = tokens[row]
            if not any(intervals):
                break
        return windows

    def _text(self, symbols: list[Symbol]) -> bytes:
        ids = np.array([token for token, _ in symbols], np.int32)
        literals = bytes(literal for token, literal in symbols if token == self._spec.escape_token)
        return self._engine.model.tokenizer.decode(Tokens(ids, literals))


def _symbols(tokens: Tokens, escape: int) -> list[Symbol]:
    literals = iter(tokens.literals)
    return [(token, next(literals) if token == escape else 0) for token in tokens.ids.tolist()]


def _step(
    intervals: list[Interval | None], numbers: list[int], starts: npt.NDArray[np.int64]
) -> tuple[list[Interval | None], npt.NDArray[np.int64]]:
    """One table for each window: what is left, None where the window has ended, and the symbols (0
    there).
    """
    left: list[Interval | None] = []
    symbols = np.zeros(len(numbers), np.int64)
    for row, interval in enumerate(intervals):
        reached = None if interval is None else symbol_at(interval, numbers[row], starts[row])
        left.append(None if reached is None else reached[1])
        symbols[row] = 0 if reached is None else reached[0]
    return left, symbols
