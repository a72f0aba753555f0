"""What is lost when a key/value cache is evicted and quantized: bits/byte of the text behind a
damaged cache.

A context is read whole; then a fraction of its positions is evicted (the oldest, but never the
first four) and what is left is rounded to b bits, each head's vector with its own scale; then the
same tokens are scored with every damage. Means hide rare catastrophes, so the 99th percentile of
the extra bits per token stands beside them.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import itertools
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from llmzip.engine.base import SINK_TOKENS
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.torch_session import TorchSession
from llmzip.errors import LLMZipError
from llmzip.evaluation.partial import Partial
from llmzip.evaluation.rows import Damage
from llmzip.metrics.code_length import percentile
from llmzip.scoring.base import Predictions, Scorer, Tokenized
from llmzip.scoring.float_scorer import FloatPredictions, FloatScorer
from llmzip.scoring.integer_scorer import IntegerPredictions, IntegerScorer
from llmzip.scoring.spans import LITERAL_BITS
from llmzip.types import IdArray, TokenProgress

EVICT_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 0.9)
BITS = (8, 4, 3, 2)
SPAN_TOKENS = 64
MAX_BITS = 16
"""What a cache is rounded to at most: such a one counts as undamaged."""


class Reader(Protocol):
    """A model that has read S contexts of one length into a cache that can be damaged."""

    def read(self, ids: IdArray) -> None:
        """Read the contexts [S, C], which begin with the start token."""
        ...

    def predict(self, ids: IdArray, evicted: int, bits: int) -> Predictions:
        """What follows each of ids [S, t] behind the cache without the `evicted` oldest positions,
        at `bits` bits.

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
        self._engine = (
            engine if isinstance(engine, TorchEngine) else TorchEngine(engine.model, device)
        )

    def read(self, ids: IdArray) -> None:
        """See `Reader.read`."""
        streams, length = ids.shape
        self._session = TorchSession(
            self._engine.transformer, streams, length + SPAN_TOKENS, max(length, SPAN_TOKENS)
        )
        self._session.advance(ids)

    def predict(self, ids: IdArray, evicted: int, bits: int) -> Predictions:
        """See `Reader.predict`."""
        session = self._session.copy()
        # A position in the future is hidden from every token.
        session.cache.slot_positions[SINK_TOKENS : SINK_TOKENS + evicted] = (
            self._engine.model.spec.max_positions
        )
        for tensor in (session.cache.keys, session.cache.values):
            tensor.copy_(_rounded(tensor.float(), bits).round_())
        head = session.advance(ids)
        return IntegerPredictions(
            self._head, head.vectors.reshape(ids.size, -1), head.scales.flatten()
        )


def _rounded(x: torch.Tensor, bits: int) -> torch.Tensor:
    """Each last-axis vector to 2^bits - 1 symmetric steps of its maximum, computed in float32."""
    largest = 2 ** (bits - 1) - 1
    wide = x.float()
    step = wide.abs().amax(dim=-1, keepdim=True).clamp_min(1e-12) / largest
    rounded: torch.Tensor = (wide / step).round_() * step
    return rounded.to(x.dtype)


def reader_of(scorer: Scorer) -> Reader:
    """The reader for a scorer."""
    if isinstance(scorer, FloatScorer):
        return FloatReader(scorer)
    if isinstance(scorer, IntegerScorer):
        return IntegerReader(scorer)
    raise LLMZipError(f"the cache of {type(scorer).__name__} cannot be damaged")


def measure_damage(
    scorer: Scorer,
    data: bytes,
    *,
    contexts: Sequence[int] = (128, 512, 1024),
    evict_fractions: Sequence[float] = EVICT_FRACTIONS,
    bits: Sequence[int] = BITS,
    samples: int = 8,
    partial: Partial | None = None,
    progress: TokenProgress | None = None,
) -> list[Damage]:
    """The grid context x evicted fraction x cache bits, as `Damage` rows; `progress` counts the
    tokens behind them.

    partial: what an interrupted run has measured. All contexts are followed by the same spans of 64
    tokens. Raises LLMZipError for a text that is too short, contexts and widths out of range.
    """
    text = scorer.tokenize(data)
    longest = max(contexts)
    if min(contexts) <= SINK_TOKENS:
        raise LLMZipError(
            f"contexts of {min(contexts)} tokens: the first {SINK_TOKENS} are never evicted, "
            "so that a context has more"
        )
    if min(bits) < 2 or max(bits) > MAX_BITS:
        raise LLMZipError(f"a cache of {min(bits)} to {max(bits)} bits: there are 2 to {MAX_BITS}")
    for room, what in (
        (len(text.ids), "a text of {} tokens"),
        (scorer.max_positions, "a model of {} positions"),
    ):
        if longest + SPAN_TOKENS > room:
            raise LLMZipError(
                f"contexts of up to {longest} tokens, and {SPAN_TOKENS} behind them, "
                f"do not fit into {what.format(room)}"
            )
    partial = partial or Partial()
    starts = np.unique(
        np.linspace(longest, len(text.ids) - SPAN_TOKENS, samples).astype(int)
    ).tolist()
    identity = [
        "damage",
        scorer.model_card,
        hashlib.sha256(data).hexdigest(),
        starts,
        [*evict_fractions],
        [*bits],
    ]
    grid = _Grid(scorer, text, starts, evict_fractions, bits, progress)
    return [
        point
        for c in contexts
        for point in partial.cell(list[Damage], [*identity, c], functools.partial(grid.points, c))
    ]


class _Grid:
    """The points of one context after the other; the model is made ready with the first that is not
    known yet.
    """

    def __init__(
        self,
        scorer: Scorer,
        text: Tokenized,
        starts: Sequence[int],
        evict_fractions: Sequence[float],
        bits: Sequence[int],
        progress: TokenProgress | None,
    ) -> None:
        self._scorer, self._text, self._starts = scorer, text, np.array(starts)[:, None]
        self._evict_fractions, self._bits = evict_fractions, bits
        self._progress = progress
        self._done = 0

    @functools.cached_property
    def _reader(self) -> Reader:
        return reader_of(self._scorer)

    def points(self, context: int) -> list[Damage]:
        """The rows of one context length."""
        text, reader = self._text, self._reader
        indices = self._starts + np.arange(SPAN_TOKENS)  # [S, 64]
        fed, targets = text.ids[indices - 1], text.ids[indices].flatten()
        literal, size = (
            LITERAL_BITS * text.escaped[indices].flatten(),
            int(text.sizes[indices].sum()),
        )
        before = text.ids[self._starts + np.arange(1 - context, -1)]  # [S, context - 2]
        start = np.full((len(before), 1), self._scorer.vocabulary.start_token, np.int32)
        reader.read(np.concatenate([start, before], axis=1))
        undamaged = reader.predict(fed, 0, MAX_BITS).measure(targets)[0] + literal
        rows = []
        for fraction, b in itertools.product(self._evict_fractions, self._bits):
            evicted = round(fraction * (context - 1 - SINK_TOKENS))
            cost = reader.predict(fed, evicted, b).measure(targets)[0] + literal
            extra = cost - undamaged
            rows.append(
                Damage(
                    context=context,
                    evicted_fraction=fraction,
                    cache_bits=b,
                    bits_per_byte=float(cost.sum() / size),
                    extra_bits_per_byte=float(extra.sum() / size),
                    extra_bits_per_token_p99=percentile(extra),
                )
            )
            self._done += indices.size
            if self._progress:
                self._progress(self._done)
        return rows
