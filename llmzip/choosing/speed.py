"""How long coding takes on this machine: a few steps of an engine, measured, and the time of any
block, which follows from them.

Of each kind the quickest step counts: others were other programs' turn. A step takes what its rows
take, and each stream the time of the positions that it sees (as in `codecs/pace.py`, whose numbers
are those of one machine).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable

import numpy as np

from llmzip.codecs.pace import all_seen
from llmzip.corpora.builtin import python_topics
from llmzip.engine.base import Engine, Session
from llmzip.mixing.base import capacity_bits_for
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.stream_layout import StreamLayout, rounded_to_units
from llmzip.types import IdArray

_STREAMS, _STEPS = (1, 12, 48, 128), 6
"""The streams, and how many steps of each, that are measured: levels have 1 to 128."""
_ENCODED = 48
"""Streams from which on the encoder's products have enough rows."""
_FAR, _CHUNK = 1024, 256
"""The positions behind which a step is measured again, and how many are fed at once."""
_FAR_STREAMS, _FAR_STEPS = 2, 8


@dataclasses.dataclass(frozen=True)
class Speed:
    """Seconds that the parts of coding take, on one machine with one model."""

    encoded_token: float
    """Of a token that sees nothing before it."""
    encoded_position: float
    """For each position that a token sees."""
    decoded_steps: tuple[tuple[int, float], ...]
    """Streams, and the seconds of a step of so many that see nothing before them."""
    decoded_position: float
    """For each position that each stream sees."""

    @property
    def is_sound(self) -> bool:
        """Whether these may be the numbers of a measurement: a file may be damaged."""
        steps = [seconds for _, seconds in self.decoded_steps]
        of_positions = self.encoded_position, self.decoded_position
        return (
            len(steps) > 1
            and all(few < many for (few, _), (many, _) in itertools.pairwise(self.decoded_steps))
            and all(0 < seconds < math.inf for seconds in (self.encoded_token, *steps))
            and all(0 <= seconds < math.inf for seconds in of_positions)
        )

    def encoding(self, layout: StreamLayout) -> float:
        """Seconds to encode a block."""
        return layout.tokens * self.encoded_token + self.encoded_position * _seen(layout)

    def decoding(self, layout: StreamLayout) -> float:
        """Seconds to decode a block."""
        steps = layout.tokens / layout.streams
        return steps * self._step(layout.streams) + self.decoded_position * _seen(layout)

    def quicker(self, other: Speed) -> Speed:
        """Of each number the smaller one, of two measurements of the same engine."""
        return Speed(
            min(self.encoded_token, other.encoded_token),
            min(self.encoded_position, other.encoded_position),
            tuple(map(min, self.decoded_steps, other.decoded_steps)),
            min(self.decoded_position, other.decoded_position),
        )

    def _step(self, streams: int) -> float:
        """Between the numbers of streams that were measured, and beyond them, on straight lines."""
        pairs = list(itertools.pairwise(self.decoded_steps))
        (low, fast), (high, slow) = next((p for p in pairs if streams <= p[1][0]), pairs[-1])
        return fast + (slow - fast) * (streams - low) / (high - low)


def measure_speed(engine: Engine) -> Speed:
    """Measure an engine: with the default model, two seconds on two cores with VNNI, 15 seconds
    of processor time with AVX2 alone.
    """
    longest = engine.model.spec.max_positions
    far = min(_FAR, longest // 2)
    count = max(_STREAMS[-1] * _STEPS, _FAR_STREAMS * far)
    tokens = _text(engine, count)
    _timed(engine, tokens, 1)  # what is loaded is loaded by the first
    times = {streams: _timed(engine, tokens, streams) for streams in _STREAMS}
    full = [streams for streams in _STREAMS if streams >= _ENCODED]
    encoded = min(times[streams][0] / (streams * _STEPS) for streams in full)
    near_step, far_step, encoded_position = _behind(engine, tokens.ids, far)
    return Speed(
        encoded,
        encoded_position,
        tuple((streams, times[streams][1]) for streams in _STREAMS),
        max(0.0, far_step - near_step) / (_FAR_STREAMS * far),
    )


def _text(engine: Engine, count: int) -> Tokens:
    """So many tokens of a text that every machine has."""
    found = engine.model.tokenizer.encode(python_topics()[: 8 * count])
    ids = np.resize(found.ids, count)
    escapes = int(np.count_nonzero(ids == engine.model.spec.escape_token))
    return Tokens(ids, (found.literals * (1 + count // max(1, len(found.ids))))[:escapes])


def _first(tokens: Tokens, count: int, escape_token: int) -> Tokens:
    ids = tokens.ids[:count]
    return Tokens(ids, tokens.literals[: int(np.count_nonzero(ids == escape_token))])


def _timed(engine: Engine, tokens: Tokens, streams: int) -> tuple[float, float]:
    """Seconds to encode a few steps of so many streams, and of one step of their decoder."""
    count = streams * _STEPS
    layout = StreamLayout(
        count, streams, rounded_to_units(_STEPS), capacity_bits=capacity_bits_for(count)
    )
    text = _first(tokens, count, engine.model.spec.escape_token)
    coded = b""

    def encode() -> None:
        nonlocal coded
        coded = encode_tokens(engine, text, layout, engine.mixer(layout.capacity_bits))

    encoded = _seconds(encode)
    times: list[float] = []
    decode_tokens(
        engine,
        coded,
        layout,
        engine.mixer(layout.capacity_bits),
        progress=lambda done: times.append(time.perf_counter()),
    )
    steps = [later - earlier for earlier, later in itertools.pairwise(times)]
    return encoded, min(steps[:-1])  # the last one has no step of the model


def _behind(engine: Engine, ids: IdArray, far: int) -> tuple[float, float, float]:
    """Seconds of a step of `_FAR_STREAMS` streams at the beginning and behind `far` positions, and
    what a position costs an encoder's token that sees it.
    """
    rows = ids[: _FAR_STREAMS * far].reshape(_FAR_STREAMS, far)

    def begun() -> Session:
        return engine.session(_FAR_STREAMS, far + _FAR_STEPS, _CHUNK)

    session = begun()
    near = min(_feeding(session, rows[:, :1]) for _ in range(_FAR_STEPS))
    session = begun()
    chunks = [_feeding(session, rows[:, start : start + _CHUNK]) for start in range(0, far, _CHUNK)]
    behind = min(_feeding(session, rows[:, :1]) for _ in range(_FAR_STEPS))
    slope = np.polyfit(np.arange(len(chunks)), chunks, 1)[0] if len(chunks) > 1 else 0.0
    return near, behind, max(0.0, float(slope)) / (_FAR_STREAMS * _CHUNK * _CHUNK)


def _feeding(session: Session, tokens: IdArray) -> float:
    """Seconds until a session has read tokens."""
    return _seconds(lambda: session.advance(tokens).scales.sum())


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _seen(layout: StreamLayout) -> float:
    """How many positions all tokens of a block see, together."""
    steps = layout.tokens / layout.streams
    window = layout.window
    return layout.streams * (
        all_seen(layout.context + steps, window) - all_seen(layout.context, window)
    )
