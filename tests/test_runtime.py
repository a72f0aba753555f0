"""The options of computing: typed, documented, and of no influence on a byte."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import pathlib
from typing import Any

import numpy as np
import pytest

import llmzip
from llmzip.engine_loader import EngineLoader
from llmzip.model.integer_model import IntegerModel
from llmzip.runtime import Runtime
from tests.command import run


def test_every_field_has_a_line_of_documentation() -> None:
    source = pathlib.Path(inspect.getfile(Runtime)).read_text("utf-8")
    kind = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    documented = {
        field.target.id
        for field, text in zip(kind.body, kind.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
    }
    assert documented == {field.name for field in dataclasses.fields(Runtime)}


def test_numbers_of_any_kind_are_one_number() -> None:
    given = Runtime(threads=np.int64(2), jobs=np.uint8(3))
    assert given == Runtime(threads=2, jobs=3)
    assert [type(given.threads), type(given.jobs)] == [int, int]


NATIVE_ON_CUDA = {"device": "cuda", "engine": "native"}

PUBLIC = [
    name
    for name in llmzip.__all__
    if inspect.isclass(getattr(llmzip, name)) or inspect.isfunction(getattr(llmzip, name))
    if name != "get_codec"  # it takes the parameters of the codec that is named
]


@pytest.mark.parametrize("name", PUBLIC)
def test_public_signatures_name_every_option(name: str) -> None:
    """`**options: Any` would hide them from readers, editors and type checkers, and let misspelt
    ones through until later.
    """
    public = getattr(llmzip, name)
    if inspect.isclass(public) and issubclass(public, BaseException):
        return
    parameters = inspect.signature(public).parameters.values()
    assert not [p.name for p in parameters if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]


@pytest.mark.parametrize(
    "wrong", [{"engine": "steam"}, {"threads": -1}, {"jobs": -1}, NATIVE_ON_CUDA]
)
def test_what_cannot_be_is_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        Runtime(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"threads": "2"}, {"threads": 1.5}, {"jobs": "2"}, {"device": None}]
)
def test_wrong_kinds_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Runtime(**wrong)


@pytest.mark.parametrize("runtime", [2, Runtime, {"threads": 1}])
def test_a_runtime_is_a_runtime(runtime: Any) -> None:
    """Also where the content needs no model, whose engine would ask for it."""
    with pytest.raises(TypeError, match="runtime"):
        llmzip.compress(bytes(99), runtime=runtime)
    with pytest.raises(TypeError, match="runtime"):
        llmzip.decompress(llmzip.compress(bytes(99)), runtime=runtime)


@pytest.mark.parametrize("command", ["", "decompress", "generate", "eval --data json:100"])
def test_the_command_refuses_options_that_exclude_each_other(command: str) -> None:
    result = run(*command.split(), "--engine", "native", "--device", "cuda")
    assert result.exit_code == 2
    assert "the native engine runs on the CPU" in result.stderr


def test_equal_runtimes_share_the_loaded_engine(tiny_model: IntegerModel) -> None:
    engine = EngineLoader(tiny_model, runtime=Runtime(threads=0)).for_compression()
    assert EngineLoader(tiny_model, runtime=Runtime()).for_compression() is engine
    assert (
        EngineLoader(tiny_model, runtime=Runtime(offline=True, download=True)).for_compression()
        is engine
    )
