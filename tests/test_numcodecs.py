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


@pytest.mark.parametrize(
    "described", [{"id": "xz", "preset": 1}, {"id": "llm", "level": 1}, {"id": "meta-token"}]
)
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


CONFIGS = [{"id": "xz", "preset": 1}, {"id": "zlib"}, {"id": "raw"}, {"id": "llm", "level": 1}]


@pytest.mark.parametrize("described", CONFIGS, ids=lambda described: described["id"])
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_checks_of_numcodecs_pass(
    described: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = pytest.importorskip(
        "numcodecs.tests.common", reason="numcodecs is installed without its tests"
    )
    from llmzip.codecs.numcodecs_codec import LLMZip

    monkeypatch.setattr(common, "LLMZip", LLMZip, raising=False)
    codec = LLMZip(described)
    arrays = [
        np.arange(40, dtype="i4"),
        np.linspace(0, 1, 24).reshape(4, 6),
        np.linspace(0, 1, 24).reshape(4, 6, order="F"),
        np.linspace(0, 1, 24).reshape(2, 3, 4),
        np.arange(20) % 3 == 0,
        np.array(list("abc" * 5), dtype="S1"),
        np.array(["the value", "of the", "expression"] * 3),
        np.arange(9).astype("m8[s]"),
        np.arange(9).astype("M8[ns]"),
        np.zeros(0, "u1"),
    ]
    for array in arrays if described["id"] != "llm" else arrays[:1]:
        common.check_encode_decode(array, codec)
    common.check_config(codec)
    common.check_repr(f"LLMZip(codec={codec.get_config()['codec']!r})")
    common.check_err_encode_object_buffer(codec)
    common.check_err_decode_object_buffer(codec)


def test_buffers_that_cannot_be_used_are_refused() -> None:
    codec = numcodecs.get_codec({"id": "llmzip", "codec": {"id": "zstd"}})
    coded = codec.encode(np.arange(10))
    for out in (np.empty(9, int), np.empty(11, int), bytes(80), np.empty((20, 2), int)[::2]):
        with pytest.raises(ValueError):
            codec.decode(coded, out)
    with pytest.raises(TypeError):
        codec.encode("text")
    with pytest.raises(ValueError, match="codecs are raw"):
        numcodecs.get_codec({"id": "llmzip", "codec": {"id": "steam"}})
    assert codec != numcodecs.get_codec({"id": "zlib"})


def test_the_entry_point_is_declared() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer")
    with (TESTS.parent / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["entry-points"]["numcodecs.codecs"]
    module, name = declared["llmzip"].split(":")
    assert getattr(__import__(module, fromlist=[name]), name).codec_id == "llmzip"
