"""The examples of docs/integrations.md, run as a reader would run them: each section in a process
of its own, with the library itself.
"""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.conftest import TESTS

PAGE = TESTS.parent / "docs" / "integrations.md"
LIBRARIES = {
    "fsspec": ["fsspec"],
    "pandas": ["fsspec", "pandas"],
    "smart_open": ["smart_open"],
    "tarfile": [],
    "shutil": [],
    "numcodecs and zarr": ["numcodecs", "zarr"],
    "datasets": ["datasets"],
    "DuckDB": ["duckdb", "fsspec"],
    "pyarrow": ["fsspec", "pyarrow"],
}
"""Section -> what it needs."""

_PAUSE = "\nimport time\ntime.sleep(0.5)\n"
"""pyarrow's threads drop what they have of Python a little later than its calls return; one that
does so while Python ends aborts the process, also with fsspec's own file systems.
"""


def examples() -> dict[str, str]:
    """Section of the page -> the Python in it."""
    sections = re.split(r"^## (.+)\n", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]
    return {
        title: "".join(re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL))
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }


def test_every_section_has_an_example_that_runs_here() -> None:
    assert {title for title, code in examples().items() if code} == LIBRARIES.keys()


@pytest.fixture
def installed(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder for Python's path that tells of pyproject.toml's entry points, as an installation
    does.
    """
    tomllib: Any = pytest.importorskip("tomllib", reason="Python 3.11 and newer")
    with (TESTS.parent / "pyproject.toml").open("rb") as file:
        groups = tomllib.load(file)["project"]["entry-points"]
    folder = tmp_path / "installed" / "llmzip-0.dist-info"
    folder.mkdir(parents=True)
    folder.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: llmzip\nVersion: 0\n")
    folder.joinpath("entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
            for group, points in groups.items()
        )
    )
    return folder.parent


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize("title", LIBRARIES)
def test_examples(title: str, installed: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for library in LIBRARIES[title]:
        pytest.importorskip(library)
    work = tmp_path / "work"
    work.mkdir()
    ran = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", examples()[title] + _PAUSE],
        cwd=work,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join([str(installed), str(TESTS.parent)]),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "ResourceWarning" not in ran.stderr  # a file that was left open
