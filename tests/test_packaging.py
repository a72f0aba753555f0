"""The shape of the installed package."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest

import llmzip
from tests.conftest import TESTS


@pytest.mark.parametrize("folder", ["codecs", "cli", "corpora"])
def test_the_top_level_folders_are_linked_and_no_packages(folder: str) -> None:
    """A `codecs/__init__.py` would shadow the standard library's module of that name."""
    assert not (TESTS.parent / folder / "__init__.py").exists()
    link = TESTS.parent / "llmzip" / folder
    assert link.is_symlink()  # a copy would be a second, stale package (pyproject.toml)
    assert link.resolve() == TESTS.parent / folder


@pytest.mark.parametrize(
    ("statement", "forbidden"),
    [
        (
            "import llmzip",
            ["torch", "transformers", "tokenizers", "gguf", "huggingface_hub", "click"],
        ),
        (
            "import llmzip.cli.main",
            ["torch", "transformers", "tokenizers", "gguf", "huggingface_hub"],
        ),
    ],
)
def test_imports_are_light(statement: str, forbidden: list[str]) -> None:
    script = f"import sys; {statement}; print([m for m in {forbidden!r} if m in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=TESTS.parent
    )
    assert ran.stdout.strip() == "[]"


def pyproject() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer")
    with (TESTS.parent / "pyproject.toml").open("rb") as file:
        read: dict[str, Any] = tomllib.load(file)
    return read


def test_every_package_is_listed_for_the_wheel() -> None:
    listed = set(pyproject()["tool"]["setuptools"]["packages"])
    found = {"llmzip", "llmzip.codecs", "llmzip.cli", "llmzip.corpora"}
    inits = (TESTS.parent / "llmzip").glob("*/**/__init__.py")
    found |= {".".join(p.parent.relative_to(TESTS.parent).parts) for p in inits}
    assert listed == found


def test_the_version_has_one_source() -> None:
    assert pyproject()["project"]["dynamic"] == ["version"]
    assert pyproject()["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "llmzip.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", llmzip.__version__)
    shown = subprocess.run(
        [sys.executable, "-m", "llmzip", "--version"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == ["llmzip", llmzip.__version__]


def test_every_public_name_is_there_and_listed() -> None:
    assert sorted(llmzip.__all__) == sorted(set(llmzip.__all__))
    assert set(llmzip.__all__) <= set(dir(llmzip))
    for name in llmzip.__all__:
        assert getattr(llmzip, name) is getattr(llmzip, name)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        print(llmzip.nothing)


def requirements() -> dict[str, str]:
    """Name -> lower bound, of all that pyproject.toml asks for."""
    project = pyproject()["project"]
    wanted = [
        *project["dependencies"],
        *(r for extra in project["optional-dependencies"].values() for r in extra),
    ]
    found = [
        re.match(r"([\w-]+)(?:>=|==)([\d.]+)", line)
        for line in wanted
        if not line.startswith("llmzip[")
    ]
    return {match[1]: match[2] for match in found if match}


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    written = (TESTS.parent / "requirements" / "oldest.txt").read_text("utf-8").splitlines()
    lines = dict(line.split("==") for line in written if not line.startswith("#"))
    assert lines == requirements()


def test_the_constraints_name_every_requirement_and_nothing_of_one_machine() -> None:
    lines = (TESTS.parent / "requirements" / "constraints.txt").read_text("utf-8").splitlines()
    versions = [
        re.fullmatch(r"([\w-]+)==[\w.]+ ; python_version >= '3\.\d+'", line) for line in lines
    ]
    assert all(versions), lines
    assert requirements().keys() <= {match[1] for match in versions if match}
