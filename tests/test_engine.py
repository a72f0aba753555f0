"""The reference engine: against a decoder written from the document, and against itself in every
other shape.
"""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.arithmetic.gemm import FloatKernel
from llmzip.engine import torch_transformer
from llmzip.engine.base import Engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.model.integer_model import IntegerModel
from llmzip.model.vocabulary import Vocabulary
from tests.as_reference import reference_model
from tests.conftest import tiny
from tests.reference_decoder.transformer import Transformer

TINY_FINGERPRINT = "90dccf64cb7dfd6a29fd55c10c57135413896b5674fbfcaa20189e2413260b33"

Ids = npt.NDArray[np.int32]


def tokens(streams: int, count: int, vocab: int, seed: int = 0) -> Ids:
    return (
        np.random.Generator(np.random.PCG64(seed))
        .integers(0, vocab, (streams, count))
        .astype(np.int32)
    )


def evaluate(
    engine: Engine, ids: Ids, window: int, splits: list[int]
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Head inputs of all positions, fed in pieces that end at `splits`."""
    edges = [0, *splits, ids.shape[1]]
    session = engine.session(len(ids), window, max(np.diff(edges)))
    parts = [session.advance(ids[:, a:b]) for a, b in itertools.pairwise(edges) if a < b]
    return np.concatenate([p.vectors for p in parts], 1), np.concatenate(
        [p.scales for p in parts], 1
    )


def test_conversion_is_reproducible(tiny_model: IntegerModel) -> None:
    """The committed float weights convert to the very same integers on every machine."""
    assert tiny_model.fingerprint.hex() == TINY_FINGERPRINT


@pytest.mark.parametrize("window", [1, 3, 64])
def test_the_engine_equals_the_document(tiny_engine: TorchEngine, window: int) -> None:
    model = tiny_engine.model
    ids = tokens(1, 12, model.spec.vocab)
    head = tiny_engine.session(1, window, 12).advance(ids)
    got = tiny_engine.token_weights(head.vectors[0], head.scales[0])
    stream = Transformer(reference_model(model), window)
    assert [stream.predict(int(i)).weights for i in ids[0]] == got.tolist()


@settings(max_examples=25)
@given(
    splits=st.lists(st.integers(1, 59), unique=True, max_size=8).map(sorted),
    streams=st.integers(1, 5),
    window=st.sampled_from([1, 2, 5, 17, 64, 512]),
)
def test_no_split_and_no_batch_changes_a_bit(splits: list[int], streams: int, window: int) -> None:
    engine = TorchEngine(tiny())
    ids = tokens(5, 60, engine.model.spec.vocab)
    vectors, scales = evaluate(engine, ids, window, list(range(1, 60)))
    got_vectors, got_scales = evaluate(engine, ids[:streams], window, splits)
    assert np.array_equal(got_vectors, vectors[:streams])
    assert np.array_equal(got_scales, scales[:streams])


def test_streams_may_end_one_after_another(tiny_engine: TorchEngine) -> None:
    ids = tokens(3, 9, tiny_engine.model.spec.vocab)
    session = tiny_engine.session(3, 64, 4)
    session.advance(ids[:, :4])
    last = session.advance(ids[:1, 4:8])
    vectors, _ = evaluate(tiny_engine, ids[:, :8], 64, [3])
    assert np.array_equal(last.vectors[0], vectors[0, 4:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_every_kernel_gives_the_same_bits(tiny_engine: TorchEngine, dtype: torch.dtype) -> None:
    other = TorchEngine(tiny_engine.model, kernel=FloatKernel(dtype))
    ids = tokens(4, 40, tiny_engine.model.spec.vocab, seed=7)
    expected, got = (evaluate(e, ids, 16, [7, 20]) for e in (tiny_engine, other))
    assert np.array_equal(got[0], expected[0])
    assert np.array_equal(got[1], expected[1])
    weights, other_weights = (
        e.token_weights(expected[0][:, 0], expected[1][:, 0]) for e in (tiny_engine, other)
    )
    assert np.array_equal(weights, other_weights)


def test_attention_in_float64_gives_the_same_bits(
    tiny_model: IntegerModel, tiny_engine: TorchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_transformer, "select_float_type", lambda device: torch.float64)
    other = TorchEngine(tiny_model)
    assert other.transformer.float_type == torch.float64
    ids = tokens(2, 50, tiny_model.spec.vocab)
    expected, got = (evaluate(e, ids, 32, [9]) for e in (tiny_engine, other))
    assert np.array_equal(got[0], expected[0])


def test_the_host_program_cannot_lower_the_precision(tiny_engine: TorchEngine) -> None:
    ids = tokens(2, 50, tiny_engine.model.spec.vocab)
    expected = evaluate(tiny_engine, ids, 32, [])
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        got = evaluate(tiny_engine, ids, 32, [])
        assert torch.get_float32_matmul_precision() == "medium"  # and its choice is left alone
    finally:
        torch.set_float32_matmul_precision(before)
    assert np.array_equal(got[0], expected[0])


def test_nor_by_the_newer_settings(tiny_engine: TorchEngine) -> None:
    """After which torch's older ones can no longer be read."""
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("torch before 2.9 has none")
    ids = tokens(2, 50, tiny_engine.model.spec.vocab)
    expected = evaluate(tiny_engine, ids, 32, [])
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    before = [backend.fp32_precision for backend in backends]
    try:
        for backend, precision in zip(backends, ("tf32", "bf16"), strict=True):
            backend.fp32_precision = precision
        with pytest.raises(RuntimeError, match="legacy"):
            torch.get_float32_matmul_precision()
        got = evaluate(tiny_engine, ids, 32, [])
        assert [backend.fp32_precision for backend in backends] == ["tf32", "bf16"]
    finally:
        for backend, precision in zip(backends, before, strict=True):
            backend.fp32_precision = precision
    assert np.array_equal(got[0], expected[0])
    assert torch.get_float32_matmul_precision() == "highest"


def test_extreme_weights_stay_exact() -> None:
    """All weights +-127: every sum is as large as it can be."""
    model = tiny()
    extreme = {}
    for name, tensor in model.tensors.items():
        if name.endswith(".weight"):
            signs = np.ones_like(tensor)
            if not name.startswith(("embedding", "layers.1")):
                signs[::2, ::3] = -1
            tensor = signs * np.int8(127)
        extreme[name] = tensor
    spec = dataclasses.replace(model.spec)
    hard = IntegerModel.build(spec, Vocabulary(model.vocabulary.token_bytes, 0, 0, "{}"), extreme)
    ids = tokens(1, 8, spec.vocab)
    engine = TorchEngine(hard)
    head = engine.session(1, 64, 8).advance(ids)
    stream = Transformer(reference_model(hard), 64)
    assert [stream.predict(int(i)).weights for i in ids[0]] == engine.token_weights(
        head.vectors[0], head.scales[0]
    ).tolist()


def test_a_session_refuses_more_than_it_can_hold(tiny_engine: TorchEngine) -> None:
    spec = tiny_engine.model.spec
    with pytest.raises(ValueError, match="exceed"):
        tiny_engine.session(1, 64, 4).advance(tokens(1, 5, spec.vocab))
    session = tiny_engine.session(1, 64, spec.max_positions)
    session.advance(tokens(1, spec.max_positions, spec.vocab))
    with pytest.raises(ValueError, match="exceed"):
        session.advance(tokens(1, 1, spec.vocab))
