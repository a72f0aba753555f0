"""tests/README.md names every tool, and nothing that is not there."""

from __future__ import annotations

import ast
import pathlib
import re

import pytest

from tests.conftest import TESTS

README = (TESTS / "README.md").read_text("utf-8")
TOOLS = sorted(
    path
    for path in (TESTS / "tools").iterdir()
    if path.suffix in (".py", ".sh") or (path / "__main__.py").exists()
)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_a_tool_is_listed_and_says_what_it_does(tool: pathlib.Path) -> None:
    module = f"`python -m tests.tools.{tool.stem}"
    assert (f"`tests/tools/{tool.name}`" if tool.suffix == ".sh" else module) in README
    if tool.suffix == ".sh":
        assert tool.read_text("utf-8").startswith("#!/bin/sh\n# ")
        return
    source = tool if tool.suffix else tool / "__init__.py"
    assert f"python -m tests.tools.{tool.stem}" in str(
        ast.get_docstring(ast.parse(source.read_text("utf-8")))
    )


def test_what_the_readme_names_is_there() -> None:
    for name in re.findall(r"`(?:tests/)?([\w/*]+\.(?:py|sh))`", README):
        assert [*TESTS.glob(name)], name
    for module in re.findall(r"python -m (tests[\w.]+)", README):
        path = TESTS.parent / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
