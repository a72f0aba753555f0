"""Choosing a dictionary: the samples that save most bits within a size.

As COVER does for zstd (Liao, Petri, Moffat, Wirth, "Effective construction of relative Lempel-Ziv
dictionaries", WWW 2016), samples are chosen greedily by the n-grams that they bring and that others
have, too; here an n-gram is worth the bits that the model spends on it without a dictionary. What
is chosen is then measured on records that had no part in it, beside samples taken evenly, and the
better one is the result.
"""

from __future__ import annotations

import dataclasses
import heapq
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from llmzip.buffers import whole_number
from llmzip.engine.base import Engine
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import LLMZipError
from llmzip.metrics.windows import Span
from llmzip.predictor.dictionary import CONTEXT_TOKENS
from llmzip.predictor.record_dictionary import MAX_DICTIONARY_BYTES, RecordDictionary
from llmzip.records.coder import RecordCoder
from llmzip.runtime import Runtime
from llmzip.scoring.base import Tokenized
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import score

DICTIONARY_BYTES = 1 << 15
"""Samples of so many bytes, each with one more: what is gained by more is little."""

_HELD_OUT, _SCORED, _CANDIDATES = 96, 192, 8192
"""Records that only measure, that say what n-grams are worth, and of which some are chosen."""
_LONGEST = 1024
"""Tokens of a record that are scored."""
_ORDER = 3
_AGAIN = 0.5
"""What an n-gram is worth that another sample has already brought, and so on."""

Report = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class TrainedDictionary:
    """The samples that were chosen, and what they are worth."""

    dictionary: RecordDictionary
    """The samples, those that save most at the end."""
    chosen: str
    """How: "covering", or "even" where that was better."""
    held_out: int
    """How many records were measured that had no part in the choice."""
    held_out_bytes: int
    without_bytes: int
    """What those take without a dictionary."""
    even_bytes: int
    """With samples taken evenly, of the same size."""
    with_bytes: int
    """With the samples that were chosen."""

    @property
    def helps(self) -> bool:
        """Whether the records that were held out take less with it than without."""
        return self.with_bytes < self.without_bytes


def train(
    samples: Sequence[bytes],
    size: int = DICTIONARY_BYTES,
    *,
    context: int = CONTEXT_TOKENS,
    model: ModelLike | None = None,
    runtime: Runtime | None = None,
    report: Report = lambda _: None,
) -> TrainedDictionary:
    """Choose, of samples in the order in which they came, those that save most bits within `size`
    bytes. report: is told what is done.

    Raises LLMZipError for fewer than ten samples, ValueError for an impossible size.
    """
    if len(samples) < 10:
        raise LLMZipError(f"too few samples to choose from, {len(samples)}: give ten or more")
    if not 1 <= whole_number(size, "size") <= MAX_DICTIONARY_BYTES:
        raise ValueError(f"a dictionary of {size} bytes: 1 to {MAX_DICTIONARY_BYTES}")
    engine = EngineLoader.of(model, runtime=runtime).for_compression()
    held = _evenly(range(len(samples)), min(_HELD_OUT, len(samples) // 5))
    others = sorted({*range(len(samples))} - {*held})
    measured = [samples[i] for i in held]
    pool = [samples[i] for i in _evenly(others, _CANDIDATES) if len(samples[i]) < size]
    if not pool:
        raise LLMZipError(f"no sample is shorter than {size} bytes: allow a larger dictionary")

    report(f"measuring {min(_SCORED, len(pool))} of {len(samples)} samples without a dictionary")
    worth = _worth(engine, [pool[i] for i in _evenly(range(len(pool)), _SCORED)])
    covering = _covering(engine, pool, worth, size)
    even = _even(pool, size)

    def packed(chosen: Sequence[bytes]) -> int:
        known = RecordDictionary(chosen, context=context).on(engine)
        return sum(map(len, RecordCoder(engine, known, runtime=runtime).encode(measured)))

    report(f"measuring dictionaries on {len(measured)} held-out records")
    without, of_even, of_covering = packed([]), packed(even), packed(covering)
    covers = of_covering <= of_even
    return TrainedDictionary(
        RecordDictionary(covering if covers else even, context=context),
        "covering" if covers else "even",
        len(measured),
        sum(map(len, measured)),
        without,
        of_even,
        min(of_covering, of_even),
    )


def _evenly(numbers: Sequence[int], count: int) -> list[int]:
    """So many of the numbers, at equal distances."""
    count = min(count, len(numbers))
    return [numbers[i * len(numbers) // count] for i in range(count)]


def _even(pool: Sequence[bytes], size: int) -> list[bytes]:
    """Samples at equal distances that fill the size."""
    mean = sum(len(sample) + 1 for sample in pool) / len(pool)
    chosen: list[bytes] = []
    for i in _evenly(range(len(pool)), int(size / mean) + 1):
        size -= len(pool[i]) + 1
        if size < 0:
            break
        chosen.append(pool[i])
    return chosen


_Gram = tuple[int, ...]


def _grams(ids: Sequence[int]) -> list[_Gram]:
    """The n-gram that ends at each token; shorter ones at the beginning."""
    return [tuple(ids[max(0, i - _ORDER + 1) : i + 1]) for i in range(len(ids))]


def _worth(engine: Engine, records: Sequence[bytes]) -> dict[_Gram, float]:
    """What it is worth to have seen an n-gram: the bits that the model spends on it in all records
    together. Nothing for what only one record has.
    """
    scorer = IntegerScorer(engine, "")
    texts = [scorer.tokenize(record) for record in records]
    length = min(_LONGEST, scorer.max_positions)
    ids = [text.ids[:length] for text in texts]
    ends = np.cumsum([len(part) for part in ids]).tolist()
    joined = Tokenized(
        np.concatenate(ids),
        *(
            np.concatenate([getattr(text, name)[:length] for text in texts])
            for name in ("sizes", "characters", "escaped")
        ),
    )
    spans = [
        Span(end - len(part), end - len(part), end) for end, part in zip(ends, ids, strict=True)
    ]
    bits = score(scorer, joined, [span for span in spans if span.length]).bits
    total: Counter[_Gram] = Counter()
    holders: Counter[_Gram] = Counter()
    for span, part in zip(spans, ids, strict=True):
        found = _grams(part.tolist())
        holders.update(set(found))
        for gram, of_gram in zip(found, bits[span.begin : span.end].tolist(), strict=True):
            total[gram] += of_gram
    return {gram: value for gram, value in total.items() if holders[gram] > 1}


def _covering(
    engine: Engine, pool: Sequence[bytes], worth: dict[_Gram, float], size: int
) -> list[bytes]:
    """Samples that bring the n-grams of most worth for their bytes, the best ones last.

    Lazy greedy: what a sample brings only becomes less (Minoux 1978).
    """
    grams = [
        {
            gram
            for gram in _grams(engine.model.tokenizer.encode(sample).ids.tolist())
            if gram in worth
        }
        for sample in pool
    ]
    left = dict(worth)

    def gain(i: int) -> float:
        return sum(left[gram] for gram in grams[i]) / (len(pool[i]) + 1)

    waiting = [(-gain(i), i) for i in range(len(pool))]
    heapq.heapify(waiting)
    chosen: list[bytes] = []
    while waiting:
        _, i = heapq.heappop(waiting)
        if len(pool[i]) + 1 > size:
            continue
        now = -gain(i)
        if waiting and now > waiting[0][0]:
            heapq.heappush(waiting, (now, i))
            continue
        chosen.append(pool[i])
        size -= len(pool[i]) + 1
        for gram in grams[i]:
            left[gram] *= _AGAIN
    return chosen[::-1]
