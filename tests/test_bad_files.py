"""Each bad file raises the error of tests/data/README.md, in both decoders, and costs little."""

from __future__ import annotations

import pathlib
import re

import pytest

import llmzip
from llmzip import errors
from llmzip.model.integer_model import IntegerModel
from tests import golden
from tests.as_reference import reference_model
from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.errors import DecodeError
from tests.tools.bad_frames import FOLDER, all_files

README = golden.DATA / "README.md"
ROWS = re.findall(
    r"^\| `((?:bad|unsupported)-[\w-]+)` \| (\w+) \|", README.read_text("utf-8"), re.M
)
MAX_OUTPUT = 1 << 24


@pytest.mark.parametrize(("name", "error"), ROWS, ids=[name for name, _ in ROWS])
def test_a_bad_file_raises_its_error(tiny_model: IntegerModel, name: str, error: str) -> None:
    data = path_of(name).read_bytes()
    with pytest.raises(getattr(errors, error)) as raised:
        llmzip.decompress(data, model=tiny_model, max_output=MAX_OUTPUT)
    assert type(raised.value).__name__ == error
    if name != "bad-bomb":
        with pytest.raises(DecodeError):
            decode_file(data, reference_model(tiny_model))


def test_the_readme_lists_every_file_and_the_tool_makes_them() -> None:
    named = {name for name, _ in ROWS}
    assert {path.stem for path in FOLDER.iterdir()} == named
    assert {name: path_of(name).read_bytes() for name in named} == all_files()
    listed = README.read_text("utf-8")
    for name in golden.CASES:
        assert f"`{name}`" in listed, name
    assert sum(path_of(name).stat().st_size for name in named) < 10_000


def path_of(name: str) -> pathlib.Path:
    return FOLDER / f"{name}.llmz"
