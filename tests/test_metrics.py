"""Each measure against an example computed by hand, and golden values of the papers' counts."""

from __future__ import annotations

import doctest
import importlib
import math
import pkgutil
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip import metrics
from llmzip.metrics import (
    alignment,
    capacity,
    conditional,
    distances,
    divergence,
    entropy,
    ranks,
    rates,
)
from llmzip.metrics.capacity import Shape
from llmzip.metrics.code_length import by_position, characters, percentile, smoothed_bits, text_size
from llmzip.metrics.correlation import linear_fit
from llmzip.metrics.dated import cutoff_gap
from llmzip.metrics.windows import BPC_STRIDE, BPC_WINDOW, Span, segments, sliding, with_context

# Layers, d, heads, key heads, head size, d_ff, vocabulary; and FLOPs per token as published.
SHAPES = {
    "SmolLM2-135M": (Shape(30, 576, 9, 3, 64, 1536, 49152), 3.043e8),
    "SmolLM2-360M": (Shape(32, 960, 15, 5, 64, 2560, 49152), 7.864e8),
    "Qwen3-0.6B": (Shape(28, 1024, 16, 8, 128, 3072, 151936), 1.074e9),
    "Qwen2.5-0.5B": (Shape(24, 896, 14, 2, 64, 4864, 151936), 1.032e9),
    "Llama-3.2-1B": (Shape(16, 2048, 32, 8, 64, 8192, 128256), 2.539e9),
    "GPT-2": (Shape(12, 768, 12, 12, 64, 3072, 50257, gated=False), 3.225e8),
}


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(metrics.__path__)])
def test_the_examples_in_the_docstrings(module: str) -> None:
    imported = importlib.import_module(f"llmzip.metrics.{module}")
    assert doctest.testmod(imported, extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("name", SHAPES)
def test_golden_flops(name: str) -> None:
    shape, golden = SHAPES[name]
    assert capacity.flops_per_token_paper(shape) == pytest.approx(golden, rel=5e-4)


def test_flops_by_hand() -> None:
    shape = Shape(layers=2, d_model=8, heads=2, kv_heads=1, head_dim=6, d_ff=16, vocab=10)
    # paper, d_k = 4: 2 [4*64 + 4*8*4 + 6*8*16 + 2*2*4*3] + 2*8*10
    assert capacity.flops_per_token_paper(shape, 4) == 2 * (256 + 128 + 768 + 48) + 160
    # exact: q and o 8 x 12, k and v 8 x 6, three MLP matrices, 4 * 12 per key and (4 + 1) / 2 keys
    assert capacity.flops_per_token_exact(shape, 4) == 2 * (384 + 192 + 768 + 120) + 160
    two = Shape(2, 8, 2, 1, 6, 16, 10, gated=False, experts=4, active_experts=2)
    assert capacity.flops_per_token_exact(two, 4) == 2 * (384 + 192 + 2 * 512 + 64 + 120) + 160


def test_information_capacity_by_hand() -> None:
    assert math.log2(capacity.flops_per_token_paper(SHAPES["SmolLM2-135M"][0])) == pytest.approx(
        28.181, abs=1e-3
    )
    assert capacity.information_capacity(36.0, 3.0, 2.0**30, -24.0) == pytest.approx(0.3)
    assert capacity.information_capacity(36.0, 3.0, 2.0**30) == pytest.approx(1.1)
    assert text_size([4, 12], [2, 3]) == 24.0  # (16 + 32) / 2: samples, not tokens, are averaged


def test_rates_by_hand() -> None:
    assert rates.raw_rate(25, 100) == 0.25
    assert rates.adjusted_rate(25, 100, 2 * 50) == 1.25
    assert rates.break_even_bytes(1000, 0.25, 0.35) == pytest.approx(10_000)
    assert rates.break_even_bytes(1000, 0.5, 0.35) == math.inf
    with pytest.raises(ValueError, match="no text"):
        rates.raw_rate(1, 0)


def test_code_lengths_by_hand() -> None:
    bits, sizes = np.array([8.0, 1.0, 3.0, 4.0]), np.array([2, 1, 1, 4])
    assert by_position(bits, sizes, np.array([0, 1, 0, 1]), [0, 1, 2, 3]) == [11 / 3, 1.0, None]
    assert percentile(np.arange(101.0)) == 99.0
    # alpha 1/2, V = 4: p = 1/2 -> 1/4 + 1/8 = 3/8
    assert smoothed_bits(np.array([1.0]), 4, 0.5) == pytest.approx([-math.log2(3 / 8)])


@given(st.text())
def test_characters_are_code_points(text: str) -> None:
    assert characters(text.encode("utf-8", "replace")) == len(text)


def test_three_coders_by_hand() -> None:
    bits, order = np.array([0.5, 1.5, 3.0]), np.array([0, 1, 300])
    coders = entropy.three_coders(bits, order)
    assert coders.ranks_deflate == 8 * len(zlib.compress(b"\x00\x01\xac\x02", 9))
    assert coders.whole_bits == 1 + 2 + 3
    assert coders.arithmetic == 6


def test_the_bootstrap_covers_the_truth_and_is_repeatable() -> None:
    generator = np.random.Generator(np.random.PCG64(1))
    covered = 0
    for seed in range(40):
        sample = generator.exponential(2.0, 200)
        found = entropy.bootstrap(sample, np.full(200, 2.0), seed=seed)
        covered += found.low <= 1.0 <= found.high
        assert found.low < found.value < found.high
        assert found.stderr == pytest.approx(1 / math.sqrt(200), rel=0.4)
    assert 34 <= covered <= 40  # 95 % of 40, give or take
    assert entropy.bootstrap([3.0, 3.0], [2, 2]).value == 1.5
    assert entropy.bootstrap([1, 2], [3, 4], seed=7) == entropy.bootstrap([1, 2], [3, 4], seed=7)


def test_ranks_and_hints_by_hand() -> None:
    order = np.array([0, 0, 1, 5, 64])
    assert ranks.top1_accuracy(order) == 0.4
    assert ranks.rank_histogram(order) == [0.4, 0.2, 0, 0.2, 0, 0, 0.2, 0, 0]
    assert ranks.min_k(np.array([1.0, 1.0, 1.0, 1.0, 9.0])) == 9.0
    assert ranks.model_to_zlib(16.0, b"aaaa") == 16 / (8 * len(zlib.compress(b"aaaa", 9)))


def test_divergences_by_hand() -> None:
    with np.errstate(divide="ignore"):
        p, q = np.log2([[0.5, 0.5, 0.0]]), np.log2([[0.25, 0.5, 0.25]])
    assert divergence.kl_bits(p, q) == pytest.approx([0.5])
    # the middle is 3/8, 1/2, 1/8
    first = 0.5 * math.log2(4 / 3)
    second = 0.25 * math.log2(2 / 3) + 0.25 * math.log2(2)
    assert divergence.js_bits(p, q) == pytest.approx([(first + second) / 2])
    assert divergence.flips(p, q).tolist() == [True]
    assert divergence.kl_bits(p, p) == pytest.approx([0])
    far = np.array([[0.0, -np.inf]]), np.array([[-np.inf, 0.0]])
    assert divergence.js_bits(*far) == pytest.approx([1.0])
    assert divergence.kl_bits(*far) == [np.inf]


def test_conditional_information_by_hand() -> None:
    assert conditional.retained_information(100, 60, 20) == 0.5
    assert conditional.information_gain(100, 60, 10) == 4.0
    with pytest.raises(ValueError, match="no information to retain"):
        conditional.retained_information(100, 60, 100)
    # p(z1|x1) = 1/2, p(z1|x2) = 1/4; p(z2|x1) = 1/8, p(z2|x2) = 1/8
    expected = (math.log2(0.5 / 0.375) + math.log2(0.125 / 0.125)) / 2
    assert conditional.mutual_information(np.log2([[0.5, 0.25], [0.125, 0.125]])) == pytest.approx(
        expected
    )


def test_distances_by_hand() -> None:
    assert distances.ncd(10, 20, 25) == distances.ncd(20, 10, 25) == 0.75
    assert distances.gpt_max(10, 20, 5, 12) == 0.6
    assert distances.gpt_min(10, 20, 5, 12) == 0.5
    assert distances.gpt_mean(10, 20, 5, 12) == 17 / 30
    table = np.array([[0.1, 0.2, 0.3], [0.9, 0.2, 0.1]])
    assert distances.nearest_neighbors(table, ["a", "b", "b"]) == ["a", "b"]
    assert distances.nearest_neighbors(table, ["a", "b", "b"], k=3) == ["b", "b"]
    assert distances.nearest_neighbors(table, ["a", "b", "c"], k=2) == ["a", "c"]


def test_alignment_by_hand() -> None:
    def distinct(data: bytes) -> float:  # a code length that can be counted
        return float(len(set(data)))

    # source "ab" and target "bc": (3 - 2) / 2; source "bc": (2 - 2) / 2
    scores = alignment.alignment([b"ab", b"bc"], [b"bc"], distinct)
    assert scores.tolist() == [0.5, 1.0]
    assert alignment.select(scores, 1) == [1]
    assert alignment.bits_saved(5.0, 3.0) == 2.0


def test_correlation_by_hand() -> None:
    fit = linear_fit([0, 1, 2, 3], [1, 0, 3, 2])
    assert fit.slope == pytest.approx(0.6)  # cov 0.75, var 1.25
    assert fit.intercept == pytest.approx(0.6)
    assert fit.pearson == pytest.approx(0.6)
    assert fit.rmse == pytest.approx(math.sqrt((0.4**2 + 1.2**2 + 1.2**2 + 0.4**2) / 4))
    with pytest.raises(ValueError, match="three points"):
        linear_fit([1, 2], [1, 2])
    with pytest.raises(ValueError, match="not constant"):
        linear_fit([1, 1, 1], [1, 2, 3])


def test_the_gap_at_a_cutoff_by_hand() -> None:
    gap = cutoff_gap({"2024-01": 10.0, "2024-06": 11.0, "2024-07": 12.5}, "2024-06")
    assert (gap.before, gap.after, gap.robustness) == (10.5, 12.5, 2.0)
    assert cutoff_gap({"2024-01": 10.0}, "2024-06").robustness is None


def test_windows_by_hand() -> None:
    assert segments(5, 2) == [Span(0, 0, 2), Span(2, 2, 4), Span(4, 4, 5)]
    assert (BPC_WINDOW, BPC_STRIDE) == (1900, 512)
    assert sliding(3000) == [
        Span(0, 0, 1900),
        Span(512, 1900, 2412),
        Span(1024, 2412, 2924),
        Span(1536, 2924, 3000),
    ]
    assert with_context([(10, 12)], 4) == [Span(6, 10, 12)]
    assert Span(6, 10, 12).length == 6


@given(st.integers(0, 500), st.integers(1, 60), st.integers(1, 60))
def test_sliding_windows_score_every_token_once(count: int, window: int, stride: int) -> None:
    spans = sliding(count, window, min(stride, window))
    assert [t for span in spans for t in range(span.scored, span.end)] == list(range(count))
    assert all(span.length <= window for span in spans)
