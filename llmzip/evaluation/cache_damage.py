"""What is lost when a key/value cache is evicted and quantized: bits/byte of the text behind a damaged cache.

A context is read whole; then a share of its positions is evicted (the oldest, but never the first four) and what is left
is rounded to b bits, each head's vector with its own scale; then the same tokens are scored with every damage. Means hide
rare catastrophes, so the 99th percentile of the extra bits per token stands beside them.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch

from llmzip.engine.base import SINK_TOKENS
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.torch_session import TorchSession
from llmzip.errors import LLMZipError
from llmzip.evaluation.partial import Partial
from llmzip.metrics.code_length import percentile
from llmzip.scoring.base import Predictions, Scorer, Tokenized
from llmzip.scoring.float_scorer import FloatPredictions, FloatScorer
from llmzip.scoring.integer_scorer import IntegerPredictions, IntegerScorer
from llmzip.scoring.score import LITERAL_BITS
from llmzip.types import IdArray, TokenProgress

SHARES = (0.0, 0.25, 0.5, 0.75, 0.9)
BITS = (8, 4, 3, 2)
STRETCH = 64
_UNDAMAGED_BITS = 16


class Reader(Protocol):
    """A model that has read S contexts of one length into a cache that can be damaged."""

    def read(self, ids: IdArray) -> None:
        """Read the contexts [S, C], which begin with the start token."""
        ...

    def predict(self, ids: IdArray, evicted: int, bits: int) -> Predictions:
        """What follows each of ids [S, t] behind the cache without the `evicted` oldest positions, at `bits` bits.

        In row-major order.
        """
        ...


class FloatReader:
    """A model of transformers."""

    def __init__(self, scorer: FloatScorer) -> None:
        self._scorer = scorer
        self._length = 0

    def read(self, ids: IdArray) -> None:
        """See `Reader.read`."""
        self._cache = self._scorer.new_cache()
        self._scorer.logits(ids, self._cache, keep=False)
        self._length = ids.shape[1]

    def predict(self, ids: IdArray, evicted: int, bits: int) -> Predictions:
        """See `Reader.predict`."""
        damaged = copy.deepcopy(self._cache)
        kept = [*range(SINK_TOKENS), *range(SINK_TOKENS + evicted, self._length)]
        for layer in damaged.layers:
            for part in ("keys", "values"):
                setattr(layer, part, _rounded(getattr(layer, part)[:, :, kept], bits))
        return FloatPredictions(self._scorer.logits(ids, damaged, start=self._length).flatten(0, 1))


class IntegerReader:
    """An integer model on the reference engine, whose cache has 8 bits to begin with."""

    def __init__(self, scorer: IntegerScorer, device: str = "cpu") -> None:
        engine = scorer.engine
        self._head = engine  # the scorer's own makes the token weights: the same integers, sooner
        self._engine = engine if isinstance(engine, TorchEngine) else TorchEngine(engine.model, device)

    def read(self, ids: IdArray) -> None:
        """See `Reader.read`."""
        streams, length = ids.shape
        self._session = TorchSession(self._engine.transformer, streams, length + STRETCH, max(length, STRETCH))
        self._session.advance(ids)

    def predict(self, ids: IdArray, evicted: int, bits: int) -> Predictions:
        """See `Reader.predict`."""
        session = self._session.copy()
        # A position in the future is hidden from every token.
        session.cache.slot_positions[SINK_TOKENS : SINK_TOKENS + evicted] = self._engine.model.spec.max_positions
        for tensor in (session.cache.keys, session.cache.values):
            tensor.copy_(_rounded(tensor.float(), bits).round_())
        head = session.advance(ids)
        return IntegerPredictions(self._head, head.vectors.reshape(ids.size, -1), head.scales.flatten())


def _rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Each last-axis vector to 2^bits - 1 symmetric steps of its own maximum, computed in float32."""
    most = 2 ** (bits - 1) - 1
    wide = x.float()
    step = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / most
    rounded: torch.Tensor = (wide / step).round_() * step
    return rounded.to(x.dtype)


def reader_of(scorer: Scorer) -> Reader:
    """The reader for a scorer."""
    if isinstance(scorer, FloatScorer):
        return FloatReader(scorer)
    if isinstance(scorer, IntegerScorer):
        return IntegerReader(scorer)
    raise LLMZipError(f"the cache of {type(scorer).__name__} cannot be damaged")


@dataclasses.dataclass(frozen=True)
class Damage:
    """One point of the grid."""

    context: int
    evicted_share: float
    cache_bits: int
    bits_per_byte: float
    extra_bits_per_byte: float
    """Against the same tokens behind the undamaged cache."""
    extra_bits_per_token_p99: float


def measure_damage(
    scorer: Scorer,
    data: bytes,
    *,
    contexts: Sequence[int] = (128, 512, 1024),
    shares: Sequence[float] = SHARES,
    bits: Sequence[int] = BITS,
    samples: int = 8,
    partial: Partial | None = None,
    progress: TokenProgress | None = None,
) -> list[dict[str, Any]]:
    """The grid context x evicted share x cache bits, as `Damage` rows; `progress` counts the tokens behind them.

    partial: what an interrupted run has measured. All contexts are followed by the same stretches of 64 tokens. Raises
    LLMZipError for a text that is too short.
    """
    text = scorer.tokenize(data)
    longest = max(contexts)
    if longest + STRETCH > min(len(text.ids), scorer.max_positions) or min(contexts) <= SINK_TOKENS:
        raise LLMZipError(f"contexts of up to {longest} tokens do not fit into a text of {len(text.ids)} tokens")
    partial = partial or Partial()
    starts = np.unique(np.linspace(longest, len(text.ids) - STRETCH, samples).astype(int)).tolist()
    identity = ["damage", dataclasses.asdict(scorer.card), hashlib.sha256(data).hexdigest(), starts, [*shares], [*bits]]
    grid = _Grid(scorer, text, starts, shares, bits, progress)
    return [point for c in contexts for point in partial.cell([*identity, c], functools.partial(grid.points, c))]


class _Grid:
    """The points of one context after the other; the model is made ready with the first that is not known yet."""

    def __init__(
        self,
        scorer: Scorer,
        text: Tokenized,
        starts: Sequence[int],
        shares: Sequence[float],
        bits: Sequence[int],
        progress: TokenProgress | None,
    ) -> None:
        self._scorer, self._text, self._starts = scorer, text, np.array(starts)[:, None]
        self._shares, self._bits = shares, bits
        self._progress = progress
        self._done = 0

    @functools.cached_property
    def _reader(self) -> Reader:
        return reader_of(self._scorer)

    def points(self, context: int) -> list[dict[str, Any]]:
        """The rows of one context length."""
        text, reader = self._text, self._reader
        places = self._starts + np.arange(STRETCH)  # [S, 64]
        fed, targets = text.ids[places - 1], text.ids[places].flatten()
        literal, size = LITERAL_BITS * text.escaped[places].flatten(), int(text.sizes[places].sum())
        before = text.ids[self._starts + np.arange(1 - context, -1)]  # [S, context - 2]
        start = np.full((len(before), 1), self._scorer.vocabulary.start_token, np.int32)
        reader.read(np.concatenate([start, before], axis=1))
        undamaged = reader.predict(fed, 0, _UNDAMAGED_BITS).measure(targets)[0] + literal
        rows = []
        for share, b in itertools.product(self._shares, self._bits):
            evicted = round(share * (context - 1 - SINK_TOKENS))
            cost = reader.predict(fed, evicted, b).measure(targets)[0] + literal
            extra = cost - undamaged
            point = Damage(context, share, b, cost.sum() / size, extra.sum() / size, percentile(extra))
            rows.append(dataclasses.asdict(point))
            self._done += places.size
            if self._progress:
                self._progress(self._done)
        return rows
