"""What is imported when: listing files takes a handful of modules, and names come with their first
use.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

import pytest

import llmzip
from tests import golden


def modules_after(code: str) -> set[str]:
    """The package's modules that a new interpreter has imported when it has run this."""
    report = (
        "import json, sys; "
        "print(json.dumps([name for name in sys.modules if name.split('.')[0] == 'llmzip']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(run.stdout.splitlines()[-1]))


def test_listing_imports_thirteen_modules_at_most() -> None:
    """Beside the command line itself; packages that only hold others are no modules of their
    own.
    """
    command = (
        f"import sys; sys.argv = ['llmzip', '-l', {str(golden.frame_path('matches-solid'))!r}]"
    )
    found = modules_after(
        f"{command}\nfrom llmzip.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass"
    )
    packages = {name.rpartition(".")[0] for name in found}
    modules = {name for name in found - packages if not name.startswith("llmzip.cli")}
    assert len(modules) <= 13, sorted(modules)
    assert not any(
        name.startswith(("llmzip.codecs", "llmzip.engine", "llmzip.model")) for name in found
    )


def test_the_container_has_no_idea_of_codecs() -> None:
    names = ", ".join(
        f"llmzip.container.{path.stem}"
        for path in pathlib.Path("llmzip/container").glob("[a-z]*.py")
    )
    allowed = ("llmzip.container", "llmzip.errors", "llmzip.buffers")
    assert all(
        name == "llmzip" or name.startswith(allowed) for name in modules_after(f"import {names}")
    )


def test_the_package_imports_what_is_used() -> None:
    assert modules_after("import llmzip") == {"llmzip"}
    assert "llmzip.compressor" in modules_after("from llmzip import compress")
    for name in llmzip.__all__:
        assert getattr(llmzip, name) is not None
    assert set(llmzip.__all__) <= set(dir(llmzip))
    assert set(llmzip.__all__) == {*llmzip._MODULES, "__version__"}
    with pytest.raises(AttributeError, match="has no attribute 'steam'"):
        llmzip.steam  # type: ignore[attr-defined]  # noqa: B018
