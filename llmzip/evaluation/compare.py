"""Two models on the same tokens: what a quantized, pruned or distilled one has lost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import numpy as np

from llmzip.errors import LLMZipError
from llmzip.evaluation.options import Text
from llmzip.evaluation.partial import Partial
from llmzip.metrics.code_length import percentile
from llmzip.metrics.divergence import flips, js_bits, kl_bits
from llmzip.metrics.windows import segments
from llmzip.scoring.base import Scorer
from llmzip.scoring.spans import Begin, batches
from llmzip.types import Float64Array, TokenProgress

_ROWS = 32
"""This many full distributions are compared at once."""


@dataclasses.dataclass(frozen=True)
class Overall:
    """Two models on all texts: rates per byte, and means over tokens."""

    bytes: int
    tokens: int
    bits_per_byte_original: float
    bits_per_byte_changed: float
    delta_bits_per_byte: float
    kl_bits_per_token: float
    """KL(original || changed)."""
    js_bits_per_token: float
    flips: float
    """The share of the tokens at which the first choice differs."""


@dataclasses.dataclass(frozen=True)
class Comparison(Overall):
    """Two models on one text, with 99th percentiles over its tokens."""

    kl_bits_per_token_p99: float
    extra_bits_per_token_p99: float


@dataclasses.dataclass(frozen=True)
class ComparedTexts:
    """Two models on several texts."""

    segment_tokens: int
    texts: dict[str, Comparison]
    overall: Overall


def compare(
    original: Scorer,
    changed: Scorer,
    data: bytes,
    *,
    context: int = 1024,
    progress: TokenProgress | None = None,
) -> Comparison:
    """Bits/byte of both, and per token KL(original || changed), Jensen-Shannon divergence and flips
    of the first choice.

    Raises LLMZipError for models that split the text differently: their distributions are over
    different things.
    """
    text = original.tokenize(data)
    if (
        text.ids.tolist() != changed.tokenize(data).ids.tolist()
        or original.vocabulary.token_bytes != changed.vocabulary.token_bytes
    ):
        raise LLMZipError(
            f"{original.model_card.name} and {changed.model_card.name} "
            "have different vocabularies: compare their bits/byte"
        )
    length = min(context, original.max_positions, changed.max_positions)
    found: list[tuple[Float64Array, ...]] = []
    fed = 0
    batch_positions = min(original.batch_positions, changed.batch_positions)
    spans = segments(len(text.ids), length)
    rows = max(1, batch_positions // length)
    for first in range(0, len(spans), rows):
        for batch in batches(original, text, spans[first : first + rows]):
            pairs = zip(
                original.predict(batch.inputs, batch.wanted, None),
                changed.predict(batch.inputs, batch.wanted, None),
                strict=True,
            )
            for (columns, a), (_, b) in pairs:
                here = batch.wanted[:, columns]
                targets = batch.targets[:, columns][here]
                p, q = a.log2_probabilities(), b.log2_probabilities()
                width = min(p.shape[1], q.shape[1])
                for start in range(0, len(targets), _ROWS):
                    part = slice(start, start + _ROWS)
                    here_p, here_q = p[part, :width], q[part, :width]
                    row = np.arange(len(here_p)), targets[part]
                    found.append(
                        (
                            -here_p[row].astype(np.float64),
                            -here_q[row].astype(np.float64),
                            kl_bits(here_p, here_q),
                            js_bits(here_p, here_q),
                            flips(here_p, here_q).astype(np.float64),
                        )
                    )
                if progress:
                    progress(fed + columns.stop * len(batch.inputs))
            fed += batch.inputs.size
    one, other, kl, js, flipped = (np.concatenate(parts) for parts in zip(*found, strict=True))
    for scorer, bits in ((original, one), (changed, other + kl)):
        if not np.isfinite(bits).all():
            raise LLMZipError(
                f"{scorer.model_card.name} {scorer.model_card.settings} "
                "gives no probability where it is needed"
            )
    return Comparison(
        bytes=len(data),
        tokens=len(kl),
        bits_per_byte_original=float(one.sum()) / len(data),
        bits_per_byte_changed=float(other.sum()) / len(data),
        delta_bits_per_byte=float((other - one).sum()) / len(data),
        kl_bits_per_token=float(kl.mean()),
        kl_bits_per_token_p99=percentile(kl),
        js_bits_per_token=float(js.mean()),
        flips=float(flipped.mean()),
        extra_bits_per_token_p99=percentile(other - one),
    )


def compare_texts(
    original: Scorer,
    changed: Scorer,
    texts: Sequence[Text],
    *,
    context: int = 1024,
    partial: Partial | None = None,
    begin: Begin | None = None,
) -> ComparedTexts:
    """`compare` per text, and over all of them: rates per byte of all bytes, means of all tokens,
    no percentiles.

    partial: what an interrupted run has measured; begin: told which text comes next.
    """
    partial = partial or Partial()
    cards = [original.model_card, changed.model_card]
    found = {}
    for text in texts:
        label = f"{original.model_card.name}, {changed.model_card.name}: {text.name}"
        progress = begin(label) if begin else None
        measure = functools.partial(
            compare, original, changed, text.data, context=context, progress=progress
        )
        identity = ["compare", cards, text.sha256, context]
        found[text.name] = partial.cell(Comparison, identity, measure)
    return ComparedTexts(context, found, _overall(list(found.values())))


def _overall(found: Sequence[Comparison]) -> Overall:
    """Means over all texts, per byte or per token as each is."""
    sizes, tokens = [one.bytes for one in found], [one.tokens for one in found]

    def mean(values: Iterable[float], weights: Sequence[int]) -> float:
        return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)

    return Overall(
        bytes=sum(sizes),
        tokens=sum(tokens),
        bits_per_byte_original=mean((one.bits_per_byte_original for one in found), sizes),
        bits_per_byte_changed=mean((one.bits_per_byte_changed for one in found), sizes),
        delta_bits_per_byte=mean((one.delta_bits_per_byte for one in found), sizes),
        kl_bits_per_token=mean((one.kl_bits_per_token for one in found), tokens),
        js_bits_per_token=mean((one.js_bits_per_token for one in found), tokens),
        flips=mean((one.flips for one in found), tokens),
    )
