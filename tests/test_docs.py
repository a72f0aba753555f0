"""The documents: what they link to and name is there, and their lines can be read in any editor."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "tests/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
    if not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
MAX_COLUMNS = 100

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_MODULE = re.compile(r"python3? (?:-W \S+ )?-m ((?:llmzip|benchmarks|tests)[\w.]*)")
_PATH = re.compile(r"`((?:llmzip|codecs|cli|corpora|benchmarks|tests|docs|requirements)/[\w./-]+)`")


def named(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_links_lead_somewhere(path: pathlib.Path) -> None:
    links = [
        link.split("#")[0] for link in _LINK.findall(path.read_text("utf-8")) if "://" not in link
    ]
    assert [link for link in links if link and not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_modules_and_files_that_are_named_exist(path: pathlib.Path) -> None:
    text = path.read_text("utf-8")
    assert [
        name for name in _MODULE.findall(text) if importlib.util.find_spec(name.rstrip(".")) is None
    ] == []
    assert [name for name in _PATH.findall(text) if not any(ROOT.glob(name.rstrip("/")))] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=named)
def test_lines_fit(path: pathlib.Path) -> None:
    """Tables aside, whose rows Markdown does not let one break."""
    lines = path.read_text("utf-8").splitlines()
    wide = {
        i: line
        for i, line in enumerate(lines, 1)
        if len(line) > MAX_COLUMNS and not line.startswith("|")
    }
    assert wide == {}


def test_the_glossary_is_in_alphabetical_order() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text("utf-8")
    words = [word.lower() for word in re.findall(r"\n\n\*\*([^*]+)\*\*", text)]
    assert len(words) > 50
    assert words == sorted(words)
