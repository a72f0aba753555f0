"""Without packages that are optional: one error, which names the cure."""

from __future__ import annotations

import importlib.util
import pathlib
import sys

import pytest

import llmzip
from llmzip import engine_loader
from llmzip.extras import needing
from llmzip.model.integer_model import IntegerModel
from tests.command import run
from tests.conftest import TINY_DIRECTORY


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the light installation; no engine is loaded."""
    found = importlib.util.find_spec
    for name in [
        name for name in sys.modules if name.startswith(("llmzip.tuning", "llmzip.scoring.float"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    for package, name in (
        ("evaluation", "cache_damage"),
        ("evaluation", "dimension"),
        ("scoring", "hidden_states"),
    ):
        monkeypatch.delitem(sys.modules, f"llmzip.{package}.{name}", raising=False)
        if parent := sys.modules.get(f"llmzip.{package}"):
            monkeypatch.delattr(parent, name, raising=False)
    if found("scipy"):
        importlib.import_module("scipy.stats")  # takes the None that stands for torch for a module
    for name in ("torch", "skdim", "skdim.id"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else found(name)
    )
    monkeypatch.setattr(engine_loader, "_loaded", None)


def test_needing_names_the_extra() -> None:
    said = r"^this needs the package nowhere, .*'llmzip\[torch\]'$"
    with pytest.raises(llmzip.LLMZipError, match=said), needing("torch", "this"):
        import nowhere  # type: ignore[import-not-found]  # noqa: F401


def test_faults_of_our_own_are_no_missing_packages() -> None:
    with pytest.raises(ModuleNotFoundError), needing("torch", "this"):
        import llmzip.nowhere  # type: ignore[import-not-found]  # noqa: F401


@pytest.mark.usefixtures("no_torch")
def test_without_core_and_torch_both_cures_are_named(
    tiny_model: IntegerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llmzip.engine.native_engine.why_not_available", lambda: "it was not built")
    with pytest.raises(llmzip.LLMZipError, match="it was not built") as caught:
        llmzip.compress(b"some text, some more text", model=tiny_model)
    assert "install a C compiler" in str(caught.value)
    assert "pip install 'llmzip[torch]'" in str(caught.value)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["--engine", "torch"], "torch"),
        (["--device", "cuda"], "torch"),
        (["tune", "-o", "mine"], "torch"),
        (["eval", "damage", "-d"], "eval"),
        (["eval", "dimension", "-d"], "dimension"),
        (["eval", "-m", "float:owner/name", "-d"], "eval"),
    ],
)
def test_commands_name_the_extra_that_they_need(
    arguments: list[str], extra: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLMZIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LLMZIP_MODEL", str(TINY_DIRECTORY))
    monkeypatch.chdir(tmp_path)
    pathlib.Path("text").write_bytes(b"some text, and then some more of it. " * 20)
    result = run(*arguments, "text")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith(f"not installed: pip install 'llmzip[{extra}]'")
