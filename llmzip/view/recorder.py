"""Keeps what a model and its mixer make of each token while a file is coded or decoded."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from llmzip.container.block import Block
from llmzip.container.codec_ids import CodecId
from llmzip.engine.base import Engine
from llmzip.mixing.base import EXPERTS
from llmzip.model.vocabulary import Vocabulary
from llmzip.predictor.schedule import Schedule
from llmzip.scoring.integer_scorer import IntegerPredictions
from llmzip.scoring.spans import LITERAL_BITS
from llmzip.scoring.token_bits import SymbolBits, coding_order
from llmzip.types import Float32Array, Float64Array, IdArray, Int64Array
from llmzip.view.attribution import saved_bits

ALTERNATIVES = 5
"""How many of the most likely tokens are kept of each prediction."""


@dataclasses.dataclass(frozen=True)
class CodedTokens:
    """The n tokens of a payload in the order of the text, and what each one cost."""

    vocabulary: Vocabulary
    streams: int
    ids: IdArray
    """[n]"""
    bits: Float64Array
    """By the tables that coded them, with the literal bytes behind escape tokens, [n]."""
    model_bits: Float64Array
    """By the model's weights alone, [n]."""
    ranks: IdArray
    """How many tokens the model thought likelier, [n]."""
    saved: Float32Array
    """What each expert of the mixer saved [bits], [n, len(EXPERTS)]."""
    alternatives: IdArray
    """Tokens that model or mixer thought likely, by the mixer's order, [n, ALTERNATIVES]; -1 where
    there are fewer.
    """
    model_probabilities: Float32Array
    """Of these by the model, [n, ALTERNATIVES]."""
    probabilities: Float32Array
    """The same as corrected, [n, ALTERNATIVES]."""
    parameter_bytes: int
    coded_bytes: int

    @property
    def stream_starts(self) -> npt.NDArray[np.int64]:
        """The first token of each stream, [streams]."""
        schedule = Schedule(len(self.ids), self.streams)
        lengths = [
            schedule.steps - (s >= (len(self.ids) % self.streams or self.streams))
            for s in range(self.streams)
        ]
        return np.cumsum([0, *lengths[:-1]])


@dataclasses.dataclass(frozen=True)
class _Correction:
    """A step as the mixer told it: see `CodingObserver.corrections`."""

    tokens: IdArray
    weights: IdArray
    corrected: Int64Array
    totals: Int64Array
    evidence: Float32Array


class Recorder:
    """A `BlockObserver`; `payloads` are those of the blocks of the codec llm, in order.

    `block` is to be told of each block, also of those that are decoded.
    """

    def __init__(self, engine_of: Callable[[], Engine]) -> None:
        """engine_of: gives the engine that codes the next payload, once there is one."""
        self.engine_of = engine_of
        self.payloads: list[CodedTokens] = []
        self._last: CodedTokens | None = None

    def begin_payload(self, tokens: int, streams: int, mixes: bool) -> None:
        """See `CodingObserver.begin_payload`."""
        self._engine, self._mixes = self.engine_of(), mixes
        self._schedule = Schedule(tokens, streams)
        # In the order of coding; the chunks of each are joined at the end.
        self._ids: list[IdArray] = []
        self._model_bits: list[Float64Array] = []
        self._ranks: list[IdArray] = []
        self._choices: list[tuple[IdArray, Float32Array, Float32Array]] = []
        self._saved: list[Float32Array] = []
        self._symbol_bits = SymbolBits()
        # Steps of which the mixer's or the model's part is still to come.
        self._corrections: deque[_Correction] = deque()
        self._waiting = np.empty(0, np.int32), np.empty(0)

    def predictions(
        self,
        vectors: npt.NDArray[np.int8],
        scales: npt.NDArray[np.float32],
        targets: npt.NDArray[np.int32],
    ) -> None:
        """See `CodingObserver.predictions`."""
        predicted = IntegerPredictions(self._engine, vectors, scales)
        bits, ranks = predicted.measure(targets)
        escaped = targets == self._engine.model.spec.escape_token
        self._ids.append(targets.copy())
        self._model_bits.append(bits + LITERAL_BITS * escaped)
        self._ranks.append(ranks)
        if self._mixes:
            self._waiting = (
                np.concatenate([self._waiting[0], targets]),
                np.concatenate([self._waiting[1], bits]),
            )
            self._explain()
        else:
            distributions = self._engine.distributions(vectors, scales)
            top = distributions.top_tokens()
            probabilities = distributions.weights_of(0, top) / distributions.totals()[:, None]
            self._choose(top, probabilities, probabilities)
            self._saved.append(np.zeros((len(targets), len(EXPERTS)), np.float32))

    def corrections(
        self,
        tokens: npt.NDArray[np.int32],
        weights: npt.NDArray[np.int32],
        corrected: npt.NDArray[np.int64],
        totals: npt.NDArray[np.int64],
        evidence: Callable[[], npt.NDArray[np.float32]],
    ) -> None:
        """See `CodingObserver.corrections`."""
        step = _Correction(tokens, weights, corrected, totals.copy(), evidence())
        self._corrections.append(step)
        self._explain()

    def symbols(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """See `CodingObserver.symbols`."""
        self._symbol_bits.add(symbols, frequencies)

    def end_payload(self, parameters: bytes, coded: bytes) -> None:
        """See `CodingObserver.end_payload`."""
        ids = np.concatenate(self._ids)
        tokens, models, mixed = (
            np.concatenate([choice[i] for choice in self._choices]) for i in range(3)
        )
        order = coding_order(self._schedule)
        self._last = CodedTokens(
            self._engine.model.vocabulary,
            self._schedule.streams,
            ids[order],
            self._symbol_bits.of_tokens(ids, self._schedule, self._engine.model.spec)[order],
            np.concatenate(self._model_bits)[order],
            np.concatenate(self._ranks)[order],
            np.concatenate(self._saved)[order],
            tokens[order],
            models[order],
            mixed[order],
            len(parameters),
            len(coded),
        )

    def block(self, block: Block) -> None:
        """See `BlockObserver.block`."""
        if block.inner == CodecId.LLM:
            assert self._last is not None
            self.payloads.append(self._last)
        self._last = None

    def _explain(self) -> None:
        """Do the steps of which everything is known."""
        while self._corrections and len(self._waiting[0]) >= len(self._corrections[0].tokens):
            step = self._corrections.popleft()
            rows = len(step.tokens)
            targets, bits = (waiting[:rows] for waiting in self._waiting)
            self._waiting = self._waiting[0][rows:], self._waiting[1][rows:]
            real = step.tokens >= 0
            weights, corrected = step.weights * real, step.corrected * real
            totals = step.totals + (corrected - weights).sum(axis=1)
            self._choose(step.tokens, weights / step.totals[:, None], corrected / totals[:, None])
            saved = saved_bits(
                weights,
                corrected,
                step.totals,
                step.evidence.astype(np.float64),
                step.tokens == targets[:, None],
                np.rint(step.totals * np.exp2(-bits)),
            )
            self._saved.append(saved.astype(np.float32))

    def _choose(self, tokens: IdArray, models: Float64Array, mixed: Float64Array) -> None:
        """Keep the alternatives: those that one of the two thinks likeliest."""
        best = np.argsort(-np.maximum(models, mixed), axis=1, kind="stable")[:, :ALTERNATIVES]
        kept = np.take_along_axis(mixed, best, axis=1)
        best = np.take_along_axis(best, np.argsort(-kept, axis=1, kind="stable"), axis=1)
        found = [np.take_along_axis(array, best, axis=1) for array in (tokens, models, mixed)]
        missing = ((0, 0), (0, ALTERNATIVES - best.shape[1]))
        self._choices.append(
            (
                np.pad(found[0], missing, constant_values=-1),
                np.pad(found[1], missing).astype(np.float32),
                np.pad(found[2], missing).astype(np.float32),
            )
        )
