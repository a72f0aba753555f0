"""LoRA folders of the package peft: merged exactly, or refused by name."""

from __future__ import annotations

import json
import math
import pathlib
import shutil
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click.testing
import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy

from llmzip.cli.models import models
from llmzip.errors import UnsupportedModelError
from llmzip.model.convert import convert
from llmzip.model.peft_folder import LowRank, read_peft
from llmzip.model.sources import read_source
from llmzip.model.store import ModelStore
from tests import tiny
from tests.family_models import write

Tensors = dict[str, npt.NDArray[Any]]
PREFIX = "base_model.model."
LAYER = "model.layers.0.self_attn"
FINGERPRINT = "5f74a42a6c155505120efca323c077cf9ea56bd71a89724fe1b9f29448021f00"
"""Of tiny.make() with `adapter()`: it changes with the arithmetic, and only then."""


def config(**changes: Any) -> dict[str, Any]:
    """As peft 0.21 writes it, the keys that say something and some that do not."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "somebody/tiny",
        "bias": "none",
        "fan_in_fan_out": False,
        "init_lora_weights": True,
        "lora_alpha": 12,
        "lora_bias": False,
        "lora_dropout": 0.05,
        "loftq_config": {},
        "megatron_config": None,
        "megatron_core": "megatron.core",
        "modules_to_save": None,
        "r": 8,
        "rank_pattern": {},
        "alpha_pattern": {},
        "target_modules": ["q_proj", "down_proj"],
        "use_dora": False,
        "use_rslora": False,
        **changes,
    }


def pair(name: str, outputs: int, inputs: int, r: int = 8, seed: int = 1) -> Tensors:
    rng = np.random.Generator(np.random.PCG64(seed))
    return {
        f"{PREFIX}{name}.lora_A.weight": rng.uniform(-0.3, 0.3, (r, inputs)).astype(np.float32),
        f"{PREFIX}{name}.lora_B.weight": rng.uniform(-0.3, 0.3, (outputs, r)).astype(np.float32),
    }


def adapter() -> Tensors:
    """Of tiny.make(): two modules."""
    return pair(f"{LAYER}.q_proj", 64, 64) | pair("model.layers.1.mlp.down_proj", 64, 128)


def save(path: pathlib.Path, tensors: Tensors, **changes: Any) -> pathlib.Path:
    path.mkdir(exist_ok=True)
    (path / "adapter_config.json").write_text(json.dumps(config(**changes)))
    safetensors.numpy.save_file(tensors, path / "adapter_model.safetensors")
    return path


@pytest.fixture(name="base")
def base_folder(tmp_path: pathlib.Path) -> pathlib.Path:
    return tiny.write_directory(tmp_path / "base", tiny.make())


def difference(base: pathlib.Path, folder: pathlib.Path, name: str) -> npt.NDArray[np.float64]:
    """What the adapter adds to a tensor."""
    plain, changed = read_source(base), read_source(base, read_peft(folder))
    return changed.tensor(name).astype(np.float64) - plain.tensor(name).astype(np.float64)


def test_merging_is_pinned(base: pathlib.Path, tmp_path: pathlib.Path) -> None:
    model = convert(read_source(base, read_peft(save(tmp_path / "a", adapter()))))
    assert model.fingerprint.hex() == FINGERPRINT


@pytest.mark.parametrize("transposed", [False, True])
def test_every_number_is_rounded_as_the_specification_says(transposed: bool) -> None:
    """With rational numbers: products exact, sums in the order of the rank, rounded each time."""
    rng = np.random.Generator(np.random.PCG64(7))
    a, b, w = (rng.normal(size=shape).astype(np.float32) for shape in ((5, 9), (70, 5), (70, 9)))
    scale = 16 / math.sqrt(5)
    product = LowRank(b, a, scale)
    found = product.added(w.T, True).T if transposed else product.added(w, False)
    for n, k in ((0, 0), (63, 8), (64, 3), (69, 8)):
        total = 0.0
        for r in range(5):
            total = float(Fraction(total) + Fraction(float(b[n, r])) * Fraction(float(a[r, k])))
        total = float(Fraction(scale) * Fraction(total))
        assert found[n, k] == float(Fraction(float(w[n, k])) + Fraction(total))


def test_only_what_is_named_changes(base: pathlib.Path, tmp_path: pathlib.Path) -> None:
    tensors = adapter()
    folder = save(tmp_path / "a", tensors)
    changed = {n for n in read_source(base).names() if difference(base, folder, n).any()}
    assert changed == {"layers.0.q", "layers.1.down"}
    a, b = (tensors[f"{PREFIX}{LAYER}.q_proj.lora_{side}.weight"] for side in "AB")
    expected = 1.5 * (b.astype(np.float64) @ a.astype(np.float64))
    np.testing.assert_allclose(difference(base, folder, "layers.0.q"), expected, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "rank", "scale"),
    [
        ({"use_rslora": True, "lora_alpha": 4}, 8, 4 / math.sqrt(8)),
        ({"rank_pattern": {"q_proj": 2}}, 2, 6.0),
        ({"rank_pattern": {"self_attn.q_proj": 2}, "alpha_pattern": {"q_proj": 3}}, 2, 1.5),
        ({"alpha_pattern": {"^" + LAYER + ".q_proj": 32}}, 8, 4.0),
        ({"alpha_pattern": {"^q_proj": 32, "proj": 99, "v_proj": 1}}, 8, 1.5),
        ({"fan_in_fan_out": True}, 8, 1.5),
    ],
)
def test_scales(
    base: pathlib.Path, tmp_path: pathlib.Path, changes: dict[str, Any], rank: int, scale: float
) -> None:
    tensors = pair(f"{LAYER}.q_proj", 64, 64, rank)
    a, b = (array.astype(np.float64) for array in tensors.values())
    found = difference(base, save(tmp_path / "a", tensors, **changes), "layers.0.q")
    np.testing.assert_allclose(found, scale * (b @ a), atol=1e-12)


def test_a_tied_head_and_the_embedding_change_each_on_its_own(
    base: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    vocab = len(tiny.make().tokens)
    embedding = {
        f"{PREFIX}model.embed_tokens.lora_embedding_{side[-1]}": array.T
        for side, array in (
            ("A", np.ones((vocab, 8), np.float32)),
            ("B", np.full((8, 64), 0.5, np.float32)),
        )
    }
    embedding = {name: np.ascontiguousarray(array) for name, array in embedding.items()}
    # peft saves the base's weights beside a changed embedding, too.
    weight = tiny.make().tensors["model.embed_tokens.weight"]
    for whole in ("model.embed_tokens.base_layer", "lm_head"):
        embedding[f"{PREFIX}{whole}.weight"] = weight
    folder = save(tmp_path / "a", embedding)
    assert (difference(base, folder, "embedding") == 8 * 0.5 * 1.5).all()
    assert not difference(base, folder, "head").any()
    folder = save(tmp_path / "b", pair("lm_head", vocab, 64))
    assert difference(base, folder, "head").any()
    assert not difference(base, folder, "embedding").any()


def test_modules_that_were_trained_whole(base: pathlib.Path, tmp_path: pathlib.Path) -> None:
    norm = np.full(64, 3.0, np.float32)
    tensors = adapter() | {f"{PREFIX}model.norm.weight": norm}
    found = read_source(base, read_peft(save(tmp_path / "a", tensors, modules_to_save=["norm"])))
    np.testing.assert_array_equal(found.tensor("norm"), norm)
    with pytest.raises(UnsupportedModelError, match=r"model\.norm'.*not one of modules_to_save"):
        convert(read_source(base, read_peft(save(tmp_path / "a", tensors))))
    short = tensors | {f"{PREFIX}model.norm.weight": norm[1:]}
    with pytest.raises(UnsupportedModelError, match=r"for shape \(63,\), not \(64,\)"):
        convert(read_source(base, read_peft(save(tmp_path / "a", short, modules_to_save=["norm"]))))


def test_transposed_and_stacked_matrices(tmp_path: pathlib.Path) -> None:
    """GPT-2's are published as [inputs, outputs], queries, keys and values as one."""
    base = write("gpt2", tmp_path / "base")
    tensors = pair("transformer.h.2.attn.c_attn", 192, 64) | pair(
        "transformer.h.0.mlp.c_proj", 64, 256
    )
    a, b, c, d = (array.astype(np.float64) for array in tensors.values())
    folder = save(tmp_path / "a", tensors, fan_in_fan_out=True)
    expected = 1.5 * (b @ a)
    for i, part in enumerate("qkv"):
        found = difference(base, folder, f"layers.2.{part}")
        np.testing.assert_allclose(found, expected[64 * i : 64 * (i + 1)], atol=1e-12)
    found = difference(base, folder, "layers.0.down")
    np.testing.assert_allclose(found, 1.5 * (d @ c), atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3' .only 'LORA'"),
        ({"use_dora": True}, "use_dora True"),
        ({"bias": "all"}, "bias 'all' .only 'none'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights 'pissa', which changes the base"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"a_feature_of_tomorrow": 3}, "a_feature_of_tomorrow 3"),
        ({"r": 4}, r"A of shape \(8, 64\) and B of shape \(64, 8\) for rank 4"),
        ({"r": "8"}, "r is '8': not understood"),
        ({"lora_alpha": None}, "'lora_alpha' is missing"),
        ({"lora_alpha": 1e30}, "beyond 2.20"),
        ({"use_rslora": "yes"}, "use_rslora is 'yes'"),
        ({"modules_to_save": "norm"}, "modules_to_save is 'norm'"),
        ({"rank_pattern": {".*q.*": 8}}, "only names of modules"),
        ({"rank_pattern": [8]}, "not understood"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(
    tmp_path: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        read_peft(save(tmp_path / "a", adapter(), **changes))
    assert str(tmp_path / "a") in str(caught.value)


Q = f"{PREFIX}{LAYER}.q_proj"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | pair(f"{LAYER}.w_pack", 64, 64), r"w_pack', which this model does not have"),
        (lambda t: t | pair("model.layers.2.mlp.up_proj", 64, 64), "layers.2.mlp.up_proj', which"),
        (lambda t: t | pair(f"{LAYER}.k_proj", 64, 64), r"for shape \(64, 64\), not \(32, 64\)"),
        (
            lambda t: t | {f"{Q}.lora_magnitude_vector": t[f"{Q}.lora_A.weight"]},
            "neither a product",
        ),
        (lambda t: t | {"x.lora_A.weight": np.ones((8, 64), np.float32)}, "is no tensor of a LoRA"),
        (
            lambda t: {n: a for n, a in t.items() if n != f"{Q}.lora_B.weight"},
            "not one A and one B",
        ),
        (lambda t: t | {f"{Q}.lora_A.weight": np.full((8, 64), np.nan, np.float32)}, "not finite"),
        (lambda t: t | {f"{Q}.lora_A.weight": np.ones((8, 64), np.int8)}, "int8, not floats"),
        (lambda t: t | {f"{Q}.lora_A.weight": np.ones(8, np.float32)}, r"A of shape \(8,\)"),
        (lambda t: {}, "an adapter without tensors"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    base: pathlib.Path, tmp_path: pathlib.Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    folder = save(tmp_path / "a", change(adapter()))
    with pytest.raises(UnsupportedModelError, match=message) as caught:
        convert(read_source(base, read_peft(folder)))
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("size", [None, 0, 5, 100])
def test_damaged_folders_are_refused(tmp_path: pathlib.Path, name: str, size: int | None) -> None:
    file = save(tmp_path / "a", adapter()) / name
    content = file.read_bytes()
    file.unlink()
    if size is not None:
        file.write_bytes(content[:size])
    with pytest.raises(UnsupportedModelError, match=name):
        read_peft(tmp_path / "a")


def test_mutated_folders_are_refused_or_understood(
    base: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Any byte may be another; what comes is a model or the one error."""
    folder = save(tmp_path / "a", adapter(), rank_pattern={"v_proj": 4})
    rng, refused = np.random.Generator(np.random.PCG64(11)), 0
    for name, first in (("adapter_config.json", 600), ("adapter_model.safetensors", 500)):
        whole = (folder / name).read_bytes()
        for _ in range(150):
            changed = bytearray(whole)
            for place in rng.integers(0, min(first, len(whole)), rng.integers(1, 4)):
                changed[place] = rng.choice([48, 57, 34, 91, 123, 44, 0, 255, rng.integers(256)])
            (folder / name).write_bytes(changed)
            try:
                read_source(base, read_peft(folder)).tensor("layers.0.q")
            except UnsupportedModelError as error:
                assert str(folder) in str(error)
                refused += 1
        (folder / name).write_bytes(whole)
    assert refused > 150


def test_pickled_weights_are_not_read(tmp_path: pathlib.Path) -> None:
    folder = save(tmp_path / "a", adapter())
    shutil.move(folder / "adapter_model.safetensors", folder / "adapter_model.bin")
    with pytest.raises(UnsupportedModelError, match="could run code"):
        read_peft(folder)


def test_a_gguf_file_is_no_base(tmp_path: pathlib.Path) -> None:
    path = tiny.write_gguf(tmp_path / "m.gguf", tiny.make())
    made = read_peft(save(tmp_path / "a", adapter()))
    with pytest.raises(UnsupportedModelError, match="not into a GGUF file"):
        read_source(path, made)


def test_the_command_line(
    base: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    folder = save(tmp_path / "mine", adapter())
    command = ["pull", str(base), "--adapter", str(folder), "--name", "tuned"]
    done = click.testing.CliRunner().invoke(models, command)
    assert done.exit_code == 0, done.output
    (model,) = ModelStore().list()
    assert (model.name, model.fingerprint) == ("tuned", FINGERPRINT)
    assert model.source == f"{base} + mine"
    # Other numbers in the same folder are another model; the same folder is not converted again.
    save(folder, adapter(), lora_alpha=13)
    other = ModelStore().pull(str(base), adapter=folder, label="tuned2")
    assert other.fingerprint != FINGERPRINT
    assert ModelStore().pull(str(base), adapter=folder) == other
    (folder / "adapter_model.safetensors").write_bytes(b"")
    failed = click.testing.CliRunner().invoke(models, command)
    assert failed.exit_code != 0
    assert "adapter_model.safetensors" in failed.output


def test_a_stack_is_merged_once(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries, keys and values are one published matrix of GPT-2."""
    pytest.importorskip("transformers")
    base = write("gpt2", tmp_path / "base")
    folder = save(tmp_path / "a", pair("transformer.h.0.attn.c_attn", 192, 64), target_modules=[])
    merges, added = [], LowRank.added

    def counted(self: LowRank, *args: Any) -> Any:
        merges.append(self)
        return added(self, *args)

    monkeypatch.setattr(LowRank, "added", counted)
    model = read_source(base, read_peft(folder))
    for part in ("q", "k", "v", "q"):
        model.tensor(f"layers.0.{part}")
    assert len(merges) == 1


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_merged_model_is_measured(
    name: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models convert --adapter`: float32 has the adapter, too."""
    pytest.importorskip("transformers")
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    base = write(name, tmp_path / "base")
    modules = {
        "llama": ("model.layers.0.mlp.gate_proj", 192, 64),
        "gpt2": ("transformer.h.0.mlp.c_fc", 256, 64),
    }
    folder = save(tmp_path / "a", pair(*modules[name]))
    run = click.testing.CliRunner().invoke
    options = ["-d", "python-topics:1500", "--json"]
    found = [
        json.loads(run(models, ["convert", str(base), *options, *more]).stdout)
        for more in ([], ["--adapter", str(folder), "--name", "merged"])
    ]
    assert found[1]["name"] == "merged" and found[0]["fingerprint"] != found[1]["fingerprint"]
    plain, merged = (one["float32_bits_per_byte"] for one in found)
    assert abs(plain - merged) > 0.01
    assert all(abs(one["cost"]) < 0.02 for one in found)
    assert abs(merged - found[1]["integer_bits_per_byte"]) < abs(plain - merged), found
    (tmp_path / "file").write_bytes(b"")
    refused = run(models, ["convert", str(base), "--adapter", str(tmp_path / "file")])
    assert refused.exit_code == 1 and "not a folder with a LoRA" in refused.stderr
