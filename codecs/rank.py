"""LLMZip's first scheme (arXiv 2306.04050): the rank of each token among the model's guesses, then
Deflate.

A baseline: it costs half as much again as coding by probabilities. Ranks are exact here, so any
machine decodes them.
"""

from __future__ import annotations

import io
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip import levels
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.standard import deflate
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import Engine
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import IntegrityError, LimitError
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.schedule import Schedule
from llmzip.predictor.stream_layout import StreamLayout, max_tokens
from llmzip.runtime import Runtime

_LEVEL = 9
_ROWS = 64  # tokens whose weights are made at once
_MAX_RANK_BYTES = 5

_DEFAULT_LEVEL = levels.level_parameters(levels.DEFAULT_LEVEL)


class RankCodec(PayloadCodec):
    """Ranks of tokens, from 0 for the likeliest; of equal weights the lower id comes first."""

    name = "rank"
    needs_model = True

    def __init__(self, engine: Engine, level: levels.Level = _DEFAULT_LEVEL) -> None:
        """level: how many streams and how wide a window encoding takes; decoding finds both in the
        payload.
        """
        self._engine = engine
        self._level = level

    @classmethod
    def create(
        cls,
        *,
        level: int = levels.DEFAULT_LEVEL,
        model: ModelLike | None = None,
        runtime: Runtime | None = None,
    ) -> RankCodec:
        """Take parameters as `llmzip.compress` does."""
        return cls(
            EngineLoader.of(model, runtime=runtime).for_compression(),
            levels.level_parameters(level),
        )

    def get_config(self) -> dict[str, Any]:
        """See `PayloadCodec.get_config`."""
        return {"level": self._level.number, "model": self._engine.model.fingerprint.hex()}

    def ranks(self, data: bytes) -> npt.NDArray[np.int64]:
        """The rank of each token of a text, in order: [n]."""
        tokens = self._engine.model.tokenizer.encode(data)
        return self._ranks(
            tokens, StreamLayout.for_level(self._level, len(tokens.ids), self._engine.model.spec)
        )

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`: tokens, streams, window ÷ 64 as varints, then raw Deflate of
        the ranks and literals.

        Raises LimitError for more tokens than the streams may have positions.
        """
        spec = self._engine.model.spec
        tokens = self._engine.model.tokenizer.encode(data)
        if len(tokens.ids) > max_tokens(self._level, spec):
            raise LimitError(
                f"{len(tokens.ids)} tokens are more than one payload holds; "
                "cut the data into pieces"
            )
        layout = StreamLayout.for_level(self._level, len(tokens.ids), spec)
        ranked = b"".join(map(varint, self._ranks(tokens, layout).tolist())) + tokens.literals
        return layout.write() + deflate(ranked, _LEVEL)

    def _ranks(self, tokens: Tokens, layout: StreamLayout) -> npt.NDArray[np.int64]:
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
            weights = self._engine.token_weights(
                head.vectors.reshape(part.size, -1), head.scales.reshape(-1)
            )
            wanted = part.reshape(-1, 1)
            own = np.take_along_axis(weights, wanted, axis=1)
            before = (weights > own) | ((weights == own) & (np.arange(weights.shape[1]) < wanted))
            ranks[:, start : start + chunk] = before.sum(axis=1).reshape(part.shape)
        return schedule.join(ranks).astype(np.int64)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        spec = self._engine.model.spec
        reader = ByteReader(io.BytesIO(payload))
        layout = StreamLayout.read(reader)
        layout.validate(size, spec)
        listed = io.BytesIO(
            _inflated(payload[reader.offset :], _MAX_RANK_BYTES * layout.tokens + size)
        )
        ranks = ByteReader(listed)
        wanted = np.array([ranks.varint("the ranks") for _ in range(layout.tokens)])
        if wanted.max() >= spec.vocab:
            raise IntegrityError("a rank lies outside the vocabulary: the data is damaged")
        ids = self._tokens(wanted.astype(np.int32), layout)
        literals = listed.read()
        if int(np.count_nonzero(ids == spec.escape_token)) != len(literals):
            raise IntegrityError("the literal bytes do not match the ranks: the data is damaged")
        data = self._engine.model.tokenizer.decode(Tokens(ids, literals))
        if len(data) != size:
            raise IntegrityError(
                f"the ranks stand for {len(data)} bytes instead of {size}: the data is damaged"
            )
        return data

    def _tokens(self, ranks: npt.NDArray[np.int32], layout: StreamLayout) -> npt.NDArray[np.int32]:
        schedule = Schedule(len(ranks), layout.streams)
        wanted = schedule.split(ranks)
        rows = np.zeros_like(wanted)
        session = self._engine.session(layout.streams, min(layout.window, schedule.steps), 1)
        previous = np.full((layout.streams, 1), self._engine.model.spec.start_token, np.int32)
        for t in range(schedule.steps):
            active = schedule.active(t)
            head = session.advance(previous[:active])
            weights = self._engine.token_weights(head.vectors[:, 0], head.scales[:, 0])
            for stream in range(active):
                rows[stream, t] = _at_rank(weights[stream], int(wanted[stream, t]))
            previous = rows[:, t : t + 1]
        return schedule.join(rows)


def _at_rank(weights: npt.NDArray[np.int32], rank: int) -> int:
    """The token that has this rank."""
    if rank == 0:
        return int(weights.argmax())
    border = np.partition(weights, len(weights) - 1 - rank)[len(weights) - 1 - rank]
    above = int(np.count_nonzero(weights > border))
    return int(np.flatnonzero(weights == border)[rank - above])


def _inflated(payload: bytes, limit: int) -> bytes:
    decoder = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        data = decoder.decompress(payload, limit + 1)
    except zlib.error as error:
        raise IntegrityError(f"the ranks do not decode ({error}): the data is damaged") from error
    if len(data) > limit or not decoder.eof or decoder.unused_data:
        raise IntegrityError("the ranks are cut short or too many: the data is damaged")
    return data
