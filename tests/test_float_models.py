"""Float models of others: what is refused, in one line, and that nothing in a folder is run."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Callable
from typing import Any

import click.testing
import pytest
import torch
import transformers

from llmzip.cli.main import llmzip as command
from llmzip.errors import ModelNotFoundError, UnsupportedModelError
from llmzip.scoring.float_loader import load_float
from tests import tiny

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 269060552\n"
RUNS = "raise SystemExit('code of the folder was run')"


def configured(**changes: Any) -> Callable[[pathlib.Path], None]:
    """What changes entries of config.json."""

    def change(folder: pathlib.Path) -> None:
        file = folder / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return change


def containing(name: str, text: str) -> Callable[[pathlib.Path], object]:
    return lambda folder: (folder / name).write_text(text)


def without_weights(folder: pathlib.Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled(folder: pathlib.Path) -> None:
    weights = transformers.LlamaForCausalLM.from_pretrained(folder).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    without_weights(folder)


def with_own_code(folder: pathlib.Path) -> None:
    (folder / "own.py").write_text(RUNS)
    configured(
        model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}
    )(folder)


def with_code_elsewhere(folder: pathlib.Path) -> None:
    configured(model_type="own", auto_map={"AutoConfig": "owner/name--own.Config"})(folder)


def mamba(folder: pathlib.Path) -> None:
    config = transformers.MambaConfig(
        vocab_size=268, hidden_size=16, num_hidden_layers=1, state_size=4
    )
    transformers.MambaForCausalLM(config).save_pretrained(folder)


def rwkv(folder: pathlib.Path) -> None:
    config = transformers.RwkvConfig(
        vocab_size=268, hidden_size=16, num_hidden_layers=2, attention_hidden_size=16
    )
    transformers.RwkvForCausalLM(config).save_pretrained(folder)


def no_language_model(folder: pathlib.Path) -> None:
    configured(model_type="clip")(folder)


def with_fewer_tensors(folder: pathlib.Path) -> None:
    model = tiny.make()
    del model.tensors["model.layers.1.mlp.up_proj.weight"]
    tiny.write_directory(folder, model)


def without_a_head(folder: pathlib.Path) -> None:
    model = tiny.make(tied=False)
    del model.tensors["lm_head.weight"]
    tiny.write_directory(folder, model)


def with_another_head(folder: pathlib.Path) -> None:
    model = tiny.make(tied=False)
    model.tensors["lm_head.weight"] = model.tensors["lm_head.weight"][:, :32]
    tiny.write_directory(folder, model)


def more_tokens_than_the_model(folder: pathlib.Path) -> None:
    file = folder / "tokenizer.json"
    words = json.loads(file.read_text())
    words["model"]["vocab"]["more"] = 268
    file.write_text(json.dumps(words))


def encoder(folder: pathlib.Path) -> None:
    config = transformers.BertConfig(
        vocab_size=268,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    config.initializer_range = 0.5
    transformers.BertLMHeadModel(config).save_pretrained(folder)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (containing("model.safetensors", POINTER), "model.safetensors: only a git-LFS pointer"),
        (containing("tokenizer.json", POINTER), "tokenizer.json: only a git-LFS pointer"),
        (containing("config.json", POINTER), "config.json: only a git-LFS pointer"),
        (containing("config.json", "[]"), "config.json: not understood"),
        (containing("config.json", "[" * 100_000), "config.json: not understood"),
        (containing("config.json", "\x00"), "config.json: not understood"),
        (containing("config.json", "{}"), "model_type None is no causal language model"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (configured(model_type=["llama"]), "is no causal language model"),
        (configured(model_type="tomorrow"), "model_type 'tomorrow' is no causal language model"),
        (no_language_model, "model_type 'clip' is no causal language model"),
        (with_own_code, "llmzip runs none"),
        (with_code_elsewhere, "llmzip runs none"),
        (configured(attn_implementation="owner/kernel"), "would be fetched and run"),
        (
            containing("adapter_config.json", '{"base_model_name_or_path": "owner/name"}'),
            "holds an adapter",
        ),
        (pickled, "pytorch_model.bin could run code"),
        (without_weights, "no *.safetensors file"),
        (containing("model.safetensors", ""), "cannot load it"),
        (with_fewer_tensors, "no tensor 'model.layers.1.mlp.up_proj.weight' (1 are missing)"),
        (without_a_head, "no tensor 'lm_head.weight' (1 are missing)"),
        (with_another_head, "tensor 'lm_head.weight' has another shape"),
        (mamba, "num_attention_heads is None"),
        (rwkv, "num_attention_heads is None"),
        (encoder, "BertLMHeadModel predicts differently"),
        (configured(num_attention_heads=0), "model"),
        (configured(num_attention_heads="4"), "model"),
        (configured(hidden_size=None), "model"),
        (configured(max_position_embeddings="many"), "model"),
        (configured(vocab_size=-1), "model"),
        (configured(rope_scaling=7), "model"),
        (configured(bos_token_id=268), "bos_token_id 268 is none of the model's 268 tokens"),
        (configured(bos_token_id=10**12), "bos_token_id 1000000000000"),
        (more_tokens_than_the_model, "269 tokens, the model only 268"),
        (containing("tokenizer.json", "[]"), "tokenizer"),
        (containing("tokenizer.json", '{"model": {"vocab": []}}'), "tokenizer"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer.json"),
    ],
)
def test_a_folder_that_is_no_model_for_us_is_one_line(
    spoil: Callable[[pathlib.Path], object],
    message: str,
    tmp_path: pathlib.Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tiny.write_directory(tmp_path / "model", tiny.make())
    spoil(folder)
    failed = click.testing.CliRunner().invoke(
        command, ["eval", "-m", f"float:{folder}", "-d", "logs:300", "-q"]
    )
    assert "REPORT" not in capfd.readouterr().err  # of transformers, past the runner
    assert isinstance(failed.exception, SystemExit), failed.exception
    assert failed.exit_code == 1
    assert failed.stdout == ""
    assert message in failed.stderr
    assert str(folder) in failed.stderr
    assert len(failed.stderr.splitlines()) == 1, failed.stderr


@pytest.mark.parametrize("content", [POINTER.encode(), b"", b"GGUF", b"GGUF" + b"\xff" * 100])
def test_a_gguf_file_that_is_none_is_refused(content: bytes, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(UnsupportedModelError, match=r"model\.gguf"):
        load_float(str(path))


def test_a_known_architecture_is_loaded_without_the_code_beside_it(tmp_path: pathlib.Path) -> None:
    folder = tiny.write_directory(tmp_path / "model", tiny.make())
    (folder / "own.py").write_text(RUNS)
    configured(auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})(folder)
    assert type(load_float(str(folder)).model) is transformers.LlamaForCausalLM


def test_no_name_is_no_folder() -> None:
    with pytest.raises(ModelNotFoundError, match="no float model ''"):
        load_float("")
