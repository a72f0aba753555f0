"""Mixtures of experts: ties of the router by index, weights of 0, experts that are not chosen, many
rows at once; memory; what adapters change.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from llmzip.accounting import llm_bytes
from llmzip.engine import native_handle
from llmzip.engine.base import Engine
from llmzip.engine.native_engine import NativeEngine, kernel_names, native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import UnsupportedModelError
from llmzip.mixing.base import MIXING_VERSION
from llmzip.model.convert import convert
from llmzip.model.features import Features
from llmzip.model.integer_model import IntegerModel
from llmzip.model.peft_folder import read_peft
from llmzip.model.published_decoder import read_decoder
from llmzip.model.sources import read_source
from tests.as_reference import reference_model
from tests.family_models import write
from tests.feature_models import FEATURES
from tests.native_models import build, random_model, random_tokens, run
from tests.reference_decoder.featured_transformer import new_stream
from tests.reference_decoder.llm import StreamLayout
from tests.reference_decoder.working_memory import llm_bytes as documented_bytes
from tests.routing import recorded
from tests.test_peft_folder import pair, save

KERNELS = kernel_names() if native_is_available() else ()
MANY = Features(experts=40, experts_used=2, expert_ff=24, experts_normalized=True)


@pytest.fixture(autouse=True)
def all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many threads as asked for: models as small as these would be left with one."""
    monkeypatch.setattr(native_handle, "_WEIGHTS_PER_THREAD", 1)


def engines(model: IntegerModel) -> list[Engine]:
    """The reference, and the native engine with each set of kernels."""
    return [
        TorchEngine(model),
        *(NativeEngine(model, 1 + i % 2, cpu) for i, cpu in enumerate(KERNELS)),
    ]


def changed(model: IntegerModel, **tensors: npt.NDArray[Any]) -> IntegerModel:
    """The model with other tensors in layer 0."""
    return build(
        model.spec, model.tensors | {f"layers.0.{name}": array for name, array in tensors.items()}
    )


def with_tensors(model: IntegerModel, tensors: dict[str, npt.NDArray[Any]]) -> IntegerModel:
    return build(model.spec, {**model.tensors, **tensors})


def same(one: IntegerModel, other: IntegerModel) -> bool:
    """Whether two models compute the same, and every engine says so alike."""
    tokens = random_tokens(one, 2, 30)
    found = []
    for first, second in zip(engines(one), engines(other), strict=True):
        a, b = (run(engine, tokens, 20, [1, 7]) for engine in (first, second))
        found.append(np.array_equal(a.vectors, b.vectors) and np.array_equal(a.scales, b.scales))
    assert len({*found}) == 1
    return found[0]


def with_other_experts(model: IntegerModel, numbers: list[int]) -> IntegerModel:
    """The model with other weights in these experts of all layers."""
    tensors, experts = {}, model.spec.features.experts
    for name, array in model.tensors.items():
        if ".experts_" in name and name.endswith(".weight"):
            stack = array.reshape(experts, -1).astype(np.int8)
            stack[numbers] *= -1
            tensors[name] = stack.reshape(array.shape)
    return with_tensors(model, tensors)


@pytest.mark.parametrize("scales", [(1.0,), (0.0,), (1.0, -1.0)])
def test_ties_go_to_the_smaller_index(scales: tuple[float, ...]) -> None:
    """Equal rows of the router, and products that are 0 and -0."""
    model = random_model(features=MANY)
    tensors = {}
    for layer in range(model.spec.layers):
        row = model.tensors[f"layers.{layer}.router.weight"][0]
        rows = np.zeros_like(row) if len(scales) > 1 else row
        tensors[f"layers.{layer}.router.weight"] = np.tile(rows, (40, 1))
        tensors[f"layers.{layer}.router.scale"] = np.resize(np.array(scales, np.float32) / 128, 40)
    tied = with_tensors(model, tensors)
    assert same(tied, with_other_experts(tied, [*range(2, 40)]))
    for number in (0, 1):
        assert not same(tied, with_other_experts(tied, [number]))


def test_an_expert_of_weight_0_adds_nothing() -> None:
    """Where the router is sure, the second of the chosen has no weight."""
    model = random_model(features=MANY)
    tensors = {
        name: array * np.float32(3000)
        for name, array in model.tensors.items()
        if name.endswith("router.scale")
    }
    sure = with_tensors(model, tensors)
    tokens = random_tokens(sure, 2, 30)
    _, weights = routed(sure, tokens)
    certain = (weights == 1).any(axis=1)
    assert certain.mean() > 0.5 and (weights[certain].sum(axis=1) == 1).all()
    expected = run(TorchEngine(sure), tokens, 20, [30])
    for engine in engines(sure):
        found = run(engine, tokens, 20, [1, 7])
        np.testing.assert_array_equal(found.vectors, expected.vectors)
        np.testing.assert_array_equal(found.scales, expected.scales)


def routed(
    model: IntegerModel, tokens: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """What the routers of the reference chose for each row, layer by layer, and the weights."""
    engine = TorchEngine(model)
    found = recorded(engine)
    run(engine, tokens, 100, [tokens.shape[1]])
    chosen, weights = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    return chosen, weights


def test_an_expert_that_is_first_used_late() -> None:
    """Nothing of it is needed, nor missing, until then."""
    model = random_model(features=MANY, layers=1)
    tokens = random_tokens(model, 1, 70)
    chosen, weights = routed(model, tokens)
    first = [np.argmax((chosen == e).any(axis=1)) for e in range(40) if (chosen == e).any()]
    assert max(first) > 40 and len(first) < 40
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=2**-13)
    expected = run(TorchEngine(model), tokens, 100, [70])
    for engine in engines(model):
        for chunks in ([1], [33, 1, 2]):
            found = run(engine, tokens, 100, chunks)
            np.testing.assert_array_equal(found.vectors, expected.vectors)
            np.testing.assert_array_equal(found.scales, expected.scales)
    never = [e for e in range(40) if not (chosen == e).any()]
    other = with_other_experts(model, never)
    np.testing.assert_array_equal(
        run(TorchEngine(other), tokens, 100, [70]).vectors, expected.vectors
    )


@pytest.mark.skipif(not KERNELS, reason="no native engine")
@pytest.mark.parametrize("name", ["Qwen 2 MoE", "FlexOlmo", "one expert of many"])
def test_a_row_is_the_same_in_any_company(name: str) -> None:
    """More rows than go through a layer at once, and a single one."""
    model = random_model("smallest", features=FEATURES[name])
    tokens = random_tokens(model, 300, 3)
    expected = run(TorchEngine(model), tokens, 10, [3])
    for threads_used in (1, 3):
        engine = NativeEngine(model, threads_used)
        for chunks in ([1], [3], [2]):
            found = run(engine, tokens, 10, chunks)
            np.testing.assert_array_equal(found.vectors, expected.vectors)
            np.testing.assert_array_equal(found.scales, expected.scales)
        for row in (0, 255, 256, 299):
            alone = run(engine, tokens[row : row + 1], 10, [1])
            np.testing.assert_array_equal(alone.vectors[0], expected.vectors[row])


def test_the_most_experts() -> None:
    """All of 1024 with equal weights, of which none is rounded to 0."""
    features = Features(experts=1024, experts_used=1024, expert_ff=1)
    model = random_model("smallest", features=features, layers=1)
    equal = changed(model, **{"router.weight": np.zeros((1024, 5), np.int8)})
    _, weights = routed(equal, random_tokens(equal, 1, 3))
    assert (weights == 2.0**-10).all()
    tokens = random_tokens(model, 1, 5)
    expected = run(TorchEngine(model), tokens, 10, [5])
    for engine in engines(model):
        np.testing.assert_array_equal(run(engine, tokens, 10, [5]).vectors, expected.vectors)
    stream = new_stream(reference_model(model), 10)
    for position, token in enumerate(tokens[0, :2]):
        found = stream.predict(int(token)).head_input
        assert found.tolist() == expected.vectors[0, position].tolist()


def test_their_memory_is_counted() -> None:
    """As docs/format.md says it: for each stream what its experts work on."""
    model = random_model(features=MANY)
    plain = random_model()
    counted = [llm_bytes(500, 4, 4 * 128, 8, one.spec, False) for one in (model, plain)]
    assert counted[0] - counted[1] == 4 * 2 * (9 * 32 + 5 * 64)
    layout = StreamLayout(500, 4, 128, 8)
    spec = reference_model(model).spec
    documented = documented_bytes(layout, spec, 0, False, MIXING_VERSION)
    slots = 4 * 96  # of 80 positions
    assert documented == llm_bytes(500, 4, slots, 8, model.spec, False)


def test_loras_of_experts(tmp_path: pathlib.Path) -> None:
    """Where each expert has a matrix of its own, a LoRA of it is merged; where all have one tensor,
    it is refused.
    """
    folder = write("qwen3_moe", tmp_path / "qwen")
    module = "model.layers.1.mlp.experts.3.up_proj"
    adapter = read_peft(save(tmp_path / "lora", pair(module, 48, 64)))
    before, after = convert(read_source(folder)), convert(read_source(folder, adapter))
    changes = {
        name
        for name in before.tensors
        if not np.array_equal(before.tensors[name], after.tensors[name])
    }
    assert changes == {"layers.1.experts_up.weight", "layers.1.experts_up.scale"}
    rows = np.nonzero((before.tensors[max(changes)] != after.tensors[max(changes)]).any(axis=1))[0]
    assert rows.min() >= 3 * 48 and rows.max() < 4 * 48
    folder = write("granitemoe", tmp_path / "granite")
    stacked = "model.layers.1.block_sparse_moe.output_linear"
    adapter = read_peft(save(tmp_path / "of_stack", pair(stacked, 64, 192)))
    with pytest.raises(UnsupportedModelError, match=r"output_linear': for shape \(64, 192\), not"):
        convert(read_source(folder, adapter))


def test_layers_without_experts_at_all() -> None:
    """A model of an MoE's kind whose layers all have one MLP is a decoder without experts."""
    config = {
        "model_type": "qwen3_moe",
        "num_hidden_layers": 2,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "vocab_size": 300,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6,
        "mlp_only_layers": [0, 1],
    }
    assert read_decoder(config).shape["features"] == Features(head_norm="head")
    with pytest.raises(UnsupportedModelError, match="num_hidden_layers is 300"):
        read_decoder(json.loads(json.dumps(config | {"num_hidden_layers": 300})))
