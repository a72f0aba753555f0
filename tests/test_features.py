"""Decoders with features: the native engine returns the reference's integers, whatever the shape,
the kernels, the threads and the chunks; their specifications; what is refused.
"""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

import llmzip
from llmzip.engine import native_handle
from llmzip.engine.base import Engine, HeadInput
from llmzip.engine.native_engine import NativeEngine, kernel_names, native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import FormatError, UnsupportedModelError
from llmzip.model.bounds import vector_shapes
from llmzip.model.features import PLAIN, Features
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary
from llmzip.tuning.network import Network
from tests.as_reference import reference_model
from tests.feature_models import FEATURES
from tests.native_models import build, random_model, random_tokens, run
from tests.reference_decoder.featured_transformer import new_stream

_EXPERTS = {"experts": 4, "experts_used": 1, "expert_ff": 8}

KERNELS = kernel_names() if native_is_available() else ()

native = pytest.mark.skipif(not KERNELS, reason="no native engine")


@pytest.fixture(autouse=True)
def all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as asked for: models as small as these would be left with one."""
    monkeypatch.setattr(native_handle, "_WEIGHTS_PER_THREAD", 1)


class Computed(NamedTuple):
    """What the reference computes."""

    model: IntegerModel
    tokens: npt.NDArray[np.int32]
    head: HeadInput
    weights: npt.NDArray[np.int32]


@functools.cache
def by_reference(name: str, shape: str) -> Computed:
    """Once for all kernels."""
    model = random_model(shape, features=FEATURES[name])
    reference, tokens = TorchEngine(model), random_tokens(model, 3, 60)
    head = run(reference, tokens, 20, [1, 5, 9])
    vectors, scales = head.vectors.reshape(-1, model.spec.d_model), head.scales.ravel()
    return Computed(model, tokens, head, reference.token_weights(vectors, scales))


@native
@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("name", FEATURES)
def test_native_equals_reference(name: str, cpu: str) -> None:
    for shape in ("nothing is a multiple of 32", "head size 80", "smallest"):
        model, tokens, expected, weights = by_reference(name, shape)
        vectors, scales = expected.vectors.reshape(-1, model.spec.d_model), expected.scales.ravel()
        for threads_used in (1, 2):
            engine = NativeEngine(model, threads_used, cpu)
            found = run(engine, tokens, 20, [1, 7])
            np.testing.assert_array_equal(found.vectors, expected.vectors)
            np.testing.assert_array_equal(found.scales, expected.scales)
            np.testing.assert_array_equal(engine.token_weights(vectors, scales), weights)


@functools.cache
def long_texts(window: int) -> tuple[IntegerModel, npt.NDArray[np.int32], HeadInput]:
    """A model with windows of its own, tokens, and what the reference computes, for all kernels."""
    features = Features(layer_window=(40, 0, 3, 33), rope_tables=2, layer_rope=(1, 0, 1, -1))
    model = random_model("head size 80", layers=4, positions=400, features=features)
    tokens = random_tokens(model, 2, 390)
    return model, tokens, run(TorchEngine(model), tokens, window, [30])


@native
@pytest.mark.parametrize("cpu", KERNELS)
@pytest.mark.parametrize("window", [50, 100, 400])
def test_long_texts_and_short_windows(window: int, cpu: str) -> None:
    """A layer with a window reads a part of the cache, wherever it lies in the ring."""
    model, tokens, expected = long_texts(window)
    for chunks in ([30], [1], [7, 64]):
        found = run(NativeEngine(model, 2, cpu), tokens, window, chunks)
        np.testing.assert_array_equal(found.vectors, expected.vectors)
        np.testing.assert_array_equal(found.scales, expected.scales)


@pytest.mark.parametrize("name", FEATURES)
def test_the_engine_equals_the_document(name: str) -> None:
    """Computed by the educational decoder, which was written from arithmetic.md alone."""
    model = random_model(features=FEATURES[name])
    tokens = random_tokens(model, 1, 25)
    engine = TorchEngine(model)
    head = run(engine, tokens, 12, [25])
    weights = engine.token_weights(head.vectors[0], head.scales[0])
    top = engine.distributions(head.vectors[0], head.scales[0]).top_tokens()
    stream = new_stream(reference_model(model), 12)
    for position, token in enumerate(tokens[0]):
        prediction = stream.predict(int(token))
        assert prediction.head_input.tolist() == head.vectors[0, position].tolist()
        assert prediction.weights == weights[position].tolist()
        order = np.argsort(-prediction.products, kind="stable")
        assert order[: top.shape[1]].tolist() == top[position].tolist()


@native
@pytest.mark.parametrize("name", ["Gemma 3", "all biases"])
def test_tables_are_the_references(name: str) -> None:
    """The sums, the likeliest tokens and the frequencies, of a head with a cap and of one with a
    bias.
    """
    model = random_model(features=FEATURES[name])
    engines = NativeEngine(model, 2), TorchEngine(model)
    head = run(engines[1], random_tokens(model, 1, 50), 20, [50])
    ours, theirs = (engine.distributions(head.vectors[0], head.scales[0]) for engine in engines)
    np.testing.assert_array_equal(ours.top_tokens(), theirs.top_tokens())
    np.testing.assert_array_equal(ours.totals(), theirs.totals())
    np.testing.assert_array_equal(ours.bucket_frequencies(), theirs.bucket_frequencies())
    buckets = np.arange(50) % 2
    np.testing.assert_array_equal(
        ours.token_frequencies(buckets), theirs.token_frequencies(buckets)
    )
    tokens = ours.top_tokens()
    np.testing.assert_array_equal(ours.weights_of(0, tokens), theirs.weights_of(0, tokens))
    replaced = np.full(tokens.shape, 1 << 30, np.int64)
    for one in (ours, theirs):
        one.replace(0, tokens, replaced)
    np.testing.assert_array_equal(ours.bucket_frequencies(), theirs.bucket_frequencies())


@native
@pytest.mark.parametrize("name", FEATURES)
def test_extreme_numbers(name: str) -> None:
    """Biases and gains at their bounds, activations at theirs: finite, and the same."""
    model = random_model("head size 16", gain=3.0, features=FEATURES[name])
    tensors = dict(model.tensors)
    generator = np.random.default_rng(3)
    for vector, length in vector_shapes(model.spec).items():
        extremes = np.array([2.0**16, -(2.0**16), 2.0**-50, 0.0], np.float32)
        tensors[vector] = extremes[generator.integers(0, 4, length)]
    model = build(model.spec, tensors)
    engine, reference, tokens = (
        NativeEngine(model, 1),
        TorchEngine(model),
        random_tokens(model, 2, 40),
    )
    expected = run(reference, tokens, 100, [1, 7])
    found = run(engine, tokens, 100, [1, 7])
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    np.testing.assert_array_equal(found.scales, expected.scales)
    assert np.isfinite(expected.scales).all() and expected.vectors.any()
    weights = reference.token_weights(expected.vectors[0], expected.scales[0])
    np.testing.assert_array_equal(
        engine.token_weights(expected.vectors[0], expected.scales[0]), weights
    )
    assert (weights.max(axis=1) == 1 << 23).all()


@pytest.mark.parametrize("name", FEATURES)
def test_a_fork_reads_on_as_its_origin(name: str) -> None:
    model = random_model(features=FEATURES[name])
    tokens = random_tokens(model, 1, 30)
    engines: list[Engine] = [TorchEngine(model), *([NativeEngine(model, 1)] if KERNELS else [])]
    for engine in engines:
        session = engine.session(1, 40, 10)
        session.advance(tokens[:, :10])
        fork = session.fork([0, 0], 40, 10)
        expected = session.advance(tokens[:, 10:20])
        found = fork.advance(np.repeat(tokens[:, 10:20], 2, axis=0))
        for stream in range(2):
            np.testing.assert_array_equal(found.vectors[stream], expected.vectors[0])
            np.testing.assert_array_equal(found.scales[stream], expected.scales[0])


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_matters(name: str) -> None:
    """No feature is silently left out: without it the numbers are others."""
    features = FEATURES[name]
    plain, model = random_model(), random_model(features=features)
    tokens = random_tokens(model, 1, 40)
    heads = [run(TorchEngine(one), tokens, 40, [40]) for one in (plain, model)]
    weights = [
        TorchEngine(one).token_weights(head.vectors[0], head.scales[0])
        for one, head in zip((plain, model), heads, strict=True)
    ]
    assert not np.array_equal(*weights)
    assert plain.fingerprint != model.fingerprint


@pytest.mark.parametrize("name", FEATURES)
def test_files_keep_features(name: str, tmp_path: pathlib.Path) -> None:
    model = random_model(features=FEATURES[name])
    model.save(tmp_path / "model")
    loaded = IntegerModel.load(tmp_path / "model")
    assert loaded.spec == model.spec and loaded.fingerprint == model.fingerprint
    assert ModelSpec.from_json(model.spec.to_json()) == model.spec
    described = json.loads(model.spec.to_json())["features"]
    assert described == FEATURES[name].changes()
    missing = dict(model.tensors)
    del missing[max(missing)]
    with pytest.raises(UnsupportedModelError, match="is missing"):
        IntegerModel.build(model.spec, model.vocabulary, missing)


def test_the_plain_decoder_is_described_as_before() -> None:
    assert "features" not in random_model().spec.to_json()
    assert PLAIN.changes() == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "relu"}, "activation is 'relu'"),
        ({"head_norm": "layer"}, "head_norm is 'layer'"),
        ({"gated": 1}, "gated is 1"),
        ({"biases": ["v"]}, "biases is"),
        ({"biases": ["q", "k"]}, "biases is"),
        ({"biases": "qk"}, "biases is 'qk'"),
        ({"biases": [["q"]]}, "biases is"),
        ({"biases": ["up"], "gated": False}, "a matrix that is not there"),
        ({"attention_cap": float("nan")}, "attention_cap is nan"),
        ({"attention_cap": 1e30}, "attention_cap is 1e"),
        ({"logit_cap": 5}, "logit_cap is 5"),
        ({"rope_tables": 5}, "rope_tables is 5"),
        ({"rope_tables": 0}, "rope_tables is 0"),
        ({"layer_rope": [0, 1]}, "layer_rope is"),
        ({"layer_rope": [0, -2]}, "layer_rope is"),
        ({"layer_rope": [0]}, "layer_rope of 1 for 2 layers"),
        ({"layer_window": [-1, 0]}, "layer_window is"),
        ({"layer_window": [3]}, "layer_window of 1 for 2 layers"),
        ({"layer_window": [True, False]}, "layer_window is"),
        ({"pre_norm": False}, "pre_norm is False"),
        ({"parallel": True, "post_norm": True}, "norms behind it"),
        ({"model_rotation": 4}, "model_rotation is 4: not a power of two that divides 50"),
        ({"model_rotation": -2}, "model_rotation is -2"),
        ({"model_rotation": True}, "model_rotation is True"),
        ({"rotated_keys": 1}, "rotated_keys is 1"),
        ({"wide_inputs": "layers.0.q"}, "wide_inputs is 'layers"),
        ({"wide_inputs": [0]}, "wide_inputs is"),
        ({"wide_inputs": ["layers.2.q"]}, "wide_inputs is"),
        ({"wide_inputs": ["layers.0.k"]}, "wide_inputs is"),
        ({"wide_inputs": ["layers.0.o", "layers.0.q"]}, "wide_inputs is"),
        ({"wide_inputs": ["layers.0.q", "layers.0.q"]}, "wide_inputs is"),
        ({"wide_inputs": ["layers.0.gate"], "parallel": True}, "wide_inputs is"),
        ({"experts": 1025, "experts_used": 1, "expert_ff": 8}, "experts is 1025"),
        ({"experts": True, "experts_used": 1, "expert_ff": 8}, "experts is True"),
        ({"experts": 4, "experts_used": 5, "expert_ff": 8}, "experts_used is 5"),
        ({"experts": 4, "experts_used": 0, "expert_ff": 8}, "experts_used is 0"),
        ({"experts": 4, "experts_used": 1}, "expert_ff is 0"),
        ({"experts": 4, "experts_used": 1, "expert_ff": 1 << 18}, "expert_ff is 262144"),
        ({"expert_ff": 8}, "expert_ff is 8"),
        ({"shared_ff": 8}, "shared_ff is 8"),
        ({"experts_normalized": True}, "experts_normalized is True"),
        ({"layer_experts": [0, 1]}, "layer_experts is"),
        ({**_EXPERTS, "layer_experts": [2, 0]}, "layer_experts is"),
        ({**_EXPERTS, "layer_experts": [1]}, "layer_experts of 1 for 2 layers"),
        ({**_EXPERTS, "shared_weighted": True}, "shared_weighted is True"),
        ({**_EXPERTS, "shared_ff": -1}, "shared_ff is -1"),
        ({**_EXPERTS, "parallel": True}, "experts beside attention in parallel"),
        ({**_EXPERTS, "biases": ["down"]}, "or with biases"),
        ({**_EXPERTS, "wide_inputs": ["layers.0.down"]}, "wide_inputs is"),
    ],
)
def test_features_that_are_refused(changes: dict[str, Any], message: str) -> None:
    described = json.loads(random_model().spec.to_json()) | {"features": changes}
    with pytest.raises(UnsupportedModelError, match=message):
        ModelSpec.from_json(json.dumps(described))


@pytest.mark.parametrize("features", [{"tomorrow": 1}, [], "plain", None, {"gated": [1]}])
def test_specifications_that_are_none(features: Any) -> None:
    described = json.loads(random_model().spec.to_json()) | {"features": features}
    with pytest.raises((FormatError, UnsupportedModelError)):
        ModelSpec.from_json(json.dumps(described))


@pytest.mark.parametrize("value", [np.nan, np.inf, 2.0**17, 2.0**-60])
def test_vectors_beyond_the_bounds(value: float) -> None:
    model = random_model(features=FEATURES["all biases"])
    bias = model.tensors["layers.1.k.bias"].copy()
    bias[3] = value
    with pytest.raises(UnsupportedModelError, match=r"tensor layers\.1\.k\.bias"):
        build(model.spec, {**model.tensors, "layers.1.k.bias": bias})


def test_a_text_comes_back() -> None:
    """Through both engines, mixing included: what one writes the other reads."""
    text = b"the cat and the hat, and the cat in the hat\n" * 20
    for name in ("Gemma 3", "NeoX", "Qwen 2 MoE"):
        model = random_model(features=FEATURES[name], positions=80)
        words = Vocabulary((b"", *(bytes([b]) for b in range(256)), *[b""] * 44), 0, 0, "{}")
        model = IntegerModel.build(model.spec, words, model.tensors)
        packed = llmzip.compress(text, model=model, codec="llm")
        assert llmzip.decompress(packed, model=model) == text
        other = llmzip.Runtime(engine="torch")
        assert llmzip.compress(text, model=model, codec="llm", runtime=other) == packed


def test_tuning_is_for_plain_decoders() -> None:
    class Source:
        spec = random_model(features=Features(parallel=True)).spec

    with pytest.raises(UnsupportedModelError, match="only plain Llama decoders"):
        Network(Source(), 4, 16)  # type: ignore[arg-type]
