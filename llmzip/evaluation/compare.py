"""Two models on the same tokens: what a quantized, pruned or distilled one has lost."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from llmzip.errors import LLMZipError
from llmzip.evaluation.options import Text
from llmzip.evaluation.partial import Partial
from llmzip.metrics.code_length import percentile
from llmzip.metrics.divergence import flips, js_bits, kl_bits
from llmzip.metrics.windows import segments
from llmzip.scoring.base import Scorer
from llmzip.scoring.score import Begin, batches
from llmzip.types import Float64Array, TokenProgress

_ROWS = 32
"""How many full distributions are compared at once."""

_MEANS = {
    "bytes": ("bits_per_byte_original", "bits_per_byte_changed", "delta_bits_per_byte"),
    "tokens": ("kl_bits_per_token", "js_bits_per_token", "flips"),
}
"""What is a mean over what."""


def compare(
    original: Scorer, changed: Scorer, data: bytes, *, context: int = 1024, progress: TokenProgress | None = None
) -> dict[str, Any]:
    """Bits/byte of both, and per token KL(original || changed), Jensen-Shannon divergence and flips of the first choice.

    Raises LLMZipError for models that cut the text differently: their distributions are over different things.
    """
    text = original.tokenize(data)
    if (
        text.ids.tolist() != changed.tokenize(data).ids.tolist()
        or original.vocabulary.token_bytes != changed.vocabulary.token_bytes
    ):
        raise LLMZipError(
            f"{original.card.name} and {changed.card.name} have different vocabularies: compare their bits/byte"
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
            raise LLMZipError(f"{scorer.card.name} {scorer.card.settings} gives no probability where it is needed")
    return {
        "bytes": len(data),
        "tokens": len(kl),
        "bits_per_byte_original": float(one.sum()) / len(data),
        "bits_per_byte_changed": float(other.sum()) / len(data),
        "delta_bits_per_byte": float((other - one).sum()) / len(data),
        "kl_bits_per_token": float(kl.mean()),
        "kl_bits_per_token_p99": percentile(kl),
        "js_bits_per_token": float(js.mean()),
        "flips": float(flipped.mean()),
        "extra_bits_per_token_p99": percentile(other - one),
    }


def compare_texts(
    original: Scorer,
    changed: Scorer,
    texts: Sequence[Text],
    *,
    context: int = 1024,
    partial: Partial | None = None,
    begin: Begin | None = None,
) -> dict[str, Any]:
    """`compare` per text, and over all of them: rates per byte of all bytes, means of all tokens, no percentiles.

    partial: what an interrupted run has measured; begin: told which text comes next.
    """
    partial = partial or Partial()
    cards = [dataclasses.asdict(scorer.card) for scorer in (original, changed)]
    found = {}
    for text in texts:
        progress = begin(f"{original.card.name}, {changed.card.name}: {text.name}") if begin else None
        measure = functools.partial(compare, original, changed, text.data, context=context, progress=progress)
        found[text.name] = partial.cell(["compare", cards, text.sha256, context], measure)
    overall: dict[str, Any] = {unit: sum(row[unit] for row in found.values()) for unit in ("bytes", "tokens")}
    for unit, keys in _MEANS.items():
        for key in keys:
            overall[key] = sum(row[key] * row[unit] for row in found.values()) / overall[unit]
    return {"segment_tokens": context, "texts": found, "overall": overall}
