"""Scoring: spans of a text in batches of rows, brought back into the order of the text."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.errors import LimitError, LLMZipError
from llmzip.metrics.windows import Span, segments, sliding
from llmzip.scoring.base import Scorer, Tokenized
from llmzip.types import BoolArray, Float64Array, IdArray, TokenProgress

Begin = Callable[[str], TokenProgress | None]
"""Called with the name of the next measurement; returns the function that reports its progress."""

LITERAL_BITS = 8.0
"""What the byte behind an escape token costs."""


@dataclasses.dataclass(frozen=True)
class TokenScores:
    """The scored tokens, span by span and in the order of the text."""

    bits: Float64Array  # [n], the literal byte behind an escape token included
    ranks: IdArray  # [n]
    sizes: IdArray  # [n] bytes
    characters: IdArray  # [n]
    positions: IdArray  # [n], how many tokens of its span stand before it
    spans: IdArray  # [n], the index of its span

    @property
    def total_bits(self) -> float:
        """The code length of all scored tokens."""
        return float(self.bits.sum())

    @property
    def total_bytes(self) -> int:
        """The bytes of the scored tokens."""
        return int(self.sizes.sum())

    def span_bits(self, count: int) -> Float64Array:
        """The code length of each of `count` spans."""
        summed: Float64Array = np.bincount(self.spans, self.bits, count).astype(np.float64)
        return summed


@dataclasses.dataclass(frozen=True)
class Batch:
    """Rows that are fed in lockstep."""

    spans: IdArray  # [S] indices
    inputs: IdArray  # [S, T]
    targets: IdArray  # [S, T]
    text_indices: npt.NDArray[np.int64]  # [S, T], the index of the target in the text
    positions: IdArray  # [S, T], how many tokens of the span stand before the target
    wanted: BoolArray  # [S, T]


def batches(
    scorer: Scorer,
    text: Tokenized,
    spans: Sequence[Span],
    *,
    start: bool = True,
    start_token: int | None = None,
) -> Iterator[Batch]:
    """Spans as rows, the longest first, so that a batch pads little.

    start: whether each span begins with the start token; without it, its first token is not scored.
    start_token: another one than the vocabulary's. Either way nothing follows a span's last token,
    which is not fed. Raises LimitError for a span that feeds more tokens than the model has
    positions.
    """
    token = scorer.vocabulary.start_token if start_token is None else start_token
    order = sorted(range(len(spans)), key=lambda i: -spans[i].length)
    skip = 0 if start else 1
    while order:
        longest = spans[order[0]].length
        length = longest - skip
        if length > scorer.max_positions:
            raise LimitError(
                f"{length} tokens of context are more than "
                f"the model's {scorer.max_positions} positions"
            )
        rows = order[: max(1, scorer.batch_positions // max(1, length))]
        order = order[len(rows) :]
        if length < 1:
            continue
        inputs, targets = np.zeros((2, len(rows), length), np.int32)
        text_indices = np.zeros((len(rows), length), np.int64)
        wanted = np.zeros((len(rows), length), np.bool_)
        for row, i in enumerate(rows):
            span = spans[i]
            ids = text.ids[span.begin : span.end]
            if start:
                inputs[row, 0] = token
            count = span.length - skip
            inputs[row, 1 - skip : span.length - skip] = ids[:-1]
            targets[row, :count] = ids[skip:]
            text_indices[row, :count] = np.arange(span.begin + skip, span.end)
            wanted[row, :count] = np.arange(span.begin + skip, span.end) >= span.scored
        positions = np.broadcast_to(np.arange(skip, longest, dtype=np.int32), inputs.shape)
        yield Batch(np.array(rows, np.int32), inputs, targets, text_indices, positions, wanted)


def score_text(
    scorer: Scorer,
    data: bytes,
    *,
    context: int = 1024,
    stride: int | None = None,
    progress: TokenProgress | None = None,
) -> TokenScores:
    """All tokens of a text, each once: in independent segments of `context` tokens, or in windows
    of so many that move by `stride` and score what no earlier one has.

    Each begins with the start token; a model with fewer positions has shorter ones. `total_bits`
    over `len(data)` is the rate in bits/byte.
    """
    text = scorer.tokenize(data)
    length = min(context, scorer.max_positions)
    count = len(text.ids)
    spans = (
        segments(count, length) if stride is None else sliding(count, length, min(stride, length))
    )
    return score(scorer, text, spans, progress=progress)


def score(
    scorer: Scorer,
    text: Tokenized,
    spans: Sequence[Span],
    *,
    window: int | None = None,
    start: bool = True,
    start_token: int | None = None,
    progress: TokenProgress | None = None,
) -> TokenScores:
    """The code lengths of the tokens that the spans score; start and start_token as for `batches`,
    window as for `predict`.

    Raises LimitError as `batches`, and LLMZipError for a model that breaks down: half precision can
    overflow.
    """
    found: list[tuple[Float64Array, IdArray, npt.NDArray[np.int64], IdArray, IdArray]] = []
    fed = 0
    for batch in batches(scorer, text, spans, start=start, start_token=start_token):
        rows = np.broadcast_to(batch.spans[:, None], batch.inputs.shape)
        for part, predictions in scorer.predict(batch.inputs, batch.wanted, window):
            here = batch.wanted[:, part]
            bits, ranks = predictions.measure(batch.targets[:, part][here])
            if not np.isfinite(bits).all():
                raise LLMZipError(
                    f"{scorer.model_card.name} {scorer.model_card.settings} "
                    "gives tokens of the text no probability"
                )
            found.append(
                (
                    bits,
                    ranks,
                    batch.text_indices[:, part][here],
                    batch.positions[:, part][here],
                    rows[:, part][here],
                )
            )
            if progress:
                progress(fed + part.stop * len(batch.inputs))
        fed += batch.inputs.size
    if not found:
        empty = np.zeros(0, np.int32)
        return TokenScores(np.zeros(0), empty, empty, empty, empty, empty)
    bits, ranks, text_indices, positions, spans_of = (
        np.concatenate(parts) for parts in zip(*found, strict=True)
    )
    order = np.lexsort((text_indices, spans_of))
    text_indices = text_indices[order]
    return TokenScores(
        bits=bits[order] + LITERAL_BITS * text.escaped[text_indices],
        ranks=ranks[order],
        sizes=text.sizes[text_indices],
        characters=text.characters[text_indices],
        positions=positions[order],
        spans=spans_of[order],
    )
