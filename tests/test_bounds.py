"""Models at and beyond the bounds of docs/arithmetic.md, section 2.5: what is admitted has one
result everywhere.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from llmzip.engine.native_engine import NativeEngine, kernel_names, native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import UnsupportedModelError
from llmzip.model.bounds import MAX_SCALE, MIN_SCALE
from llmzip.model.convert import convert
from llmzip.model.integer_model import MODEL_FILE, IntegerModel, fingerprint
from llmzip.model.sources import read_source
from llmzip.model.spec import MAX_NORM_EPS, MIN_NORM_EPS
from llmzip.model.store import ModelStore
from llmzip.model.vocabulary import Vocabulary
from tests import tiny
from tests.native_models import SHAPES, build, random_model, random_tokens, run

needs_native = pytest.mark.skipif(not native_is_available(), reason="no native engine")

SCALES = {
    "least": (MIN_SCALE, MIN_SCALE),
    "most": (MAX_SCALE, MAX_SCALE),
    "least or most": (MIN_SCALE, MAX_SCALE),
    "usual": (0.001, 0.01),
    "zero or most": (0.0, MAX_SCALE),
}


def with_scales(
    model: IntegerModel, kinds: dict[str, str], rng: np.random.Generator, **spec: Any
) -> IntegerModel:
    """The same weights with extreme scales of either sign; kinds: one of SCALES for the end of a
    tensor's name.
    """
    tensors = dict(model.tensors)
    for name, array in tensors.items():
        if name.endswith(".scale"):
            low, high = SCALES[kinds[name.removesuffix(".scale").rsplit(".", 1)[-1]]]
            tensors[name] = (
                np.where(rng.random(array.shape) < 0.5, low, high)
                * rng.choice([-1, 1], array.shape)
            ).astype(np.float32)
        elif name == "rope" and rng.random() < 0.5:
            tensors[name] = rng.choice([-(1 << 14), 0, 1 << 14], array.shape).astype(np.int16)
        elif name.endswith(".weight") and rng.random() < 0.3:
            tensors[name] = rng.choice([-128, 127], array.shape).astype(np.int8)
    return build(dataclasses.replace(model.spec, **spec), tensors)


PARTS = ("embedding", "head", "q", "k", "v", "o", "gate", "up", "down")


@needs_native
@settings(max_examples=60)
@given(
    shape=st.sampled_from(
        ["nothing is a multiple of 32", "smallest", "head size 34", "one key head, head size 64"]
    ),
    kinds=st.fixed_dictionaries({part: st.sampled_from(sorted(SCALES)) for part in PARTS}),
    eps=st.sampled_from([MIN_NORM_EPS, MAX_NORM_EPS, 1e-5]),
    seed=st.integers(0, 1000),
)
def test_engines_agree_on_every_admitted_model(
    shape: str, kinds: dict[str, str], eps: float, seed: int
) -> None:
    model = with_scales(random_model(shape, seed), kinds, np.random.default_rng(seed), norm_eps=eps)
    reference, tokens = TorchEngine(model), random_tokens(model, 2, 24)
    expected = run(reference, tokens, 9, [1, 7])
    assert np.isfinite(expected.scales).all()
    vectors, scales = expected.vectors.reshape(-1, model.spec.d_model), expected.scales.ravel()
    weights = reference.token_weights(vectors, scales)
    assert (weights.max(axis=1) == 1 << 23).all()
    for cpu in kernel_names():
        engine = NativeEngine(model, 1, cpu)
        actual = run(engine, tokens, 9, [1, 7])
        np.testing.assert_array_equal(actual.vectors, expected.vectors)
        np.testing.assert_array_equal(actual.scales, expected.scales)
        np.testing.assert_array_equal(engine.token_weights(vectors, scales), weights)


BAD_NUMBERS = {
    "a scale that is not finite": ("layers.0.v.scale", np.inf),
    "a scale that is no number": ("head.scale", np.nan),
    "a scale too large": ("embedding.scale", 65.0),
    "a subnormal scale": ("layers.1.down.scale", 1e-40),
    "a cosine beyond 1": ("rope", 16385),
    "a sine below -1": ("rope", -32768),
}


@pytest.mark.parametrize("case", BAD_NUMBERS)
def test_tensors_beyond_the_bounds_are_refused(case: str) -> None:
    model = random_model("smallest")
    name, value = BAD_NUMBERS[case]
    array = model.tensors[name].copy()
    array.flat[-1] = value
    with pytest.raises(UnsupportedModelError, match=f"tensor {name}"):
        build(model.spec, {**model.tensors, name: array})


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"embedding.weight": np.zeros((3, 3), np.int8)}, "embedding.weight"),
        ({"head.scale": np.ones(3)}, "head.scale"),
        ({"more": np.zeros(3)}, "more"),
    ],
)
def test_tensors_that_are_not_the_specifications(changes: dict[str, Any], name: str) -> None:
    model = random_model("smallest")
    with pytest.raises(UnsupportedModelError, match=f"tensor '?{name}"):
        build(model.spec, {**model.tensors, **changes})
    with pytest.raises(UnsupportedModelError, match=r"tensor 'rope' is missing"):
        build(model.spec, {name: array for name, array in model.tensors.items() if name != "rope"})


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_eps": value}
        for value in (float("nan"), float("inf"), -1e-5, 0.0, 1e-30, 2.0, 1, True, "1e-5", None)
    ]
    + [
        {"layers": 257},
        {"layers": 0},
        {"layers": 2.0},
        {"d_model": 1 << 18},
        {"head_dim": 1042},
        {"head_dim": 3},
    ]
    + [
        {"heads": 3, "kv_heads": 2},
        {"max_positions": (1 << 17) + 1},
        {"vocab": 1 << 21},
        {"d_ff": True},
    ]
    + [
        {"start_token": -1},
        {"start_token": 1 << 20},
        {"escape_token": None},
        {"heads": 1 << 12, "head_dim": 1040},
    ],
)
def test_specifications_beyond_the_bounds_are_refused(changes: dict[str, Any]) -> None:
    spec = random_model("smallest").spec
    with pytest.raises(UnsupportedModelError, match="model specification"):
        dataclasses.replace(spec, **changes)


@pytest.mark.parametrize("weight", [8200.0, 1e36, 3e38])
@pytest.mark.parametrize("part", ["self_attn.v_proj", "mlp.down_proj", "input_layernorm"])
def test_large_weights_are_refused_at_conversion(
    tmp_path: pathlib.Path, weight: float, part: str
) -> None:
    model = tiny.make()
    tensor = model.tensors[f"model.layers.1.{part}.weight"]
    tensor[tensor > 0.1] = min(200 * weight, 3e38)
    path = tiny.write_directory(tmp_path / "m", model)
    with pytest.raises(UnsupportedModelError, match=r"tensor layers\.1\.[a-z]+: a row's scale of"):
        convert(read_source(path))


@pytest.mark.parametrize("eps", ["NaN", "Infinity", "-1e-5", "0", "1e400", "null", "[]"])
def test_norm_eps_is_refused_at_conversion(tmp_path: pathlib.Path, eps: str) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make())
    config = (
        (path / "config.json")
        .read_text()
        .replace('"rms_norm_eps": 1e-05', f'"rms_norm_eps": {eps}')
    )
    assert json.loads(config) != tiny.make().config
    (path / "config.json").write_text(config)
    with pytest.raises(UnsupportedModelError, match="norm_eps"):
        read_source(path)


def write_unchecked(path: pathlib.Path, model: IntegerModel, **changes: np.ndarray) -> None:
    """The model's file with other tensors, and the fingerprint that they have."""
    tensors = {**model.tensors, **changes}
    model.save(path)
    with safetensors.safe_open(path, framework="np") as file:
        metadata = file.metadata()
    stated = fingerprint(model.spec, model.vocabulary, tensors).hex()
    safetensors.numpy.save_file(tensors, path, metadata | {"fingerprint": stated})


def test_an_installed_model_beyond_the_bounds_is_refused(tmp_path: pathlib.Path) -> None:
    """As an older program may have installed it."""
    store = ModelStore(tmp_path / "cache")
    directory = tiny.write_directory(tmp_path / "m", tiny.make())
    entry = store.pull(str(directory))
    folder = store.cache.root / entry.fingerprint
    model = store.cache.load(entry)
    scale = np.full_like(model.tensors["layers.0.up.scale"], np.inf)
    write_unchecked(folder / MODEL_FILE, model, **{"layers.0.up.scale": scale})
    with pytest.raises(
        UnsupportedModelError, match=r"tensor layers\.0\.up\.scale: a row's scale of inf"
    ):
        store.resolve(str(directory))


@needs_native
def test_the_c_core_stays_in_its_buffers_whatever_the_scales_are() -> None:
    """Broken memory, or a caller that goes round the checks: wrong numbers then, but no loop
    without an end.
    """
    script = (
        "import sys, numpy as np\n"
        "from llmzip.engine.native_engine import NativeEngine, kernel_names\n"
        "from tests.native_models import random_model, random_tokens, run\n"
        "for value in (np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45):\n"
        "    for cpu in kernel_names():\n"
        "        model = random_model()\n"
        "        for name, array in model.tensors.items():\n"
        "            if name.endswith('.scale'):\n"
        "                array[...] = value\n"
        "        engine, tokens = NativeEngine(model, 1, cpu), random_tokens(model, 2, 40)\n"
        "        head = run(engine, tokens, 9, [1, 7])\n"
        "        mixer = engine.mixer(8)\n"
        "        mixer.start(2, np.empty(0, np.int32))\n"
        "        for t in range(40):\n"
        "            vectors, scales = head.vectors[:, t], head.scales[:, t]\n"
        "            given = engine.distributions("
        "np.ascontiguousarray(vectors), np.ascontiguousarray(scales))\n"
        "            found = mixer.recall(np.ascontiguousarray(vectors), given.top_tokens())\n"
        "            mixer.mix(given.weights_of(0, found), given.totals())\n"
        "            mixer.learn(tokens[:, t], given.weights_of(0, tokens[:, t : t + 1])[:, 0])\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_a_vocabulary_of_another_size_is_refused() -> None:
    model = random_model("smallest")
    with pytest.raises(UnsupportedModelError, match="4 tokens for a vocabulary of 3"):
        IntegerModel.build(model.spec, Vocabulary((b"",) * 4, 0, 0, ""), model.tensors)
    assert SHAPES["smallest"]["vocab"] == 3
