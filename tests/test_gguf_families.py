"""GGUF files of each architecture: the same weights are the same model as in a folder; what no
feature explains is refused; every quantization is read as the package gguf reads it.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt
import pytest

from llmzip.errors import UnsupportedModelError
from llmzip.model.convert import convert
from llmzip.model.float_model import FloatModel
from llmzip.model.gguf_families import ARCHITECTURES
from llmzip.model.gguf_file import GGUFFile
from llmzip.model.sources import read_source
from tests import tiny
from tests.family_models import write

T = gguf.MODEL_TENSOR
PARTS: Mapping[str, Any] = {
    "embedding": T.TOKEN_EMBD,
    "positions": T.POS_EMBD,
    "norm": T.OUTPUT_NORM,
    "head": T.OUTPUT,
    "attention_norm": T.ATTN_NORM,
    "mlp_norm": T.FFN_NORM,
    "attention_post_norm": T.ATTN_POST_NORM,
    "mlp_post_norm": T.FFN_POST_NORM,
    "q": T.ATTN_Q,
    "k": T.ATTN_K,
    "v": T.ATTN_V,
    "o": T.ATTN_OUT,
    "q_norm": T.ATTN_Q_NORM,
    "k_norm": T.ATTN_K_NORM,
    "gate": T.FFN_GATE,
    "up": T.FFN_UP,
    "down": T.FFN_DOWN,
    "router": T.FFN_GATE_INP,
    "experts_gate": T.FFN_GATE_EXP,
    "experts_up": T.FFN_UP_EXP,
    "experts_down": T.FFN_DOWN_EXP,
    "shared_router": T.FFN_GATE_INP_SHEXP,
    "shared_gate": T.FFN_GATE_SHEXP,
    "shared_up": T.FFN_UP_SHEXP,
    "shared_down": T.FFN_DOWN_SHEXP,
}
"""Our parts -> the names of the package gguf, which are llama.cpp's."""

FOLDERS: Mapping[str, str] = {
    "llama": "llama, rotary scaling linear, biases",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "smollm3": "smollm3",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3",
    "granite": "granite",
    "qwen2moe": "qwen2_moe",
    "qwen3moe": "qwen3_moe",
    "olmoe": "olmoe",
    "granitemoe": "granitemoeshared",
    "olmo2": "olmo3",
    "phi3": "phi3, rotary scaling longrope",
    "stablelm": "stablelm, in parallel",
    "starcoder2": "starcoder2",
    "command-r": "cohere",
    "cohere2": "cohere2",
    "gptneox": "gpt_neox",
    "gpt2": "gpt2",
}
"""Architectures -> the models of `family_models` that are written."""

NEIGHBORS_TURN = ("llama", "smollm3", "granite", "granitemoe", "command-r", "cohere2")
STACKED = ("phi3", "gptneox", "gpt2")
UNGATED = ("starcoder2", "gptneox", "gpt2")

Tensors = dict[str, npt.NDArray[np.float32]]


def stored_name(part: str, layer: str) -> str:
    return str(gguf.TENSOR_NAMES[PARTS[part]].format(bid=layer))


def neighbors(array: npt.NDArray[Any], head_dim: int) -> npt.NDArray[Any]:
    halves = array.reshape(-1, 2, head_dim // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(array.shape)


def tensors_of(architecture: str, floats: FloatModel, tied: bool) -> Tensors:
    """The tensors as llama.cpp's converter writes them."""
    found: Tensors = {}
    stacks: dict[str, list[npt.NDArray[Any]]] = {}
    experts: dict[str, list[npt.NDArray[Any]]] = {}
    size = floats.spec.head_dim
    shared = floats.spec.features.parallel and architecture != "gptneox"
    for name in floats.names():
        layer = name.split(".")[1] if name.startswith("layers.") else ""
        kind = "bias" if name.endswith(".bias") else "weight"
        part = name.removesuffix(".bias").split(".")[2 if layer else 0]
        array = np.asarray(floats.tensor(name), np.float32)
        if part.startswith("experts_"):
            experts.setdefault(f"{stored_name(part, layer)}.{kind}", []).append(array)
            continue
        if part == "shared_router":
            array = array[0]
        if part in "qk" and architecture in NEIGHBORS_TURN:
            array = neighbors(array, size)
        if (part == "head" and tied) or (part == "mlp_norm" and shared):
            continue
        if part in "qkv" and architecture in STACKED:
            stacks.setdefault(f"blk.{layer}.attn_qkv.{kind}", []).append(array)
        elif part in ("gate", "up") and architecture == "phi3":
            stacks.setdefault(f"blk.{layer}.ffn_up.{kind}", []).append(array)
        else:
            part = "up" if part == "gate" and architecture in UNGATED else part
            found[f"{stored_name(part, layer)}.{kind}"] = array
    found |= {name: np.concatenate(arrays) for name, arrays in stacks.items()}
    return found | {name: np.stack(arrays) for name, arrays in experts.items()}


def write_gguf(
    path: pathlib.Path,
    architecture: str,
    folder: pathlib.Path,
    change: Callable[[Tensors], object] = lambda tensors: None,
    **fields: Any,
) -> pathlib.Path:
    """Write the model in a folder as a GGUF file; fields: of the architecture, beside the usual."""
    config, floats = json.loads((folder / "config.json").read_text()), read_source(folder)
    spec, writer = floats.spec, gguf.GGUFWriter(path, architecture)
    features = spec.features
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)
    shape: dict[str, Any] = {
        "block_count": spec.layers,
        "context_length": config.get("max_position_embeddings") or config["n_positions"],
        "embedding_length": spec.d_model,
        "feed_forward_length": spec.d_ff,
        "attention.head_count": spec.heads,
        "attention.head_count_kv": spec.kv_heads,
        "attention.key_length": spec.head_dim,
    }
    if features.experts:
        shape["expert_count"], shape["expert_used_count"] = features.experts, features.experts_used
    if architecture.startswith("qwen") and features.experts:
        shape["expert_feed_forward_length"] = features.expert_ff
    if features.shared_ff:
        shape["expert_shared_feed_forward_length"] = features.shared_ff
    if floats.rotary:
        shape["rope.dimension_count"] = floats.rotary[0].dims
        shape["rope.freq_base"] = float(floats.rope_theta)
    for key in ("sliding_window", "attn_logit_softcapping", "final_logit_softcapping"):
        windows = config.get("use_sliding_window", True) or key != "sliding_window"
        if config.get(key) is not None and windows:
            shape[f"attention.{key}" if key == "sliding_window" else key] = config[key]
    has_mean = floats.recipe.layer_norm
    epsilon = "layer_norm_epsilon" if has_mean else "layer_norm_rms_epsilon"
    shape[f"attention.{epsilon}"] = spec.norm_eps
    for key, value in {**shape, **fields}.items():
        add = {int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        add |= {bool: writer.add_bool}
        add[type(value)](f"{architecture}.{key}", value)
    tokens = tiny.make().tokens
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(list(tokens))
    writer.add_token_types([3 if token in tiny.SPECIAL else 1 for token in tokens])
    writer.add_token_merges(list(tiny.MERGES))
    tensors = tensors_of(architecture, floats, config.get("tie_word_embeddings", False))
    change(tensors)
    for name, array in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


EXTRA: Mapping[str, dict[str, Any]] = {
    "llama": {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    "granite": {
        "attention.scale": 0.2,
        "embedding_scale": 6.0,
        "residual_scale": 0.4,
        "logit_scale": 0.5,
    },
    "granitemoe": {
        "attention.scale": 0.2,
        "embedding_scale": 6.0,
        "residual_scale": 0.4,
        "logit_scale": 0.5,
    },
    "command-r": {"logit_scale": 0.5},
    "cohere2": {"logit_scale": 0.5},
    "stablelm": {"use_parallel_residual": True},
    "gptneox": {"use_parallel_residual": True},
    "phi3": {
        "rope.scaling.original_context_length": 128,
        "rope.scaling.attn_factor": 1.1338934190276817,
    },
}
"""What a file says beside its shape."""

APPROXIMATE = ("granite", "granitemoe", "gemma2", "gemma3", "phi3")
"""A number of these is float32 in GGUF and a decimal fraction in config.json, or is not in GGUF at
all: scales of rows, and gains of heads, may differ a little.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    written: dict[str, pathlib.Path] = {}

    def get(name: str) -> pathlib.Path:
        if name not in written:
            written[name] = write(name, tmp_path_factory.mktemp("family"))
        return written[name]

    return get


def longrope(tensors: Tensors) -> None:
    tensors["rope_factors_short.weight"] = np.array([1.0, 1.1, 1.3, 1.5, 2.0, 3.0], np.float32)
    tensors["rope_factors_long.weight"] = np.full(6, 2.0, np.float32)


def test_every_architecture_is_tried() -> None:
    assert FOLDERS.keys() == ARCHITECTURES.keys()


@pytest.mark.parametrize("architecture", FOLDERS)
def test_the_same_weights_are_the_same_model(
    architecture: str, folder: Any, tmp_path: pathlib.Path
) -> None:
    source = folder(FOLDERS[architecture])
    if architecture == "qwen2":  # GGUF has no word for layers with and without a window
        config = json.loads((source / "config.json").read_text())
        config |= {"use_sliding_window": False, "layer_types": None}
        (tmp_path / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
        (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
        (tmp_path / "config.json").write_text(json.dumps(config))
        source = tmp_path
    if architecture in ("gemma2", "gemma3"):  # nor for the scale of scores
        config = json.loads((source / "config.json").read_text())
        config["query_pre_attn_scalar"] = config["head_dim"]
        (tmp_path / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes())
        (tmp_path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes())
        (tmp_path / "config.json").write_text(json.dumps(config))
        source = tmp_path
    change = longrope if architecture == "phi3" else (lambda tensors: None)
    path = write_gguf(
        tmp_path / "m.gguf", architecture, source, change, **EXTRA.get(architecture, {})
    )
    found, expected = convert(read_source(path)), convert(read_source(source))
    assert found.spec == expected.spec
    assert found.vocabulary.token_bytes == expected.vocabulary.token_bytes
    if architecture not in APPROXIMATE:
        assert found.fingerprint == expected.fingerprint
    for name, array in expected.tensors.items():
        if array.dtype == np.float32:
            np.testing.assert_allclose(found.tensors[name], array, rtol=1e-6, err_msg=name)
        else:
            apart = np.abs(found.tensors[name].astype(np.int32) - array).max()
            assert apart <= (architecture in APPROXIMATE), name


def test_mixtral_is_a_llama_with_experts(folder: Any, tmp_path: pathlib.Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", folder("mixtral"))
    assert (
        convert(read_source(path)).fingerprint
        == convert(read_source(folder("mixtral"))).fingerprint
    )


def test_llama_3_stores_divisors(folder: Any, tmp_path: pathlib.Path) -> None:
    """A tensor of divisors stands for the scaling; equal ones are the linear one."""
    source = folder(FOLDERS["llama"])

    def divide(tensors: Tensors) -> None:
        tensors["rope_freqs.weight"] = np.full(8, 4.0, np.float32)

    path = write_gguf(tmp_path / "m.gguf", "llama", source, divide)
    assert convert(read_source(path)).fingerprint == convert(read_source(source)).fingerprint


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        ("qwen3", "blk.1.attn_sub_norm.weight"),
        ("llama", "blk.0.attn_q_norm.weight"),
        ("command-r", "blk.0.attn_k_norm.weight"),
        ("qwen2", "blk.3.ffn_gate_inp.weight"),
        ("qwen3", "blk.2.attn_q.bias"),
    ],
)
def test_a_tensor_that_no_feature_explains_is_refused(
    architecture: str, name: str, folder: Any, tmp_path: pathlib.Path
) -> None:
    def add(tensors: Tensors) -> None:
        tensors[name] = np.ones(64, np.float32)

    extra = EXTRA.get(architecture, {})
    path = write_gguf(
        tmp_path / "m.gguf", architecture, folder(FOLDERS[architecture]), add, **extra
    )
    with pytest.raises(UnsupportedModelError, match=f"'{name}': no part of {architecture}"):
        read_source(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rope.scaling.type": "dynamic"}, "scaled rotary positions .'dynamic'"),
        ({"rope.dimension_count": 8}, "rotary positions on a part"),
        ({"attention.head_count": 0}, "attention.head_count is 0"),
    ],
)
def test_what_is_not_covered(
    fields: dict[str, Any], message: str, folder: Any, tmp_path: pathlib.Path
) -> None:
    path = write_gguf(tmp_path / "m.gguf", "llama", folder(FOLDERS["llama"]), **fields)
    with pytest.raises(UnsupportedModelError, match=message):
        read_source(path)


def test_an_architecture_that_is_not_covered(folder: Any, tmp_path: pathlib.Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", "deepseek2", folder("qwen3"))
    with pytest.raises(
        UnsupportedModelError, match=r"'deepseek2' is not supported \(only llama, qwe"
    ):
        read_source(path)


QUANTIZATIONS = (
    *("F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"),
    *("Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS"),
    *("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "TQ1_0", "TQ2_0"),
)


@pytest.mark.parametrize("name", QUANTIZATIONS)
def test_every_quantization_is_read(name: str, tmp_path: pathlib.Path) -> None:
    kind = gguf.GGMLQuantizationType[name]
    block, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = np.random.default_rng(1).integers(0, 256, (2, 1024 // block * size)).astype(np.uint8)
    if name in ("F32", "F16", "BF16"):
        blocks &= 0x3F  # finite numbers
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("token_embd.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with np.errstate(all="ignore"):  # random scales may be infinite
        found = GGUFFile(tmp_path / "m.gguf").tensor("token_embd.weight")
        np.testing.assert_array_equal(found, gguf.dequantize(blocks, kind))
    assert found.shape == (2, 1024)
