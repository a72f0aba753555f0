"""llmzip's codecs as zarr sees them."""

from __future__ import annotations

import copy
import importlib
import json
import pathlib
import pickle
from typing import Any

import numpy as np
import pytest

from tests.conftest import TESTS

TEXT = b"The value of the expression is an array. " * 8


@pytest.fixture
def zarr() -> Any:
    """zarr, with the codecs registered as the entry points do in an installed package."""
    zarr = pytest.importorskip("zarr", minversion="3.1", reason="zarr 3.1 is not installed")
    import numcodecs

    from llmzip.codecs.numcodecs_codec import LLMZip
    from llmzip.codecs.zarr_codec import LLMZipCodec

    numcodecs.registry.register_codec(LLMZip)
    zarr.registry.register_codec("llmzip", LLMZipCodec)
    return zarr


@pytest.mark.parametrize(
    "described", [{"id": "xz", "preset": 1}, {"id": "llm", "level": 1}, {"id": "meta-token"}]
)
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_arrays_of_both_formats_come_back(
    zarr: Any, tmp_path: pathlib.Path, described: dict[str, object]
) -> None:
    array = np.frombuffer(TEXT, np.uint8).reshape(8, -1)
    as_named = {"name": "llmzip", "configuration": {"codec": described}}
    codec = zarr.registry.get_codec_class("llmzip")(described)
    for number, compressor in enumerate((as_named, codec)):
        path = tmp_path / str(number)
        zarr.create_array(path, data=array, chunks=(3, 41), compressors=compressor)
        with (path / "zarr.json").open() as file:
            (written,) = (c for c in json.load(file)["codecs"] if c["name"] == "llmzip")
        assert written == json.loads(json.dumps(codec.to_dict()))
        assert written["configuration"]["codec"].items() >= described.items()
        opened = zarr.open_array(path, mode="r+")
        assert (opened[:] == array).all()
        opened[2:5] = 65
        assert (zarr.open_array(path, mode="r")[2:5] == 65).all()
        assert opened.compressors == (codec,)
    import numcodecs

    old = numcodecs.get_codec({"id": "llmzip", "codec": described})
    zarr.create_array(tmp_path / "old", data=array, chunks=(3, 41), compressors=old, zarr_format=2)
    assert (zarr.open_array(tmp_path / "old", mode="r")[:] == array).all()


@pytest.mark.parametrize("dtype", ["f8", ">i2", "M8[s]", "bool"])
def test_arrays_of_any_type_come_back(zarr: Any, dtype: str) -> None:
    array = np.arange(30).reshape(5, 6).astype("i4").astype(dtype)
    store = zarr.storage.MemoryStore()
    made = zarr.create_array(
        store,
        data=array,
        chunks=(2, 6),
        compressors={"name": "llmzip", "configuration": {"codec": {"id": "zstd"}}},
    )
    assert (made[:] == array).all()


def test_a_damaged_chunk_is_an_error(zarr: Any, tmp_path: pathlib.Path) -> None:
    from llmzip.errors import LLMZipError

    codec = zarr.registry.get_codec_class("llmzip")({"id": "raw"})
    zarr.create_array(tmp_path / "a", data=np.arange(50), compressors=codec)
    (chunk,) = (p for p in (tmp_path / "a" / "c").rglob("*") if p.is_file())
    damaged = bytearray(chunk.read_bytes())
    damaged[7] ^= 1
    chunk.write_bytes(damaged)
    with pytest.raises(LLMZipError, match="damaged"):
        zarr.open_array(tmp_path / "a", mode="r")[:]


def test_the_codec_is_a_value(zarr: Any) -> None:
    kind = zarr.registry.get_codec_class("llmzip")
    codec = kind({"id": "xz", "preset": 1})
    for twin in (
        pickle.loads(pickle.dumps(codec)),
        copy.deepcopy(codec),
        copy.copy(codec),
        eval(repr(codec), {kind.__name__: kind}),
    ):
        assert twin == codec
        assert hash(twin) == hash(codec)
    assert codec != kind({"id": "xz", "preset": 2})
    assert kind.from_dict(json.loads(json.dumps(codec.to_dict()))) == codec
    for wrong in (
        {"name": "llmzip"},
        {"name": "llmzip", "configuration": {}},
        {"name": "gzip", "configuration": {"codec": {"id": "xz"}}},
    ):
        with pytest.raises(ValueError, match="no codec of the name 'llmzip'"):
            kind.from_dict(wrong)


def test_the_entry_point_is_declared(zarr: Any) -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 and newer")
    with (TESTS.parent / "pyproject.toml").open("rb") as file:
        declared = tomllib.load(file)["project"]["entry-points"]["zarr.codecs"]
    module, name = declared["llmzip"].split(":")
    assert getattr(importlib.import_module(module), name) is zarr.registry.get_codec_class("llmzip")
