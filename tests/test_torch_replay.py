"""Steps of fixed shapes, replayed: against the reference's plain steps, as graphs, on CUDA where
there is a device.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.arithmetic.frequencies import frequencies
from llmzip.arithmetic.gemm import PaddedIntegerKernel
from llmzip.engine import torch_engine, torch_graph, torch_session
from llmzip.engine.torch_distributions import TorchDistributions
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.torch_graph import Replay
from llmzip.engine.torch_session import TorchSession, step_slots
from tests import recorded_graph
from tests.native_models import SHAPES, random_model

needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device on this machine"
)

POSITIONS = 80
Result = list[npt.NDArray[np.generic]]


@pytest.fixture(autouse=True)
def few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' models are short: let their steps have several shapes all the same."""
    monkeypatch.setattr(torch_session, "_MIN_STEP_SLOTS", 8)


def fed(
    engine: TorchEngine,
    streams: int,
    window: int,
    chunks: list[int],
    tokens: int = POSITIONS - 2,
    forked: int = 5,
) -> Result:
    """Everything that comes of feeding chunks, then single tokens, the last two to fewer streams;
    then so many to a fork.
    """
    ids = (
        np.random.default_rng(streams)
        .integers(0, engine.model.spec.vocab, (streams, tokens))
        .astype(np.int32)
    )
    session: TorchSession = engine.session(streams, window, max(chunks, default=1))
    results: Result = []

    def feed(session: TorchSession, part: npt.NDArray[np.int32]) -> None:
        head = session.advance(part)
        tables = engine.distributions(head.vectors[:, -1], head.scales[:, -1])
        frequencies = tables.bucket_frequencies(), tables.token_frequencies(part[:, 0] // 256)
        results.extend(
            (head.vectors, head.scales, tables.top_tokens(), tables.totals(), *frequencies)
        )

    start, fork = 0, None
    while start < tokens:
        count = chunks.pop() if chunks else 1
        active = max(1, streams - 1) if start >= tokens - 2 else streams
        feed(session, ids[:active, start : start + count])
        start += count
        if fork is None and start <= window:
            fork = session.fork([0, 0], window, 1)
    if fork:
        for t in range(forked):
            feed(fork, ids[:1, t : t + 1].repeat(2, axis=0))
    return results


def assert_equal(got: Result, expected: Result) -> None:
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b)


@settings(max_examples=10)
@given(
    shape=st.sampled_from(sorted(SHAPES)),
    streams=st.integers(1, 4),
    window=st.sampled_from([1, 2, 5, 17, 33, 64, 200]),
    chunks=st.lists(st.integers(1, 20), max_size=3),
)
def test_steps_of_fixed_shapes_give_the_same_bits(
    shape: str, streams: int, window: int, chunks: list[int]
) -> None:
    model = random_model(shape, seed=streams)
    plain, fixed = TorchEngine(model), TorchEngine(model, replays=True)
    assert_equal(fed(fixed, streams, window, [*chunks]), fed(plain, streams, window, [*chunks]))


def graphs(monkeypatch: pytest.MonkeyPatch, kind: type = recorded_graph.RecordedGraph) -> None:
    """Replays on this machine's CPU take themselves to be on CUDA."""
    recorded_graph.pretend(monkeypatch, kind)
    monkeypatch.setattr(torch_graph, "_without_graphs", set())
    for module in (torch_engine, torch_session):
        monkeypatch.setattr(module, "Replay", lambda device: Replay(torch.device("cuda")))


@pytest.mark.parametrize(("streams", "window"), [(1, 200), (3, 33), (4, 5)])
def test_replayed_graphs_give_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, streams: int, window: int
) -> None:
    """A graph sees nothing that Python knows: positions, slots and tokens must all come by way of
    its inputs.
    """
    model = random_model("head size 16")
    expected = fed(TorchEngine(model), streams, window, [7, 2])
    graphs(monkeypatch)
    before = recorded_graph.RecordedGraph.made
    assert_equal(fed(TorchEngine(model, replays=True), streams, window, [7, 2]), expected)
    # Most of the 80 steps, and heads, are replayed.
    assert recorded_graph.RecordedGraph.made - before < 25


def test_where_graphs_fail_the_step_is_done_plainly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = random_model()
    expected = fed(TorchEngine(model), 2, 33, [3])
    graphs(monkeypatch, recorded_graph.BrokenGraph)
    with caplog.at_level(logging.WARNING, "llmzip"):
        assert_equal(fed(TorchEngine(model, replays=True), 2, 33, [3]), expected)
    (notice,) = caplog.messages
    assert "not permitted when stream is capturing" in notice
    assert "the files are the same" in notice


def test_later_results_leave_earlier_ones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs(monkeypatch)
    engine = TorchEngine(random_model(), replays=True)
    rng = np.random.default_rng(0)
    heads = [
        (rng.integers(-127, 128, (3, 50)).astype(np.int8), rng.random(3, np.float32))
        for _ in range(3)
    ]
    kept = [engine.distributions(*head) for head in heads]
    for tables, head in zip(kept, heads, strict=True):
        again = TorchEngine(engine.model).distributions(*head)
        assert np.array_equal(tables.totals(), again.totals())
        assert np.array_equal(
            tables.token_frequencies(np.ones(3, int)), again.token_frequencies(np.ones(3, int))
        )


def test_a_copy_goes_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the session that it is a copy of has a graph, which writes to that one's cache."""
    graphs(monkeypatch)
    model = random_model()
    ids = np.random.default_rng(0).integers(0, model.spec.vocab, (2, 30)).astype(np.int32)
    session = TorchEngine(model, replays=True).session(2, 9, 1)
    alone = TorchEngine(model).session(2, 9, 1)
    for t in range(10):
        session.advance(ids[:, t : t + 1])
        alone.advance(ids[:, t : t + 1])
    assert session.replay.recorded
    copied = session.copy()
    for t in range(10, 30):
        copied.advance(ids[::-1, t : t + 1])
        got, expected = (s.advance(ids[:, t : t + 1]) for s in (session, alone))
        assert np.array_equal(got.vectors, expected.vectors)
        assert np.array_equal(got.scales, expected.scales)


def test_a_step_never_waits_for_a_number(tiny_engine: TorchEngine) -> None:
    """On torch's meta device nothing has a value: work passes there only if it asks for none and
    stays on its device.
    """
    engine = TorchEngine(tiny_engine.model, kernel=PaddedIntegerKernel())  # as on CUDA
    session = engine.session(3, 16, 1)

    def moved(x: object) -> object:
        if isinstance(x, torch.Tensor):
            return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device="meta")
        if dataclasses.is_dataclass(x) and not isinstance(x, type):
            return dataclasses.replace(
                x, **{f.name: moved(getattr(x, f.name)) for f in dataclasses.fields(x)}
            )
        return type(x)(map(moved, x)) if isinstance(x, (tuple, list)) else x

    with torch.inference_mode():
        for owner in (engine.transformer, session.cache):
            for name, value in vars(owner).items():
                setattr(owner, name, moved(value))
        ids, positions = (
            torch.empty(shape, dtype=torch.int64, device="meta") for shape in ((3, 1), (1,))
        )
        results = engine.transformer.predict(
            *engine.transformer.forward(ids, positions, session.cache, 16, True)
        )
    assert [x.device.type for x in results] == ["meta"] * 3


def test_few_shapes_hold_all_slots() -> None:
    for slots in (1, 20, 2052, 8192):
        chosen = [step_slots(used, slots) for used in range(1, slots + 1)]
        for used, size in enumerate(chosen, 1):
            assert used <= size <= slots
            assert size < used + max(8, used // 4 + 1)
        assert len(set(chosen)) <= 40


@settings(max_examples=10)
@given(rows=st.integers(1, 5), vocab=st.sampled_from([3, 255, 256, 600]), seed=st.integers(0, 99))
def test_distributions_are_the_frequencies_of_the_weights(rows: int, vocab: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    buckets = -(-vocab // 256)
    weights = np.zeros((rows, buckets * 256), np.int32)
    weights[:, :vocab] = rng.integers(0, (1 << 23) + 1, (rows, vocab))
    top = np.argsort(-weights, axis=1)[:, :3]
    device_weights = torch.from_numpy(weights.copy()).view(rows, buckets, 256)
    sums = device_weights.sum(dim=-1)
    tables = TorchDistributions(contextlib.nullcontext, device_weights, sums, torch.from_numpy(top))
    assert np.array_equal(tables.top_tokens(), top)
    assert np.array_equal(tables.totals(), weights.sum(axis=1, dtype=np.int64))

    first = rng.integers(0, rows)
    tokens = np.stack([rng.permutation(vocab)[:3] for _ in range(first, rows)]).astype(np.int32)
    tokens[:, 1] = -1
    found = np.where(
        tokens >= 0, np.take_along_axis(weights[first:], np.maximum(tokens, 0), axis=1), 0
    )
    assert np.array_equal(tables.weights_of(first, tokens), found)
    replaced = weights.astype(np.int64)
    values = rng.integers(0, 1 << 43, tokens.shape)
    tables.replace(first, tokens, values)
    for column in (0, 2):
        np.put_along_axis(
            replaced[first:], tokens[:, column, None], values[:, column, None], axis=1
        )
    by_bucket = replaced.reshape(rows, buckets, 256)
    assert np.array_equal(tables.bucket_frequencies(), frequencies(by_bucket.sum(axis=2)))
    chosen = rng.integers(0, buckets, rows)
    assert np.array_equal(
        tables.token_frequencies(chosen), frequencies(by_bucket[np.arange(rows), chosen])
    )
    assert np.array_equal(tables.weights_of(first, tokens), found)  # the model's, as before


@needs_cuda
@pytest.mark.parametrize("shape", sorted(SHAPES))
@pytest.mark.parametrize("replays", [False, True], ids=["plain", "recorded"])
def test_cuda_gives_the_same_bits(shape: str, replays: bool) -> None:
    model = random_model(shape)
    other = TorchEngine(model, "cuda", replays=replays)
    for streams, window in ((1, 200), (3, 33), (40, 5)):
        assert_equal(
            fed(other, streams, window, [9, 2]), fed(TorchEngine(model), streams, window, [9, 2])
        )


@needs_cuda
def test_tf32_changes_no_bit_on_cuda() -> None:
    model = random_model()
    expected = fed(TorchEngine(model), 3, 33, [9, 2])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert_equal(fed(TorchEngine(model, "cuda"), 3, 33, [9, 2]), expected)
    finally:
        torch.set_float32_matmul_precision(before)


@needs_cuda
def test_cuda_records_its_steps() -> None:
    engine = TorchEngine(random_model(), "cuda")
    session = engine.session(2, 33, 1)
    for _ in range(3):
        session.advance(np.zeros((2, 1), np.int32))
    assert session.replay.recorded
