"""The manual page is that of the command line."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from llmzip.cli import manual
from llmzip.cli.main import BY_PROGRAM, llmzip
from tests.conftest import TESTS
from tests.test_packaging import pyproject

PAGE = TESTS.parent / "docs" / "llmzip.1"


def test_the_page_is_what_the_command_line_makes() -> None:
    assert PAGE.read_text("utf-8") == manual.page()  # else: python -m llmzip.cli.manual


def test_it_names_every_option_and_command() -> None:
    text = manual.page().replace("\\-", "-")
    for section in llmzip.sections.values():
        for option in section:
            assert option.hidden or all(f"\\fB{name}\\fR" in text for name in option.opts)
    for name in (*llmzip.commands, *BY_PROGRAM):
        assert f"\\fB{name}\\fR" in text


def test_every_name_of_the_program_is_installed_with_its_page() -> None:
    project = pyproject()
    assert project["project"]["scripts"].keys() == {"llmzip", *BY_PROGRAM}
    assert project["tool"]["setuptools"]["data-files"] == {"share/man/man1": ["docs/llmzip.1"]}


@pytest.mark.skipif(not shutil.which("man"), reason="needs man")
def test_man_reads_it() -> None:
    shown = subprocess.run(
        ["man", "--warnings", "-l", str(PAGE)], capture_output=True, text=True, timeout=300
    )
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "--decompress" in shown.stdout
