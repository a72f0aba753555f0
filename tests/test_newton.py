"""Weights of the mixer learn by Newton's steps: the right solution, and no overshooting however
many streams ask for the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.corpora.builtin import json_records
from llmzip.engine.torch_engine import TorchEngine
from llmzip.mixing.base import MIXING_VERSION, capacity_bits_for
from llmzip.mixing.descent import GradientDescent
from llmzip.mixing.newton import CURVATURE_UNIT, STEP, NewtonSteps
from llmzip.predictor.lockstep import encode_tokens
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import Float64Array, Int64Array
from tests.conftest import tiny
from tests.reference_decoder.newton import solved

SEEDS = st.integers(0, 2**32 - 1)


def curvatures_of(rng: np.random.Generator, sets: int, features: int, rows: int) -> Int64Array:
    """What a step's candidates with features of very different sizes add up to."""
    sizes = 2.0 ** rng.uniform(-6, 6, (sets, 1, features))
    drawn = np.rint(rng.normal(size=(sets, rows, features)) * sizes * 256)
    return np.einsum("srk,srl->skl", drawn, drawn).astype(np.int64) << 12


def learned(
    counts: Int64Array, gradients: Int64Array, curvatures: Int64Array, steps: int
) -> tuple[Int64Array, Float64Array]:
    """The last of several equal steps, and the curvature that is remembered then."""
    newton, remembered = NewtonSteps(*gradients.shape), np.zeros(curvatures.shape)
    change = np.zeros_like(gradients)
    for _ in range(steps):
        change = newton.changes(counts, gradients, curvatures)
        kept = 1024 / (1024 + counts)
        remembered = remembered * kept[:, None, None] + curvatures / CURVATURE_UNIT
    return change, remembered


@given(SEEDS, st.integers(1, 12), st.integers(1, 400), st.integers(1, 3))
def test_steps_solve_the_equations(seed: int, features: int, rows: int, steps: int) -> None:
    """numpy.linalg and the educational decoder find the same, to float64's precision."""
    rng = np.random.default_rng(seed)
    counts = np.full(3, rows, np.int64)
    gradients = rng.integers(-(1 << 28), 1 << 28, (3, features))
    change, remembered = learned(counts, gradients, curvatures_of(rng, 3, features, rows), steps)
    matrices = remembered + 64 * np.eye(features)
    found = float(STEP) * np.linalg.solve(matrices, gradients[:, :, None])[:, :, 0]
    assert np.allclose(change, found, rtol=1e-6, atol=1)
    for matrix, right, own in zip(matrices, gradients, change, strict=True):
        lower = np.where(np.tri(features), matrix, np.nan)  # the document has nothing above
        documented = np.rint(float(STEP) * solved(lower, right.astype(np.float64)))
        assert documented.tolist() == own.tolist()


@given(SEEDS, st.integers(1, 512))
def test_more_rows_that_ask_for_the_same_never_go_beyond_it(seed: int, rows: int) -> None:
    """Each row's code length is least one unit away; gradient descent runs past it."""
    features = np.random.default_rng(seed).uniform(1, 16)
    curvature = np.full((1, 1, 1), round(features**2 * 2**30) * rows)
    gradient = np.full((1, 1), round(features**2 / 4 * 2**20) * rows)
    count = np.full(1, rows)
    first = NewtonSteps(1, 1).changes(count, gradient, curvature)
    assert 0 < first[0, 0] <= 0.4 * 2**20
    if rows >= 128 and features >= 4:
        assert GradientDescent(1, 1).changes(count, gradient, curvature)[0, 0] > 2 * 2**20


def test_sets_without_rows_stay_as_they_are() -> None:
    newton = NewtonSteps(2, 3)
    rng = np.random.default_rng(1)
    gradients, curvatures = rng.integers(1, 1 << 20, (2, 3)), curvatures_of(rng, 2, 3, 5)
    change = newton.changes(np.array([0, 5]), gradients, curvatures)
    assert not change[0].any()
    assert change[1].any()
    again = newton.changes(np.array([7, 0]), gradients, curvatures)
    alone = NewtonSteps(2, 3).changes(np.array([7, 0]), gradients, curvatures)
    assert np.array_equal(again, alone)


def test_many_streams_of_records_learn_better_than_by_gradient_descent() -> None:
    engine = TorchEngine(tiny(), threads=1)
    tokens = tiny().tokenizer.encode(json_records()[:12_000])
    count, sizes = len(tokens.ids), {}
    for streams in (32, 128):
        layout = StreamLayout(count, streams, 256, capacity_bits=capacity_bits_for(count))
        for version in (2, MIXING_VERSION):
            mixer = engine.mixer(layout.capacity_bits, version)
            sizes[streams, version] = len(encode_tokens(engine, tokens, layout, mixer))
    assert sizes[128, MIXING_VERSION] < 0.8 * sizes[128, 2]
    assert sizes[32, MIXING_VERSION] < 1.01 * sizes[32, 2]
    assert sizes[128, MIXING_VERSION] == pytest.approx(sizes[32, MIXING_VERSION], rel=0.5)
