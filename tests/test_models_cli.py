"""`llmzip models` as a user types it."""

from __future__ import annotations

import json
import pathlib
import pty
import subprocess
import sys

import click.testing
import pytest

from llmzip.cli.models import models
from llmzip.model import registry
from llmzip.model.hub_models import HUB_MODELS
from llmzip.model.integer_model import MODEL_FILE
from tests import tiny
from tests.test_sources import FINGERPRINT


@pytest.fixture(autouse=True)
def cache(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> str:
    return str(tiny.write_directory(tmp_path / "tiny-llama", tiny.make()))


def run(*args: str) -> click.testing.Result:
    result = click.testing.CliRunner().invoke(models, args)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_pull_list_show_remove(directory: str) -> None:
    result = run("pull", directory)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"tiny-llama {FINGERPRINT[:16]} is installed (0.1 MiB)\n"

    head, installed, available, older, *hub = run("list").stdout.splitlines()
    assert [line.split()[0] for line in hub] == [model.name for model in HUB_MODELS]
    assert head.split() == ["NAME", "FINGERPRINT", "SIZE", "STATE", "SOURCE"]
    assert installed.split() == ["tiny-llama", FINGERPRINT[:16], "0.1", "MiB", "ready", directory]
    assert available.split()[0] == registry.DEFAULT_MODEL
    assert "not installed" in available and "not installed" in older

    shown = run("show", "tiny-llama").stdout
    assert f"fingerprint:     {FINGERPRINT}\n" in shown
    assert "commit:          -\n" in shown
    assert "d_model:         64\n" in shown

    result = run("remove", FINGERPRINT[:8])
    assert (result.exit_code, result.stderr) == (0, f"tiny-llama {FINGERPRINT[:16]} is removed\n")
    assert len(run("list").stdout.splitlines()) == 1 + len(registry.REGISTRY) + len(HUB_MODELS)


def test_convert_measures_what_the_integers_cost() -> None:
    pytest.importorskip("transformers")
    trained = str(pathlib.Path(__file__).parent / "data" / "tiny")
    found = json.loads(run("convert", trained, "-d", "python-topics:3000", "--json").stdout)
    assert found["sample_bytes"] == 3000
    assert 1.0 < found["float32_bits_per_byte"] < 4.0
    assert -0.01 < found["cost"] < 0.03
    said = run("convert", trained, "-d", "python-topics:3000").stdout
    assert f"float32 {found['float32_bits_per_byte']:.4f} bits/byte, integers" in said
    assert run("convert", trained, "-d", "nowhere").exit_code == 1


def test_json(directory: str) -> None:
    run("pull", directory)
    installed, available, _, *_hub = json.loads(run("list", "--json").stdout)
    assert (installed["name"], installed["fingerprint"], installed["state"]) == (
        "tiny-llama",
        FINGERPRINT,
        "ready",
    )
    assert (available["name"], available["state"]) == (registry.DEFAULT_MODEL, "not installed")
    assert available.keys() <= installed.keys()
    shown = json.loads(run("show", "--json", directory).stdout)
    assert {k: shown[k] for k in installed} == installed
    assert shown["spec"]["d_model"] == 64


def test_show_a_registered_model_that_is_not_installed() -> None:
    shown = json.loads(run("show", "--json", "smollm2-135m").stdout)
    assert (shown["name"], shown["state"], shown["license"]) == (
        "smollm2-135m-instruct",
        "not installed",
        "Apache-2.0",
    )
    assert "aliases:         smollm2-135m\n" in run("show", "smollm2-135m").stdout


@pytest.mark.parametrize("command", ["pull", "show", "remove"])
def test_errors_are_one_line_and_exit_1(command: str) -> None:
    result = run(command, "nothing")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("llmzip: no ")
    assert "Traceback" not in result.stderr


def test_offline_pull() -> None:
    result = run("pull", "--offline", registry.DEFAULT_MODEL)
    assert result.exit_code == 1
    assert "downloads are forbidden (offline)" in result.stderr


def test_a_cache_that_cannot_be_written(directory: str, cache: pathlib.Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    result = run("pull", directory)
    assert result.exit_code == 1
    assert result.stderr.startswith("llmzip: ")


def test_damage_is_reported_and_removable(directory: str, cache: pathlib.Path) -> None:
    run("pull", directory)
    (cache / FINGERPRINT / MODEL_FILE).write_bytes(b"damaged")
    result = run("show", "tiny-llama")
    assert result.exit_code == 1
    assert f"run `llmzip models pull {directory}`" in result.stderr
    (cache / FINGERPRINT / "entry.json").unlink()
    assert "damaged" in run("list").stdout
    assert run("remove", FINGERPRINT).exit_code == 0


@pytest.mark.parametrize(
    "args", [["pull"], ["pull", "a", "b"], ["show", "--nothing", "a"], ["nothing"]]
)
def test_usage_errors_exit_2(args: list[str]) -> None:
    assert run(*args).exit_code == 2


def test_progress_bars_on_a_terminal_only(directory: str) -> None:
    """The bars go to stderr, here a pseudo-terminal."""
    script = "import sys; from llmzip.cli.models import models; models(['pull', sys.argv[1]])"
    master, terminal = pty.openpty()
    with open(master, "rb", buffering=0) as screen:  # noqa: PTH123 - a descriptor, not a path
        with open(terminal, "wb", buffering=0) as stderr:  # noqa: PTH123
            command = [sys.executable, "-c", script, directory]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=stderr, check=True)
        shown = screen.read(1 << 16)
    assert b"convert" in shown
    assert b"is installed" in shown


def test_export_and_import(
    directory: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("pull", directory)
    file = tmp_path / "carried.model"
    assert run("export", "tiny-llama", str(file)).exit_code == 0
    again = run("export", "tiny-llama", str(file))
    assert again.exit_code == 1 and f"{file}: exists already" in again.stderr
    assert run("export", "-f", FINGERPRINT[:8], str(file)).exit_code == 0
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []

    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "other machine"))
    result = run("import", str(file), "--name", "theirs")
    assert result.stderr == f"theirs {FINGERPRINT[:16]} is installed (0.1 MiB)\n"
    assert f"fingerprint:     {FINGERPRINT}\n" in run("show", "theirs").stdout
    for arguments in (["import", str(file)], ["pull", directory]):
        kept = run(*arguments, "--name", "another")
        assert kept.exit_code == 0
        assert "keeps its name, theirs: to call it another" in kept.stderr
    assert "file carried.model" in run("list").stdout

    content = bytearray(file.read_bytes())
    content[-9] ^= 1
    file.write_bytes(content)
    for data in (bytes(content), b"", b"text"):
        file.write_bytes(data)
        result = run("import", str(file))
        assert result.exit_code != 0
        assert "not a file that `llmzip models export` wrote" in result.stderr
        assert result.stderr.count("\n") == 1
    missing = run("export", "nothing-here", str(tmp_path / "x"))
    assert missing.exit_code != 0 and not (tmp_path / "x").exists()
