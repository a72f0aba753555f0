"""Code lengths of texts given other texts, by a model or by any codec."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.evaluation.codec_rows import make_codec
from llmzip.metrics import distances
from llmzip.metrics.alignment import CodeLength, alignment, bits_saved
from llmzip.metrics.windows import Span
from llmzip.scoring.base import Scorer
from llmzip.scoring.score import score

DISTANCES = ("ncd", "gpt_max", "gpt_min", "gpt_mean")


class ModelCodeLengths:
    """C(y) and C(y|z) [bits] by a model: z is its context, cut from the left where both do not fit.

    Texts that are longer than the model's positions are cut at their ends, all of them alike.
    """

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._lengths: dict[tuple[bytes, bytes], float] = {}

    def __call__(self, text: bytes, given: bytes = b"") -> float:
        """The code length of `text` given a context."""
        if not text:
            return 0.0
        key = text, given
        if key not in self._lengths:
            most = self._scorer.max_positions
            y = self._scorer.tokenize(text)
            count = min(len(y.ids), most)
            z = self._scorer.tokenize(given)
            both = z + y
            begin = max(0, len(z.ids) + count - most)
            span = Span(begin, len(z.ids), len(z.ids) + count)
            self._lengths[key] = score(self._scorer, both, [span]).total_bits
        return self._lengths[key]


def codec_length(name: str) -> CodeLength:
    """Bits of a codec's payload, remembered per text; `name` as for `--codec`."""
    codec = make_codec(name)

    @functools.lru_cache(maxsize=1 << 16)
    def length(data: bytes) -> float:
        return 8.0 * len(codec.coder.encode(data)) if data else 0.0

    return length


Conditional = Callable[[bytes, bytes], float]


def conditional_by_codec(length: CodeLength) -> Conditional:
    """C(y|z) = C(zy) - C(z) with a codec that sees z before y."""
    return lambda text, given: length(given + text) - length(given)


def distance_table(
    tests: Sequence[bytes], training: Sequence[bytes], conditional: Conditional, kind: str
) -> npt.NDArray[np.float64]:
    """[tests, training] by one of DISTANCES; C(xy) of the NCD is C(x) + C(y|x)."""
    table = np.empty((len(tests), len(training)))
    for i, x in enumerate(tests):
        for j, y in enumerate(training):
            alone = conditional(x, b""), conditional(y, b"")
            given = conditional(x, y), conditional(y, x)
            if kind == "ncd":
                table[i, j] = distances.ncd(*alone, alone[0] + given[1])
            else:
                table[i, j] = getattr(distances, kind)(*alone, *given)
    return table


def fit_scores(
    sources: Sequence[bytes], targets: Sequence[bytes], *, length: CodeLength | None, conditional: Conditional | None
) -> npt.NDArray[np.float64]:
    """How well each source fits the targets: ZIP-FIT's alignment by a codec, or by a model the mean bits saved per byte."""
    if length is not None:
        return alignment(sources, targets, length)
    assert conditional is not None
    size = sum(map(len, targets))
    saved = [sum(bits_saved(conditional(t, b""), conditional(t, s)) for t in targets) / size for s in sources]
    return np.array(saved, np.float64)
