"""LLMZip's first scheme (arXiv 2306.04050): the rank of each token among the model's guesses, then Deflate.

A baseline: it costs half as much again as coding by probabilities. Ranks are exact here, so any machine decodes them.
"""

from __future__ import annotations

import io
import zlib
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from llmzip import levels
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import Engine
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import Schedule

_LEVEL = 9
_ROWS = 64  # tokens whose weights are made at once
_MAX_RANK_BYTES = 5

_DEFAULT_LEVEL = levels.level_parameters(levels.DEFAULT_LEVEL)


class RankCodec:
    """Ranks of tokens, from 0 for the likeliest; of equal weights the lower id comes first."""

    id: ClassVar[None] = None
    name: ClassVar[str] = "rank"

    def __init__(self, engine: Engine, level: levels.Level = _DEFAULT_LEVEL) -> None:
        """level: how many streams and how wide a window encoding takes; decoding finds both in the payload."""
        self._engine = engine
        self._level = level

    def ranks(self, data: bytes) -> npt.NDArray[np.int64]:
        """The rank of each token of a text, in order: [n]."""
        tokens = self._engine.model.tokenizer.encode(data)
        return self._ranks(tokens, levels.plan(self._level, len(tokens.ids), self._engine.model.spec))

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`: tokens, streams, window ÷ 64 as varints, then raw Deflate of the ranks and literals.

        Raises LimitError for more tokens than the streams may have positions.
        """
        spec = self._engine.model.spec
        tokens = self._engine.model.tokenizer.encode(data)
        layout = levels.plan(self._level, len(tokens.ids), spec)
        if len(tokens.ids) > levels.capacity(self._level, spec):
            raise LimitError(f"{len(tokens.ids)} tokens are more than one payload holds; cut the data into pieces")
        ranked = b"".join(map(varint, self._ranks(tokens, layout).tolist())) + tokens.literals
        parameters = (len(tokens.ids), layout.streams, layout.window // levels.WINDOW_UNIT)
        return b"".join(map(varint, parameters)) + zlib.compress(ranked, _LEVEL, wbits=-zlib.MAX_WBITS)

    def _ranks(self, tokens: Tokens, layout: levels.Plan) -> npt.NDArray[np.int64]:
        schedule = Schedule(len(tokens.ids), layout.streams)
        rows = schedule.split(tokens.ids)
        fed = np.roll(rows, 1, axis=1)
        fed[:, 0] = self._engine.model.spec.start_token
        ranks = np.zeros(rows.shape, np.int32)
        chunk = max(1, _ROWS // layout.streams)
        session = self._engine.session(layout.streams, layout.window, chunk)
        for start in range(0, schedule.steps, chunk):
            head = session.advance(fed[:, start : start + chunk])
            part = rows[:, start : start + chunk]
            weights = self._engine.token_weights(head.vectors.reshape(part.size, -1), head.scales.reshape(-1))
            wanted = part.reshape(-1, 1)
            own = np.take_along_axis(weights, wanted, axis=1)
            before = (weights > own) | ((weights == own) & (np.arange(weights.shape[1]) < wanted))
            ranks[:, start : start + chunk] = before.sum(axis=1).reshape(part.shape)
        return schedule.join(ranks).astype(np.int64)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""
        spec = self._engine.model.spec
        reader = ByteReader(io.BytesIO(payload))
        count, streams, units = (reader.varint(f"the {what}") for what in ("tokens", "streams", "window"))
        if (
            not 1 <= count <= size
            or not 1 <= streams <= min(count, levels.MAX_STREAMS)
            or -(-count // streams) > spec.max_positions
            or not 1 <= units <= -(-spec.max_positions // levels.WINDOW_UNIT)
        ):
            raise FormatError(f"impossible parameters ({count} tokens, {streams} streams): the data is damaged")
        listed = io.BytesIO(_inflated(payload[reader.offset :], _MAX_RANK_BYTES * count + size))
        ranks = ByteReader(listed)
        wanted = np.array([ranks.varint("the ranks") for _ in range(count)])
        if wanted.max() >= spec.vocab:
            raise IntegrityError("a rank lies outside the vocabulary: the data is damaged")
        ids = self._tokens(wanted.astype(np.int32), streams, units * levels.WINDOW_UNIT)
        literals = listed.read()
        if int(np.count_nonzero(ids == spec.escape_token)) != len(literals):
            raise IntegrityError("the literal bytes do not match the ranks: the data is damaged")
        data = self._engine.model.tokenizer.decode(Tokens(ids, literals))
        if len(data) != size:
            raise IntegrityError(f"the ranks stand for {len(data)} bytes instead of {size}: the data is damaged")
        return data

    def _tokens(self, ranks: npt.NDArray[np.int32], streams: int, window: int) -> npt.NDArray[np.int32]:
        schedule = Schedule(len(ranks), streams)
        wanted = schedule.split(ranks)
        rows = np.zeros_like(wanted)
        session = self._engine.session(streams, min(window, schedule.steps), 1)
        previous = np.full((streams, 1), self._engine.model.spec.start_token, np.int32)
        for t in range(schedule.steps):
            active = schedule.active(t)
            head = session.advance(previous[:active])
            weights = self._engine.token_weights(head.vectors[:, 0], head.scales[:, 0])
            for stream in range(active):
                rows[stream, t] = _at_rank(weights[stream], int(wanted[stream, t]))
            previous = rows[:, t : t + 1]
        return schedule.join(rows)


def _at_rank(weights: npt.NDArray[np.int32], rank: int) -> int:
    """The token of this rank."""
    if rank == 0:
        return int(weights.argmax())
    border = np.partition(weights, len(weights) - 1 - rank)[len(weights) - 1 - rank]
    above = int(np.count_nonzero(weights > border))
    return int(np.flatnonzero(weights == border)[rank - above])


def _inflated(payload: bytes, most: int) -> bytes:
    decoder = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = decoder.decompress(payload, most + 1)
    except zlib.error as error:
        raise IntegrityError(f"the ranks do not decode ({error}): the data is damaged") from error
    if len(data) > most or not decoder.eof or decoder.unused_data:
        raise IntegrityError("the ranks are cut short or too many: the data is damaged")
    return data
