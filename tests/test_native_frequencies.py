"""The frequency tables of the native engine are those of docs/arithmetic.md, section 5."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pytest

from llmzip.engine.native_distributions import ROWS_AT_ONCE
from llmzip.engine.native_engine import (
    NativeEngine,
    kernel_names,
    native_is_available,
    why_not_available,
)
from tests.native_models import SHAPES, random_model

if not native_is_available():
    pytest.skip(f"no native engine: {why_not_available()}", allow_module_level=True)


def expected_widths(weights: list[int]) -> list[int]:
    """Section 5 word for word, in Python's integers."""
    n, total = len(weights), sum(weights)
    if total == 0:
        weights, total = [1] * n, n
    if total >= 2**39:
        shift = max(0, total.bit_length() - 39)
        weights = [w >> shift for w in weights]
        total = sum(weights)
    bounds = [i + sum(weights[:i]) * (2**24 - n) // total for i in range(n + 1)]
    return [high - low for low, high in itertools.pairwise(bounds)]


def padded_weights(
    engine: NativeEngine, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
) -> list[list[int]]:
    weights = engine.token_weights(vectors, scales)
    return np.pad(weights, ((0, 0), (0, -weights.shape[1] % 256))).tolist()


@pytest.mark.parametrize("cpu", kernel_names())
@pytest.mark.parametrize("shape", SHAPES)
def test_tables(shape: str, cpu: str) -> None:
    model = random_model(shape)
    engine = NativeEngine(model, 2, cpu)
    rng = np.random.default_rng(3)
    rows = 7
    vectors = rng.integers(-127, 128, (rows, model.spec.d_model)).astype(np.int8)
    scales = (rng.random(rows) * 10.0 ** rng.integers(-6, 1, rows)).astype(np.float32)
    distributions = engine.distributions(vectors, scales)
    frequencies = distributions.bucket_frequencies()
    chosen = rng.integers(0, frequencies.shape[1], rows)
    tokens = distributions.token_frequencies(chosen)
    for r, weights in enumerate(padded_weights(engine, vectors, scales)):
        sums = [sum(weights[b : b + 256]) for b in range(0, len(weights), 256)]
        assert frequencies[r].tolist() == expected_widths(sums)
        b = int(chosen[r]) * 256
        assert tokens[r].tolist() == expected_widths(weights[b : b + 256])
        assert frequencies[r].sum() == tokens[r].sum() == 2**24
        assert min(frequencies[r].min(), tokens[r].min()) >= 1


def test_bucket_without_weight_is_uniform() -> None:
    model = random_model("head size 80", gain=5.0)
    engine = NativeEngine(model, 1)
    vectors = np.full((1, model.spec.d_model), 127, np.int8)
    distributions = engine.distributions(vectors, np.ones(1, np.float32))
    weights = padded_weights(engine, vectors, np.ones(1, np.float32))[0]
    empty = [b for b in range(len(weights) // 256) if not any(weights[b * 256 : b * 256 + 256])]
    assert empty
    assert set(distributions.token_frequencies(np.array(empty[:1]))[0].tolist()) == {2**24 // 256}


def test_any_number_of_rows() -> None:
    model = random_model("smallest")
    engine = NativeEngine(model, 2)
    for rows in (0, 1, ROWS_AT_ONCE + 1):
        vectors, scales = np.ones((rows, model.spec.d_model), np.int8), np.ones(rows, np.float32)
        distributions = engine.distributions(vectors, scales)
        assert distributions.bucket_frequencies().shape == (rows, 1)
        assert distributions.token_frequencies(np.zeros(rows, np.int64)).shape == (rows, 256)
        assert engine.token_weights(vectors, scales).shape == (rows, model.spec.vocab)


def test_older_tables_survive_newer_ones() -> None:
    model = random_model()
    engine = NativeEngine(model, 1)
    vectors, scales = np.ones((2, model.spec.d_model), np.int8), np.ones(2, np.float32)
    older = engine.distributions(vectors, scales)
    expected = older.token_frequencies(np.zeros(2, np.int64))
    engine.distributions(-vectors, scales)
    newer = engine.distributions(-vectors, scales)
    np.testing.assert_array_equal(older.token_frequencies(np.zeros(2, np.int64)), expected)
    assert (newer.token_frequencies(np.zeros(2, np.int64)) != expected).any()


@pytest.mark.parametrize("buckets", [[-1, 0], [0, 2], [0], [[0], [0]]])
def test_bad_buckets(buckets: list[int]) -> None:
    model = random_model()
    distributions = NativeEngine(model, 1).distributions(
        np.ones((2, model.spec.d_model), np.int8), np.ones(2, np.float32)
    )
    with pytest.raises(ValueError, match="buckets"):
        distributions.token_frequencies(np.array(buckets))
