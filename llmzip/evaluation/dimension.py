"""Intrinsic dimension beside code length: geometric and information-theoretic compression of the
same texts by the same model (Cheng, Kervadec & Baroni, EMNLP 2023, arXiv 2310.13620).

A text is a set of sequences, each represented at every layer by the hidden state of its last token.
How many dimensions these points fill is estimated by TwoNN (Facco et al. 2017) and by maximum
likelihood (Levina & Bickel 2004), both of the package scikit-dimension.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.stats
import skdim.id

from llmzip.errors import LLMZipError
from llmzip.evaluation.options import Text
from llmzip.evaluation.partial import Partial
from llmzip.scoring.base import Scorer, Tokenized, joined
from llmzip.scoring.hidden_states import sequence_states
from llmzip.scoring.spans import LITERAL_BITS, Begin
from llmzip.types import Float64Array, IdArray, TokenProgress

ESTIMATORS = ("twonn", "mle")
NEIGHBORS = 20
"""How many nearest neighbors the maximum likelihood estimate looks at."""
MIN_POINTS = 2 * (NEIGHBORS + 2)
"""Of half of them, each still needs its neighbors."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """An intrinsic dimension."""

    dimension: float
    """Of all points."""
    spread: float
    """The standard deviation over random halves of them."""


@dataclasses.dataclass(frozen=True)
class LayerDimension:
    """The points after one layer."""

    layer: int
    """1 is the first; the last one's state is what the head reads."""
    points: int
    """Different ones; equal ones count once."""
    twonn: Estimate
    mle: Estimate


@dataclasses.dataclass(frozen=True)
class TextDimension:
    """One text."""

    text: str
    sequences: int
    sequence_tokens: int
    sequence_bytes: int
    """Of all sequences together."""
    bits_per_byte: float
    """The code length of the same sequences."""
    bits_per_token: float
    """The same as mean surprisal."""
    layers: list[LayerDimension]


@dataclasses.dataclass(frozen=True)
class LayerCorrelation:
    """Over the texts: one estimate after one layer, and the surprisal [bits/token]."""

    estimator: str
    layer: int
    pearson: float | None
    """None: one of both is the same for all texts."""
    spearman: float | None


@dataclasses.dataclass(frozen=True)
class Dimensions:
    """What `measure_dimensions` finds."""

    texts: list[TextDimension]
    correlations: list[LayerCorrelation]
    """Empty for less than three texts."""


def estimate(points: npt.ArrayLike, *, subsamples: int = 5, seed: int = 0) -> dict[str, Estimate]:
    """The intrinsic dimension of points [N, d], by the name of each estimator.

    subsamples: over so many random halves the spread is taken. Raises LLMZipError for fewer than
    `MIN_POINTS` different points: an estimator that divides by a distance of 0 says nothing.
    """
    distinct = np.unique(np.asarray(points, np.float64), axis=0)
    if len(distinct) < MIN_POINTS:
        raise LLMZipError(
            f"an intrinsic dimension needs {MIN_POINTS} different points; there are {len(distinct)}"
        )
    generator = np.random.Generator(np.random.PCG64(seed))
    halves = [
        distinct[generator.choice(len(distinct), len(distinct) // 2, replace=False)]
        for _ in range(subsamples)
    ]
    found = {}
    for name in ESTIMATORS:
        spread = np.std([_dimension(name, half) for half in halves]) if halves else 0.0
        found[name] = Estimate(_dimension(name, distinct), float(spread))
    return found


def _dimension(name: str, points: Float64Array) -> float:
    if name == "twonn":
        return float(skdim.id.TwoNN().fit(points).dimension_)
    return float(skdim.id.MLE().fit(points, n_neighbors=NEIGHBORS).dimension_)


def measure_dimensions(
    scorer: Scorer,
    texts: Sequence[Text],
    *,
    sequences: int = 512,
    tokens: int = 32,
    subsamples: int = 5,
    partial: Partial | None = None,
    begin: Begin | None = None,
) -> Dimensions:
    """Dimensions and code lengths of texts, and how both go together over them.

    sequences: of each text the same number, because estimates grow with it; tokens: of each
    sequence. partial: what an interrupted run has measured; begin: told which text comes next.
    Raises LLMZipError for a text with too few sequences.
    """
    partial = partial or Partial()
    chosen = {text.name: _sequences(scorer, text, sequences, tokens) for text in texts}
    found = []
    for text in texts:
        progress = begin(f"{scorer.model_card.name}: {text.name}") if begin else None
        identity = [
            *("dimension", scorer.model_card, text.name, text.sha256),
            [len(part) for part in text.documents],
            [sequences, tokens, subsamples],
        ]
        measure = functools.partial(
            _measure, scorer, text.name, chosen[text.name], tokens, subsamples, progress
        )
        found.append(partial.cell(TextDimension, identity, measure))
    return Dimensions(found, _correlations(found))


def _sequences(scorer: Scorer, text: Text, count: int, length: int) -> Tokenized:
    """The tokens of `count` sequences, one after the other: of a set of documents the beginnings,
    of any other text parts that are spread over it evenly.
    """
    if text.documents:
        parts = [scorer.tokenize(document) for document in text.documents]
        parts = [part[:length] for part in parts if len(part.ids) >= length]
        tokens = joined(parts) if parts else scorer.tokenize(b"")
    else:
        tokens = scorer.tokenize(text.data)
    places = np.arange(len(tokens.ids) // length) * length
    if len(places) < count:
        raise LLMZipError(
            f"{text.name} has {len(places)} sequences of {length} tokens, not {count}: take "
            "shorter ones (--tokens), or fewer of every text (--sequences)"
        )
    places = places[np.linspace(0, len(places) - 1, count).astype(int)]
    index = (places[:, None] + np.arange(length)).flatten()
    return Tokenized(
        tokens.ids[index], tokens.sizes[index], tokens.characters[index], tokens.escaped[index]
    )


def _measure(
    scorer: Scorer,
    name: str,
    tokens: Tokenized,
    length: int,
    subsamples: int,
    progress: TokenProgress | None,
) -> TextDimension:
    ids: IdArray = tokens.ids.reshape(-1, length)
    read = sequence_states(scorer, ids, progress)
    bits = float(read.bits.sum() + LITERAL_BITS * tokens.escaped.sum())
    size = int(tokens.sizes.sum())
    layers = []
    for number, points in enumerate(read.states, 1):
        distinct = len(np.unique(points, axis=0))
        try:
            found = estimate(points, subsamples=subsamples)
        except LLMZipError as error:
            raise LLMZipError(f"{name}, layer {number}: {error}") from error
        layers.append(LayerDimension(number, distinct, **found))
    return TextDimension(
        text=name,
        sequences=len(ids),
        sequence_tokens=length,
        sequence_bytes=size,
        bits_per_byte=bits / size,
        bits_per_token=bits / ids.size,
        layers=layers,
    )


def _correlations(texts: Sequence[TextDimension]) -> list[LayerCorrelation]:
    if len(texts) < 3:
        return []
    surprisal = np.array([text.bits_per_token for text in texts])
    found = []
    for name in ESTIMATORS:
        for number, layers in enumerate(zip(*(text.layers for text in texts), strict=True), 1):
            dimensions = np.array([getattr(layer, name).dimension for layer in layers])
            if np.ptp(dimensions) == 0 or np.ptp(surprisal) == 0:
                found.append(LayerCorrelation(name, number, None, None))
                continue
            found.append(
                LayerCorrelation(
                    name,
                    number,
                    float(scipy.stats.pearsonr(dimensions, surprisal).statistic),
                    float(scipy.stats.spearmanr(dimensions, surprisal).statistic),
                )
            )
    return found
