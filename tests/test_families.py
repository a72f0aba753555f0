"""Each family of decoders: the integers follow transformers' float64, both engines agree, texts
come back, and what is not covered is refused by name.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import pathlib
import shutil
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch

import llmzip
from llmzip.engine.native_engine import NativeEngine, native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import UnsupportedModelError
from llmzip.model.convert import convert
from llmzip.model.families import FAMILIES as COVERED
from llmzip.model.features import wide_names
from llmzip.model.sources import read_source
from tests import tiny
from tests.family_models import FAMILIES, VOCAB, reference, write
from tests.routing import Followed, recorded

MAX_DIVERGENCE = 0.012
"""Bits per token that the integers may lose, on average: Kullback–Leibler divergence. These models
are 64 wide, so that roundings weigh more than in any published one; what the plain decoder loses is
0.004.
"""
MIN_AGREEMENT = 0.88
"""Of the most likely token; the tiny models' distributions have several near the top."""

MIN_SAME_EXPERTS = 0.9
"""How often the same experts are chosen in any layer, all of them."""

_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}

TOKENS = np.random.Generator(np.random.PCG64(3)).integers(2, VOCAB, (2, 100)).astype(np.int32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Names -> folders, each written once."""
    written: dict[str, pathlib.Path] = {}

    def get(name: str) -> pathlib.Path:
        if name not in written:
            written[name] = write(name, tmp_path_factory.mktemp("family"))
        return written[name]

    return get


def log2_probabilities(
    path: pathlib.Path, choices: list[torch.Tensor]
) -> tuple[npt.NDArray[np.float64], float]:
    """Those of transformers in float64, [2, 100, VOCAB], with the experts that the integers chose;
    and how often in any layer it would have chosen these, too.
    """
    followed, floats = Followed(), reference(path)
    followed.follow(floats, choices)
    with torch.inference_mode():
        logits = floats(torch.from_numpy(TOKENS.astype(np.int64))).logits
    found: npt.NDArray[np.float64] = torch.log_softmax(logits, -1).numpy() / math.log(2)
    return found, min(followed.same, default=1.0)


@functools.cache
def measured(path: pathlib.Path, right: pathlib.Path, **changes: Any) -> tuple[float, float, float]:
    """The divergence in bits per token of the integers of one folder from the floats of another,
    and how often the most likely token and the chosen experts are the same; changes: of the
    features.
    """
    source = read_source(path)
    features = dataclasses.replace(source.spec.features, **changes)
    spec = dataclasses.replace(source.spec, features=features)
    model = convert(dataclasses.replace(source, spec=spec))
    engine = TorchEngine(model)
    routing = recorded(engine)
    head = engine.session(2, 200, 100).advance(TOKENS)
    expected, same_experts = log2_probabilities(right, [chosen for chosen, _ in routing])
    if native_is_available():
        native = NativeEngine(model, 1)
        same = native.session(2, 200, 100).advance(TOKENS)
        np.testing.assert_array_equal(head.vectors, same.vectors)
        np.testing.assert_array_equal(head.scales, same.scales)
    weights = engine.token_weights(head.vectors.reshape(200, -1), head.scales.ravel())
    floored = np.maximum(weights, 2.0**-8).reshape(expected.shape)
    found = np.log2(floored / floored.sum(-1, keepdims=True))
    divergence = (np.exp2(expected) * (expected - found)).sum(-1).mean()
    agreement = (expected.argmax(-1) == found.argmax(-1)).mean()
    return float(divergence), float(agreement), same_experts


@pytest.mark.parametrize("name", FAMILIES)
def test_integers_follow_transformers(name: str, folder: Any) -> None:
    divergence, agreement, same_experts = measured(folder(name), folder(name))
    assert divergence < MAX_DIVERGENCE
    assert agreement > MIN_AGREEMENT
    assert same_experts > MIN_SAME_EXPERTS


@pytest.mark.parametrize("name", ["llama", "qwen2", "qwen3", "gemma3", "gpt_neox", "olmo2"])
def test_what_mends_outliers_keeps_the_decoder(name: str, folder: Any) -> None:
    """With other rotations, rotated keys and wide inputs it is the same decoder, and nearer."""
    spec = read_source(folder(name)).spec
    before = measured(folder(name), folder(name))[0]
    for changes in (
        {"model_rotation": 8},
        {"rotated_keys": True},
        {"wide_inputs": tuple(wide_names(spec.features, spec.layers))},
    ):
        divergence, agreement, _ = measured(folder(name), folder(name), **changes)
        assert divergence < MAX_DIVERGENCE
        assert agreement > MIN_AGREEMENT
    assert divergence < before


def test_every_family_is_tried() -> None:
    assert {name.partition(",")[0] for name in FAMILIES} == {*COVERED} - {"gemma3_text"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mistral", {"sliding_window": 17}),
        ("qwen2", {"max_window_layers": 3, "layer_types": None}),
        ("smollm3", {"no_rope_layers": [1, 1, 1, 1]}),
        ("gemma2", {"attn_logit_softcapping": 3.0}),
        ("gemma2", {"final_logit_softcapping": 3.0}),
        ("gemma2", {"query_pre_attn_scalar": 80}),
        ("gemma3", {"sliding_window": 20}),
        ("gpt_neox", {"use_parallel_residual": False}),
        ("gpt_neox", {"hidden_act": "silu"}),
        ("granite", {"residual_multiplier": 0.5}),
        ("cohere", {"logit_scale": 0.6}),
        ("qwen2_moe", {"norm_topk_prob": True}),
        ("olmoe", {"norm_topk_prob": True}),
        ("llama, rotary scaling yarn", {"rope_parameters": None}),
        ("llama, rotary scaling llama3", {"rope_parameters": {"rope_theta": 500000.0}}),
    ],
)
def test_the_bound_tells_decoders_apart(
    name: str, changes: dict[str, Any], folder: Any, tmp_path: pathlib.Path
) -> None:
    """A decoder that differs in a single number is beyond it."""
    right = folder(name)
    wrong = tmp_path / "wrong"
    wrong.mkdir()
    for file in right.iterdir():
        (wrong / file.name).symlink_to(file)
    config = json.loads((right / "config.json").read_text()) | changes
    (wrong / "config.json").unlink()
    (wrong / "config.json").write_text(json.dumps(config))
    divergence = measured(wrong, right)[0]
    assert divergence > MAX_DIVERGENCE


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "gpt_neox", "gpt2", "olmo2", "qwen2_moe"])
def test_texts_come_back(name: str, folder: Any) -> None:
    model = convert(read_source(folder(name)))
    text = "The cat sat on the mat \u2014 na\u00efve, \U0001f600\n".encode() * 8 + bytes(range(256))
    packed = llmzip.compress(text, model=model, codec="llm")
    assert llmzip.decompress(packed, model=model) == text


@pytest.mark.parametrize(
    ("name", "older"),
    [
        (
            "gemma3",
            {"rope_parameters": None, "rope_theta": 1000000.0, "rope_local_base_freq": 10000.0},
        ),
        ("gemma3", {"layer_types": None, "sliding_window_pattern": 6}),
        ("gemma2", {"layer_types": None}),
        ("smollm3", {"layer_types": None, "no_rope_layers": None, "no_rope_layer_interval": 4}),
        ("gpt_neox", {"rope_parameters": None, "rotary_pct": 0.25, "rotary_emb_base": 10000}),
        (
            "llama, rotary scaling linear, biases",
            {"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 4.0}},
        ),
        ("cohere2", {"layer_types": None}),
        ("olmo3", {"layer_types": None}),
    ],
)
def test_older_configurations_mean_the_same(
    name: str, older: dict[str, Any], folder: Any, tmp_path: pathlib.Path
) -> None:
    found = convert(read_source(folder(name))).fingerprint
    for file in folder(name).iterdir():
        (tmp_path / file.name).symlink_to(file)
    config = json.loads((tmp_path / "config.json").read_text()) | older
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert convert(read_source(tmp_path)).fingerprint == found


@pytest.mark.parametrize(
    ("name", "buffers"),
    [
        ("gpt2", ["transformer.h.0.attn.bias", "h.3.attn.masked_bias"]),
        (
            "gpt_neox",
            [
                "gpt_neox.layers.0.attention.bias",
                "gpt_neox.layers.0.attention.masked_bias",
                "gpt_neox.layers.3.attention.rotary_emb.inv_freq",
            ],
        ),
        ("gemma3", ["vision_tower.vision_model.post_layernorm.bias", "lm_head.weight"]),
    ],
)
def test_what_older_programs_published_changes_nothing(
    name: str, buffers: list[str], folder: Any, tmp_path: pathlib.Path
) -> None:
    found = convert(read_source(folder(name))).fingerprint
    path = tmp_path / "with"
    shutil.copytree(folder(name), path)
    tensors = safetensors.numpy.load_file(path / "model.safetensors")
    for buffer in buffers:
        tensors[buffer] = np.zeros((1, 1, 4, 4), np.uint8)
    if name == "gemma3":
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    safetensors.numpy.save_file(tensors, path / "model.safetensors")
    assert convert(read_source(path)).fingerprint == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "model_type 'mamba' .only llama, mistral, qwen2, qwen3"),
        ({"model_type": "deepseek_v3"}, "model_type 'deepseek_v3' .only .*mixtral, qwen2_moe"),
        ({"model_type": "mixtral"}, "'num_experts' is missing"),
        ({"model_type": "mixtral", **_EXPERTS, "num_experts_per_tok": 5}, "experts_used is 5"),
        ({"model_type": "mixtral", **_EXPERTS, "num_local_experts": 1025}, "experts is 1025"),
        ({"model_type": "olmoe", **_EXPERTS, "clip_qkv": 8.0}, "clip_qkv 8.0 .only None"),
        ({"model_type": "olmoe", **_EXPERTS, "norm_topk_prob": 1}, "norm_topk_prob is 1"),
        ({"model_type": "qwen3_moe", "mlp_only_layers": "all"}, "mlp_only_layers is 'all'"),
        ({"hidden_act": "relu"}, "hidden_act 'relu' .only silu"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "'dynamic'.; supported: default"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, "'low_freq_factor' is missing"),
        ({"rope_scaling": {"type": "linear", "factor": 1e30}}, "scaled rotary positions: Linear"),
        ({"rope_scaling": {"type": "linear", "factor": 0.25}}, "a frequency above 1"),
        ({"rope_scaling": {"type": "longrope", "short_factor": "x"}}, "short_factor is 'x'"),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1.0]}}, "1 factors for 8"),
        ({"partial_rotary_factor": 0.01}, "rotary positions on 0 dimensions"),
        ({"partial_rotary_factor": 1.5}, "rotary positions on 24 of 16"),
        ({"attention_bias": "yes"}, "attention_bias is 'yes': not understood"),
        ({"layer_types": ["linear_attention"] * 2}, "layers of the type 'linear_attention'"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries for 2 layers"),
        ({"layer_types": ["sliding_attention"] * 2}, "but no sliding_window"),
        ({"model_type": "phi", "qk_layernorm": True}, "qk_layernorm True .only False"),
        ({"model_type": "olmo2", "clip_qkv": 8.0}, "clip_qkv 8.0"),
        ({"model_type": "granite", "residual_multiplier": 0}, "residual_multiplier is 0"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized weights"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(
    tmp_path: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make())
    config = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match=message):
        convert(read_source(path))
