"""llmzip's codecs as numcodecs sees them."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest

from llmzip.errors import LLMZipError
from tests.conftest import TESTS

numcodecs = pytest.importorskip("numcodecs")


@pytest.fixture(autouse=True)
def registered() -> None:
    """As the entry point does in an installed package."""
    from llmzip.codecs.numcodecs_codec import LLMZip

    numcodecs.registry.register_codec(LLMZip)


@pytest.mark.parametrize("described", [{"id": "xz", "preset": 1}, {"id": "llm", "level": 1}, {"id": "meta-token"}])
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_arrays_come_back(described: dict[str, object]) -> None:
    codec = numcodecs.get_codec({"id": "llmzip", "codec": described})
    array = np.frombuffer(b"The value of the expression is an array. " * 8, np.uint8).reshape(8, -1)
    coded = codec.encode(array)
    out = np.empty_like(array)
    codec.decode(coded, out)
    assert (out == array).all()
    config = codec.get_config()
    twin = numcodecs.get_codec(json.loads(json.dumps(config)))
    assert twin == codec
    assert config["codec"].items() >= described.items()
    assert bytes(twin.decode(np.frombuffer(coded, np.uint8))) == array.tobytes()
    with pytest.raises(LLMZipError):
        codec.decode(coded[:-1])
    assert eval(repr(codec), {"LLMZip": type(codec)}) == codec
    for twin in (pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec), copy.copy(codec)):
        assert twin == codec
        assert twin.encode(array) == coded
        assert bytes(twin.decode(coded)) == array.tobytes()


def test_the_entry_point_is_declared() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer")
    with (TESTS.parent / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["entry-points"]["numcodecs.codecs"]
    module, name = declared["llmzip"].split(":")
    assert getattr(__import__(module, fromlist=[name]), name).codec_id == "llmzip"
