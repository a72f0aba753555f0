"""`llmzip tokens`: prompts of fewer tokens."""

from __future__ import annotations

import json
import pathlib
import re

import pytest
from click.testing import CliRunner, Result

from llmzip.cli.main import llmzip as command
from tests.conftest import TINY_DIRECTORY

TEXT = "The value of an expression is an object; the type of an expression is a type. " * 20
pytestmark = pytest.mark.usefixtures("cache_with_tiny_model")


def run(*args: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(command, ["tokens", *args], input=given, prog_name="llmzip")


@pytest.mark.parametrize(
    "tokenizer", [(), ("-t", str(TINY_DIRECTORY)), ("-t", str(TINY_DIRECTORY / "tokenizer.json"))]
)
@pytest.mark.parametrize("mode", [(), ("--hierarchical",)])
def test_text_comes_back_from_fewer_tokens(
    tokenizer: tuple[str, ...], mode: tuple[str, ...]
) -> None:
    short = run("compress", *tokenizer, *mode, given=TEXT.encode())
    assert short.exit_code == 0, short.stderr
    assert "% fewer, " in short.stderr
    assert "less attention" in short.stderr
    assert run("expand", given=short.stdout_bytes).stdout_bytes == TEXT.encode()
    ids = json.loads(run("expand", "--ids", given=short.stdout_bytes).stdout)
    written = json.loads(short.stdout)
    assert len(written["ids"]) < 0.2 * len(ids)
    assert max(ids) < written["vocabulary"] == written["ids"][0]


def test_the_models_tokenizer_takes_any_bytes(tmp_path: pathlib.Path) -> None:
    data = bytes(range(256)) * 3
    (tmp_path / "in").write_bytes(data)
    assert run("compress", "-q", str(tmp_path / "in"), "-o", str(tmp_path / "short")).output == ""
    assert run("expand", str(tmp_path / "short"), "-o", str(tmp_path / "out")).exit_code == 0
    assert (tmp_path / "out").read_bytes() == data


def test_what_a_tokenizer_loses_is_said(tmp_path: pathlib.Path) -> None:
    described = json.loads((TINY_DIRECTORY / "tokenizer.json").read_text("utf-8"))
    described["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), "utf-8")
    short = run("compress", "-t", str(tmp_path), given=TEXT.encode())
    assert "does not keep the text" in short.stderr
    assert run("expand", given=short.stdout_bytes).stdout == TEXT.lower()


@pytest.mark.parametrize(
    ("args", "given", "said"),
    [
        (["compress", "-t", str(TINY_DIRECTORY)], b"\xff", "not UTF-8 at byte 0"),
        (["compress", "-t", str(TINY_DIRECTORY.parent)], b"x", "no tokenizer.json there"),
        (["compress", "-t", __file__], b"x", "not a tokenizer"),
        (["compress", "-t", "steam"], b"x", "steam"),
        (["expand"], b"[]", "not the output of"),
        (
            ["expand"],
            b'{"tokenizer": null, "vocabulary": 9, "ids": [1.5], "literals": ""}',
            "no integer",
        ),
        (
            ["expand"],
            b'{"tokenizer": null, "vocabulary": 9, "ids": [9, 10], "literals": ""}',
            "begins with|fewer than two",
        ),
        (["expand"], b'{"tokenizer": null, "vocabulary": 9, "ids": [9], "literals": ""}', "no end"),
    ],
)
def test_errors_are_one_line(args: list[str], given: bytes, said: str) -> None:
    result = run(*args, given=given)
    assert result.exit_code == 1
    assert re.search(said, result.stderr)
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("llmzip: ")
