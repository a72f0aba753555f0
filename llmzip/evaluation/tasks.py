"""The measurements of one model on one text (docs/evaluation.md, "Protocols")."""

from __future__ import annotations

import dataclasses
import lzma
from collections.abc import Callable

import numpy as np

from llmzip.block_encoder import CompressionOptions
from llmzip.errors import LLMZipError
from llmzip.evaluation.options import Options
from llmzip.evaluation.rows import (
    BpcMeasures,
    CapacityMeasures,
    CodeLengthMeasures,
    CodersBitsPerChar,
    ContextMeasures,
    FileMeasures,
    Measures,
)
from llmzip.metrics import capacity, code_length, ranks, rates
from llmzip.metrics.entropy import Interval, bootstrap, three_coders
from llmzip.metrics.windows import BPC_STRIDE, BPC_WINDOW, Span, segments, with_context
from llmzip.scoring.base import Scorer
from llmzip.scoring.file_length import file_length
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import TokenScores, score, score_text
from llmzip.types import TokenProgress


@dataclasses.dataclass(frozen=True)
class Task:
    """One measurement, and the type of what it returns."""

    kind: type[Measures]
    measure: Callable[[Scorer, bytes, Options, TokenProgress | None], Measures]


POSITION_EDGES = (0, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_CHUNK_TOKENS = 64
"""The bootstrap resamples chunks of this many consecutive tokens: single tokens depend on each
other.
"""
_SPAN_TOKENS = 64


def measure_code_length(
    scorer: Scorer, data: bytes, options: Options, progress: TokenProgress | None = None
) -> CodeLengthMeasures:
    """The text in independent segments: everything that follows from one pass."""
    length = min(options.context, scorer.max_positions)
    scores = score_text(scorer, data, context=length, progress=progress)
    bits, vocab = scores.bits, len(scorer.vocabulary.token_bytes)
    characters = max(1, int(scores.characters.sum()))
    per_byte, per_character = _intervals(scores)
    coders = three_coders(bits, scores.ranks)
    smoothed = code_length.smoothed_bits(bits, vocab, options.alpha)
    edges = [edge for edge in POSITION_EDGES if edge < length] + [length]
    model_bytes, baseline = (
        scorer.model_card.model_bytes,
        len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
    )
    rate = rates.raw_rate(scores.total_bits / 8, len(data))
    flops = capacity.flops_per_token_exact(scorer.model_card.shape, length)
    return CodeLengthMeasures(
        segment_tokens=length,
        tokens=len(bits),
        bits_per_byte=per_byte.value,
        bits_per_byte_stderr=per_byte.stderr,
        bits_per_char=per_character.value,
        bits_per_char_low=per_character.low,
        bits_per_char_high=per_character.high,
        bits_per_token=float(bits.mean()),
        bytes_per_token=scores.total_bytes / len(bits),
        bits_per_token_p99=code_length.percentile(bits),
        smoothed_bits_per_byte=float(smoothed.sum()) / len(data),
        coders_bits_per_char=CodersBitsPerChar.of(coders, characters),
        raw_rate=rate,
        adjusted_rate=rates.adjusted_rate(
            scores.total_bits / 8,
            len(data),
            rates.BYTES_PER_PARAMETER * scorer.model_card.parameters,
        ),
        adjusted_rate_stored=rates.adjusted_rate(scores.total_bits / 8, len(data), model_bytes),
        break_even_bytes_xz=_finite(
            rates.break_even_bytes(model_bytes, rate, baseline / len(data))
        ),
        flops_per_byte=flops * len(bits) / len(data),
        top1=ranks.top1_accuracy(scores.ranks),
        rank_histogram=ranks.rank_histogram(scores.ranks),
        position_edges=edges,
        bits_per_byte_by_position=code_length.by_position(
            bits, scores.sizes, scores.positions, edges
        ),
        hint_min_k_20=ranks.min_k(bits),
        hint_model_to_zlib=ranks.model_to_zlib(scores.total_bits, data),
    )


def _intervals(scores: TokenScores) -> tuple[Interval, Interval]:
    """Bits/byte and bits/character with bootstrap intervals over chunks of consecutive tokens."""
    starts = np.arange(0, len(scores.bits), _CHUNK_TOKENS)
    bits, sizes, characters = (
        np.add.reduceat(column, starts) for column in (scores.bits, scores.sizes, scores.characters)
    )
    return bootstrap(bits, sizes), bootstrap(bits, np.maximum(characters, 1e-9))


def measure_capacity(
    scorer: Scorer, data: bytes, options: Options, progress: TokenProgress | None = None
) -> CapacityMeasures:
    """Information capacity by the paper's protocol: samples of 1024 tokens, no start token, the
    first one unscored.
    """
    text = scorer.tokenize(data)
    length = min(capacity.SAMPLE_TOKENS, scorer.max_positions)
    spans = [span for span in segments(len(text.ids), length) if span.length == length][
        : options.samples
    ]
    if not spans:
        raise LLMZipError(
            f"information capacity needs a sample of {length} tokens; this text has {len(text.ids)}"
        )
    scores = score(scorer, text, spans, start=False, progress=progress)
    sizes = np.bincount(scores.spans, scores.sizes, len(spans)).astype(int).tolist()
    ts = code_length.text_size(sizes, [length - 1] * len(spans))
    nll = float(scores.bits.mean())
    paper = capacity.flops_per_token_paper(scorer.model_card.shape)
    exact = capacity.flops_per_token_exact(scorer.model_card.shape)
    b = options.ic_bias
    return CapacityMeasures(
        samples=len(spans),
        sample_tokens=length,
        ts=ts,
        nll=nll,
        b=b,
        flops_per_token_paper=paper,
        flops_per_token_exact=exact,
        information_capacity=capacity.information_capacity(ts, nll, paper, b),
        information_capacity_b0=capacity.information_capacity(ts, nll, paper),
        information_capacity_exact=capacity.information_capacity(ts, nll, exact, b),
        information_capacity_exact_b0=capacity.information_capacity(ts, nll, exact),
    )


def measure_bpc(
    scorer: Scorer, data: bytes, options: Options, progress: TokenProgress | None = None
) -> BpcMeasures:
    """Bits/character with a window of 1900 tokens that moves by 512."""
    window = min(BPC_WINDOW, scorer.max_positions)
    stride = min(BPC_STRIDE, window)
    scores = score_text(scorer, data, context=window, stride=stride, progress=progress)
    characters = code_length.characters(data)
    return BpcMeasures(
        bpc=scores.total_bits / max(1, characters), bpc_window=window, bpc_stride=stride
    )


def measure_context(
    scorer: Scorer, data: bytes, options: Options, progress: TokenProgress | None = None
) -> ContextMeasures:
    """The same tokens with ever longer contexts before them."""
    text = scorer.tokenize(data)
    room = min(scorer.max_positions, len(text.ids)) - _SPAN_TOKENS
    contexts = [context for context in options.contexts if context <= room]
    if not contexts:
        raise LLMZipError(
            f"a text of {len(text.ids)} tokens is too short for bits/byte by context length"
        )
    first, last = contexts[-1], len(text.ids) - _SPAN_TOKENS
    count = max(1, min(options.samples, (last - first) // _SPAN_TOKENS + 1))
    starts = np.linspace(first, last, count).astype(int).tolist()
    spans: list[Span] = []
    for context in contexts:
        spans += with_context([(start, start + _SPAN_TOKENS) for start in starts], context)
    scores = score(scorer, text, spans, progress=progress)
    of_context = scores.spans // count
    parts = [of_context == i for i in range(len(contexts))]
    return ContextMeasures(
        contexts=contexts,
        context_spans=count,
        bits_per_byte_by_context=[
            float(scores.bits[p].sum() / scores.sizes[p].sum()) for p in parts
        ],
        bits_per_token_p99_by_context=[code_length.percentile(scores.bits[p]) for p in parts],
    )


def measure_file(
    scorer: Scorer, data: bytes, options: Options, progress: TokenProgress | None = None
) -> FileMeasures:
    """The real file at a level, and where its bits come from; for integer models."""
    if not isinstance(scorer, IntegerScorer):
        raise LLMZipError("float models make no files")
    length = file_length(scorer, data, CompressionOptions(options.level), progress=progress)
    return FileMeasures(
        level=options.level,
        file_bytes=length.file_bits // 8,
        file_bits_per_byte=length.file_bits_per_byte,
        file_model_bits_per_byte=length.bits_per_byte,
        overhead_table_bits=length.table_bits,
        mixing_bits=length.mixing_bits,
        overhead_tail_bits=length.tail_bits,
        overhead_header_bits=length.header_bits,
        match_bits=length.match_bits,
        other_codec_bits=length.other_bits,
    )


def _finite(value: float) -> float | None:
    """The value, or None for infinity, which JSON does not have."""
    return value if np.isfinite(value) else None


TASKS: dict[str, Task] = {
    "code_length": Task(CodeLengthMeasures, measure_code_length),
    "file": Task(FileMeasures, measure_file),
    "capacity": Task(CapacityMeasures, measure_capacity),
    "bpc": Task(BpcMeasures, measure_bpc),
    "context": Task(ContextMeasures, measure_context),
}
