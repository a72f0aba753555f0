"""The measurements of one model on one text (docs/evaluation.md, "Protocols")."""

from __future__ import annotations

import dataclasses
import lzma
import math
from collections.abc import Callable

import numpy as np

from llmzip.blocks.options import CompressionOptions
from llmzip.errors import LLMZipError
from llmzip.evaluation.options import Options, Text
from llmzip.evaluation.rows import (
    BpcMeasures,
    CapacityMeasures,
    CodeLengthMeasures,
    CodersBitsPerChar,
    ContextMeasures,
    DocumentsMeasures,
    FileMeasures,
    Measures,
)
from llmzip.metrics import capacity, code_length, ranks, rates
from llmzip.metrics.entropy import Interval, bootstrap, three_coders
from llmzip.metrics.windows import BPC_STRIDE, BPC_WINDOW, Span, segments, sliding, with_context
from llmzip.scoring.base import Scorer, Tokenized, joined
from llmzip.scoring.file_length import file_length
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import TokenScores, score, score_text
from llmzip.types import TokenProgress


@dataclasses.dataclass(frozen=True)
class Task:
    """One measurement, and the type of what it returns."""

    kind: type[Measures]
    measure: Callable[[Scorer, Text, Options, TokenProgress | None], Measures]


POSITION_EDGES = (0, 16, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
_CHUNK_TOKENS = 64
"""The bootstrap resamples chunks of this many consecutive tokens: single tokens depend on each
other.
"""
_SPAN_TOKENS = 64
CHUNK_TOKENS = 4000
"""What UncheatableEval's evaluator reads at once."""


def measure_code_length(
    scorer: Scorer, text: Text, options: Options, progress: TokenProgress | None = None
) -> CodeLengthMeasures:
    """The text in independent segments: everything that follows from one pass."""
    data, length = text.data, min(options.context, scorer.max_positions)
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
    scorer: Scorer, text: Text, options: Options, progress: TokenProgress | None = None
) -> CapacityMeasures:
    """Information capacity by the paper's protocol: samples of 1024 tokens, no start token, the
    first one unscored. A set of documents has a sample for each, cut after 1024 tokens.
    """
    length = min(capacity.SAMPLE_TOKENS, scorer.max_positions)
    tokens, spans = _samples(scorer, text, length, options.samples)
    scores = score(scorer, tokens, spans, start=False, progress=progress)
    sizes = np.bincount(scores.spans, scores.sizes, len(spans)).astype(int).tolist()
    ts = code_length.text_size(sizes, [span.length - 1 for span in spans])
    nll = float(scores.bits.mean())
    paper = capacity.flops_per_token_paper(scorer.model_card.shape)
    exact = capacity.flops_per_token_exact(scorer.model_card.shape)
    b = capacity.bias(text.name) if options.ic_bias is None else options.ic_bias
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
        information_capacity_script=capacity.information_capacity(round(ts, 2), nll, paper, b),
    )


def _samples(scorer: Scorer, text: Text, length: int, count: int) -> tuple[Tokenized, list[Span]]:
    """The samples of `measure_capacity`; raises LLMZipError where the text has none."""
    if text.documents:
        parts = [scorer.tokenize(document)[:length] for document in text.documents]
        parts = [part for part in parts if len(part.ids) > 1][:count]
        ends = np.cumsum([len(part.ids) for part in parts]).tolist()
        spans = [Span(b, b, e) for b, e in zip([0, *ends], ends, strict=False)]
        if not spans:
            raise LLMZipError("information capacity needs a document of two tokens or more")
        return joined(parts), spans
    tokens = scorer.tokenize(text.data)
    whole = [span for span in segments(len(tokens.ids), length) if span.length == length]
    if not whole:
        raise LLMZipError(
            f"information capacity needs a sample of {length} tokens; "
            f"this text has {len(tokens.ids)}"
        )
    return tokens, whole[:count]


def measure_bpc(
    scorer: Scorer, text: Text, options: Options, progress: TokenProgress | None = None
) -> BpcMeasures:
    """Bits/character with a window of 1900 tokens that moves by 512; documents are tokenized one by
    one and joined.
    """
    window = min(BPC_WINDOW, scorer.max_positions)
    stride = min(BPC_STRIDE, window)
    tokens = joined([scorer.tokenize(part) for part in text.parts])
    spans = sliding(len(tokens.ids), window, stride)
    scores = score(scorer, tokens, spans, progress=progress)
    characters = code_length.characters(text.data)
    return BpcMeasures(
        bpc=scores.total_bits / max(1, characters), bpc_window=window, bpc_stride=stride
    )


def measure_documents(
    scorer: Scorer, text: Text, options: Options, progress: TokenProgress | None = None
) -> DocumentsMeasures:
    """Each document by itself, in chunks of 4000 tokens behind the token that `bos_mode` names."""
    chunk = min(CHUNK_TOKENS, scorer.max_positions)
    parts = [scorer.tokenize(part) for part in text.parts]
    spans, origin = [], 0
    for part in parts:
        spans += [
            Span(origin + s.begin, origin + s.scored, origin + s.end)
            for s in segments(len(part.ids), chunk)
        ]
        origin += len(part.ids)
    scores = score(
        scorer, joined(parts), spans, start_token=_begin_token(scorer, options), progress=progress
    )
    count, size = len(parts), len(text.data)
    characters = code_length.characters(text.data)
    return DocumentsMeasures(
        sample_count=count,
        bos_mode=options.bos_mode,
        chunk_size=chunk,
        neg_log_prob_sum=scores.total_bits * math.log(2) / count,
        avg_tokens=origin / count,
        avg_character_count=characters / count,
        avg_bytes=size / count,
        bpc=scores.total_bits / max(1, characters),
        bpb=scores.total_bits / size,
        compression_rate=100 * rates.raw_rate(scores.total_bits / 8, size),
    )


def _begin_token(scorer: Scorer, options: Options) -> int:
    if options.bos_mode == "add_newline_token":
        return int(scorer.tokenize(b"\n").ids[0])
    if options.bos_mode == "add_default_bos":
        return scorer.vocabulary.start_token
    if scorer.end_token is None:
        raise LLMZipError(
            f"{scorer.model_card.name} names no end token: bos_mode add_default_bos or "
            "add_newline_token"
        )
    return scorer.end_token


def measure_context(
    scorer: Scorer, text: Text, options: Options, progress: TokenProgress | None = None
) -> ContextMeasures:
    """The same tokens with ever longer contexts before them."""
    tokens = scorer.tokenize(text.data)
    room = min(scorer.max_positions, len(tokens.ids)) - _SPAN_TOKENS
    contexts = [context for context in options.contexts if context <= room]
    if not contexts:
        raise LLMZipError(
            f"a text of {len(tokens.ids)} tokens is too short for bits/byte by context length"
        )
    first, last = contexts[-1], len(tokens.ids) - _SPAN_TOKENS
    count = max(1, min(options.samples, (last - first) // _SPAN_TOKENS + 1))
    starts = np.linspace(first, last, count).astype(int).tolist()
    spans: list[Span] = []
    for context in contexts:
        spans += with_context([(start, start + _SPAN_TOKENS) for start in starts], context)
    scores = score(scorer, tokens, spans, progress=progress)
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
    scorer: Scorer, text: Text, options: Options, progress: TokenProgress | None = None
) -> FileMeasures:
    """The real file at a level, and where its bits come from; for integer models."""
    if not isinstance(scorer, IntegerScorer):
        raise LLMZipError("float models make no files")
    length = file_length(scorer, text.data, CompressionOptions(options.level), progress=progress)
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
    "documents": Task(DocumentsMeasures, measure_documents),
}
