"""The shape of the installed package."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import TESTS


@pytest.mark.parametrize("folder", ["codecs", "cli", "corpora"])
def test_the_top_level_folders_are_no_packages(folder: str) -> None:
    """A `codecs/__init__.py` would shadow the standard library's module of that name."""
    assert not (TESTS.parent / folder / "__init__.py").exists()
    assert (TESTS.parent / "llmzip" / folder).is_dir()


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        ("import llmzip", ["torch", "transformers", "tokenizers", "gguf", "huggingface_hub", "rich", "click"]),
        ("import llmzip.cli.main", ["torch", "transformers", "tokenizers", "gguf", "huggingface_hub"]),
    ],
)
def test_imports_are_light(statement: str, forbidden: list[str]) -> None:
    script = f"import sys; {statement}; print([m for m in {forbidden!r} if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=TESTS.parent)
    assert ran.stdout.strip() == "[]"


def test_every_package_is_listed_for_the_wheel() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer")

    with (TESTS.parent / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    found = {"llmzip", "llmzip.codecs", "llmzip.cli", "llmzip.corpora"}
    found |= {f"llmzip.{p.parent.name}" for p in (TESTS.parent / "llmzip").glob("*/__init__.py")}
    assert listed == found
