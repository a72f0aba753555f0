"""pip for downloads, also where an environment has none."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import venv

import pytest

from tests.conftest import TESTS

SCRIPT = """
import pathlib, subprocess, sys
from llmzip.model.pip_command import pip_command
command = pip_command(pathlib.Path(sys.argv[1]))
subprocess.run([*command, "--version"], check=True)
"""


def version_of_pip(python: pathlib.Path | str, folder: pathlib.Path) -> str:
    ran = subprocess.run(
        [python, "-c", SCRIPT, str(folder / "copy")],
        env=os.environ | {"PYTHONPATH": str(TESTS.parent)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return ran.stdout


def test_an_environment_without_pip_takes_a_copy(tmp_path: pathlib.Path) -> None:
    """As those of `uv tool install`, and of pipx with uv."""
    pytest.importorskip("ensurepip")
    python = tmp_path / "venv" / "bin" / "python"
    venv.create(tmp_path / "venv", with_pip=False)
    assert version_of_pip(python, tmp_path).startswith("pip ")
    assert not list((tmp_path / "venv").rglob("pip"))  # nothing was installed
    assert list((tmp_path / "copy").rglob("pip"))


def test_the_pip_that_is_there_is_taken(tmp_path: pathlib.Path) -> None:
    pytest.importorskip("pip")
    assert version_of_pip(sys.executable, tmp_path).startswith("pip ")
    assert not (tmp_path / "copy").exists()
