"""Models with outliers: what mends them is chosen by exact measures, and is part of the model."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

import click.testing
import numpy as np
import pytest
import safetensors.numpy

import llmzip
from llmzip.cli.models import models
from llmzip.errors import ModelNotFoundError
from llmzip.model.convert import convert
from llmzip.model.features import PLAIN
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.model.sources import read_source
from llmzip.model.store import ModelStore
from llmzip.scoring.mending import LIMIT, _log2, _Search, mended

TRAINED = pathlib.Path(__file__).parent / "data" / "tiny"


def outliers(path: pathlib.Path, part: str) -> pathlib.Path:
    """The trained tiny model, computing the same with outliers: in its keys, in what `down` reads,
    or in the values of one head.
    """
    file = SafetensorsFile(TRAINED / "model.safetensors")
    tensors = {name: file.tensor(name).astype(np.float32) for name in file.names}
    config = json.loads((TRAINED / "config.json").read_text())
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        if part == "keys":
            for j in (1, 1 + size // 2):  # they turn together
                keys = tensors[layer + "self_attn.k_proj.weight"].reshape(groups, size, -1)
                queries = tensors[layer + "self_attn.q_proj.weight"].reshape(heads, size, -1)
                keys[:, j] *= 64
                queries[:, j] /= 64
        elif part == "down":
            tensors[layer + "mlp.up_proj.weight"][5] *= 1000
            tensors[layer + "mlp.down_proj.weight"][:, 5] /= 1000
        else:
            shared = heads // groups * size
            tensors[layer + "self_attn.v_proj.weight"][:size] *= 64
            tensors[layer + "self_attn.o_proj.weight"][:, :shared] /= 64
    path.mkdir()
    safetensors.numpy.save_file(tensors, path / "model.safetensors")
    for name in ("config.json", "tokenizer.json"):
        (path / name).write_bytes((TRAINED / name).read_bytes())
    return path


def losses(path: pathlib.Path) -> tuple[float, float, dict[str, Any]]:
    """Before and after, by the exact measure, and the features that were chosen."""
    source = read_source(path)
    search = _Search(source, convert(source), None)
    changes = search.changes()
    return search._loss({}), search._loss(changes), changes


def test_a_model_without_outliers_stays_as_it_is() -> None:
    source = read_source(TRAINED)
    model = convert(source)
    assert mended(source, model) is model


@pytest.mark.parametrize(
    ("part", "by"),
    [("keys", "rotated_keys"), ("down", "layers.1.down"), ("values", "layers.1.o")],
)
def test_outliers_are_mended(part: str, by: str, tmp_path: pathlib.Path) -> None:
    before, after, changes = losses(outliers(tmp_path / "m", part))
    assert before > 4 * LIMIT
    assert after < before / 3
    assert changes.get(by) or by in changes["wide_inputs"]
    assert len(changes["wide_inputs"]) <= 2  # of eight


def test_the_choice_is_a_models_own_and_exact(tmp_path: pathlib.Path) -> None:
    """Made again, and by the other engine, it is the same; and it is converted from the
    specification alone.
    """
    source = read_source(outliers(tmp_path / "m", "keys"))
    model = convert(source)
    found = mended(source, model)
    assert found.fingerprint != model.fingerprint
    assert mended(source, model).fingerprint == found.fingerprint
    assert found.spec.features != PLAIN
    assert convert(dataclasses.replace(source, spec=found.spec)).fingerprint == found.fingerprint


def test_logarithms() -> None:
    x = np.concatenate([np.geomspace(1e-12, 1.0, 1000), 2.0 ** np.arange(-30.0, 1.0)])
    np.testing.assert_allclose(_log2(x), np.log2(x), atol=1e-8)


def test_both_models_are_installed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was coded with either decodes; the folder's name means the mended one."""
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    path = str(outliers(tmp_path / "m", "keys"))
    run = click.testing.CliRunner().invoke
    assert run(models, ["pull", path]).exit_code == 0
    text = b"A harbour at the mouth of a slow river.\n" * 9
    plain = llmzip.compress(text, model=ModelStore().resolve(path), codec="llm")
    result = run(models, ["pull", "--mend", path])
    assert result.exit_code == 0, result.output
    assert "mended: " in result.stderr and "rotated_keys" in result.stderr
    packed = llmzip.compress(text, model=ModelStore().resolve(path), codec="llm")
    assert len(ModelStore().list()) == 2
    assert llmzip.decompress(plain) == llmzip.decompress(packed) == text
    names = [llmzip.get_frame_info(one).model or "" for one in (plain, packed)]
    assert names[0] != names[1]
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "elsewhere"))
    run(models, ["pull", path])
    with pytest.raises(ModelNotFoundError, match="with --mend"):
        ModelStore().find(bytes.fromhex(names[1]))


def test_convert_says_what_it_cost_before(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    path = str(outliers(tmp_path / "m", "keys"))
    result = click.testing.CliRunner().invoke(
        models, ["convert", path, "-d", "python-topics:2000", "--json"]
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["cost_before_mending"] > 2 * found["cost"]
    assert found["mended_by"]["rotated_keys"] is True
