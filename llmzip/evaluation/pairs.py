"""Code lengths of texts given other texts, by a model or by any codec."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.evaluation.codec_rows import make_codec
from llmzip.evaluation.json_values import FLAT
from llmzip.evaluation.partial import Partial
from llmzip.metrics import distances
from llmzip.metrics.alignment import CodeLength, alignment, bits_saved
from llmzip.metrics.windows import Span, segments
from llmzip.scoring.base import Scorer, joined
from llmzip.scoring.spans import score
from llmzip.types import TokenProgress

DISTANCES = ("ncd", "gpt_max", "gpt_min", "gpt_mean")

_TOGETHER = 32
"""How many pairs a model scores side by side, and that an interruption may lose."""

Pair = tuple[bytes, bytes]
"""A text y, and the text z that is given."""

Conditional = Callable[[bytes, bytes], float]
"""The function (y, z) -> C(y|z) [bits]."""


@dataclasses.dataclass(frozen=True)
class Retained:
    """How much of a full prompt's information a short one retains."""

    code_length_given_full_bits: float
    retained_information: float


@dataclasses.dataclass(frozen=True)
class ConditionalLength:
    """A text y given a text z."""

    bytes: int
    code_length_bits: float
    """C(y)."""
    conditional_code_length_bits: float
    """C(y|z)."""
    residual_bits_per_byte: float
    information_gain_bits_per_byte: float
    retained: Retained | None = dataclasses.field(default=None, metadata=FLAT)


@dataclasses.dataclass(frozen=True)
class Classification:
    """Texts classified by their nearest neighbors."""

    distance: str
    k: int
    accuracy: float
    predictions: dict[str, str]
    """File -> label."""
    training: list[str]
    distances: list[list[float]]
    """The distance of each test text from each training text: [tests][training]."""


@dataclasses.dataclass(frozen=True)
class Selected:
    """A source text and how well it fits the targets."""

    name: str
    score: float


@dataclasses.dataclass(frozen=True)
class Selection:
    """The source texts that fit best, the best first."""

    measure: str
    selected: list[Selected]


@dataclasses.dataclass(frozen=True)
class MutualInformation:
    """The mutual information of inputs and what was made of them."""

    pairs: int
    mutual_information_bits: float
    upper_bound_bits: float
    """log2 of the number of pairs: no estimate is greater."""
    mutual_information_rate_bits_per_byte: float


class ModelCodeLengths:
    """C(y) and C(y|z) [bits] by a model: all of y, with z before it as far as there is room.

    y is read in windows of at most half the model's positions, and each has z before it, whose left
    end is cut where both do not fit. The windows are the same whatever z is, so that a difference
    of two code lengths is z's doing.
    """

    def __init__(self, scorer: Scorer, partial: Partial | None = None) -> None:
        self._scorer = scorer
        self._partial = partial or Partial()
        self._card = scorer.model_card

    def __call__(self, text: bytes, given: bytes = b"") -> float:
        """The code length of `text` given a context."""
        self.prepare([(text, given)])
        known = self._partial.get(float, self._identity((text, given)))
        return 0.0 if known is None else known

    def prepare(self, pairs: Iterable[Pair], progress: TokenProgress | None = None) -> None:
        """Measure many pairs side by side, which is sooner than one by one; `progress` is told how
        many are done.
        """
        todo = [
            pair
            for pair in dict.fromkeys(pairs)
            if pair[0] and self._partial.get(float, self._identity(pair)) is None
        ]
        for start in range(0, len(todo), _TOGETHER):
            group = todo[start : start + _TOGETHER]
            for pair, bits in zip(group, self._measure(group), strict=True):
                self._partial.put(self._identity(pair), float(bits))
            if progress:
                progress(start + len(group))

    def _measure(self, pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
        limit = self._scorer.max_positions
        spans, pair_of, texts, origin = [], [], [], 0
        for i, (text, given) in enumerate(pairs):
            z, y = self._scorer.tokenize(given), self._scorer.tokenize(text)
            for window in segments(len(y.ids), max(1, limit // 2)):
                before = z[max(0, len(z.ids) - (limit - window.length)) :]
                scored = origin + len(before.ids)
                texts += [before, y[window.begin : window.end]]
                spans.append(Span(origin, scored, scored + window.length))
                pair_of.append(i)
                origin = scored + window.length
        scores = score(self._scorer, joined(texts), spans)
        bits = np.zeros(len(pairs))
        np.add.at(bits, pair_of, scores.span_bits(len(spans)))
        return bits

    def _identity(self, pair: Pair) -> object:
        return ["in windows", self._card, *map(_digest, pair)]


def codec_length(name: str, partial: Partial | None = None) -> CodeLength:
    """Bits of a codec's payload, remembered per text; `name` as for `--codec`."""
    codec, known = make_codec(name), partial or Partial()

    def length(data: bytes) -> float:
        return known.cell(
            float,
            [codec.get_config(), _digest(data)],
            lambda: 8.0 * len(codec.payload_codec.encode(data)) if data else 0.0,
        )

    return length


def conditional_by_codec(length: CodeLength) -> Conditional:
    """C(y|z) = C(zy) - C(z) with a codec that sees z before y."""
    return lambda text, given: length(given + text) - length(given)


def measure_pairs(
    conditional: Conditional, pairs: Sequence[Pair], progress: TokenProgress | None = None
) -> None:
    """Measure pairs side by side; asking for their code lengths later is then a look-up."""
    if isinstance(conditional, ModelCodeLengths):
        conditional.prepare(pairs, progress)
        return
    for done, pair in enumerate(pairs):
        conditional(*pair)
        if progress:
            progress(done + 1)


def conditional_table(
    texts: Sequence[bytes],
    given: Sequence[bytes],
    conditional: Conditional,
    progress: TokenProgress | None = None,
) -> npt.NDArray[np.float64]:
    """C(y|z) [bits]: [texts, given]."""
    measure_pairs(conditional, [(y, z) for y in texts for z in given], progress)
    return np.array([[conditional(y, z) for z in given] for y in texts])


def distance_table(
    tests: Sequence[bytes],
    training: Sequence[bytes],
    conditional: Conditional,
    kind: str,
    progress: TokenProgress | None = None,
) -> npt.NDArray[np.float64]:
    """[tests, training] by one of DISTANCES; C(xy) of the NCD is C(x) + C(y|x)."""
    pairs = [(x, b"") for x in (*tests, *training)] + [(y, x) for x in tests for y in training]
    if kind != "ncd":
        pairs += [(x, y) for x in tests for y in training]
    measure_pairs(conditional, pairs, progress)
    table = np.empty((len(tests), len(training)))
    for i, x in enumerate(tests):
        for j, y in enumerate(training):
            alone = conditional(x, b""), conditional(y, b"")
            if kind == "ncd":
                table[i, j] = distances.ncd(*alone, alone[0] + conditional(y, x))
            else:
                table[i, j] = getattr(distances, kind)(*alone, conditional(x, y), conditional(y, x))
    return table


def fit_scores(
    sources: Sequence[bytes],
    targets: Sequence[bytes],
    *,
    length: CodeLength | None,
    conditional: Conditional | None,
    progress: TokenProgress | None = None,
) -> npt.NDArray[np.float64]:
    """How well each source fits the targets: ZIP-FIT's alignment by a codec, or by a model the mean
    bits saved per byte.
    """
    if length is not None:
        return alignment(sources, targets, length)
    assert conditional is not None
    measure_pairs(conditional, [(t, s) for s in (b"", *sources) for t in targets], progress)
    size = sum(map(len, targets))
    saved = [
        sum(bits_saved(conditional(t, b""), conditional(t, s)) for t in targets) / size
        for s in sources
    ]
    return np.array(saved, np.float64)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
