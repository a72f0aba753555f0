"""The codecs by themselves: the conformance kit, the registry, golden payloads."""

from __future__ import annotations

import dataclasses
import pathlib
import pickle
import random
import sys
import textwrap
import tracemalloc
import zlib
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.codecs import registry
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.codecs.registry import codec_names, find_codec, from_config, get_codec, register_codec
from llmzip.codecs.xz import XzCodec
from llmzip.container.codec_ids import CodecId
from llmzip.container.varint import varint
from llmzip.errors import FormatError, IntegrityError, LLMZipError
from llmzip.model.integer_model import IntegerModel
from tests.as_reference import reference_model
from tests.conformance import TEXT, check_codec
from tests.reference_decoder.meta_tokens import decode_meta_tokens

SHORT = {"size": 300, "sweep": 60}
"""Of the texts for codecs that evaluate a model at every byte."""


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize("name", codec_names())
def test_each_registered_codec_conforms(name: str) -> None:
    try:
        codec = get_codec(name, **({"level": 1} if name in ("llm", "rank") else {}))
    except LLMZipError as error:  # its package is not installed
        pytest.skip(str(error))
    check_codec(codec, **(SHORT if find_codec(name).needs_model and name != "meta-token" else {}))


@given(name=st.sampled_from(("raw", "zstd", "xz", "zlib", "bzip2")), data=st.binary(max_size=2000))
def test_any_bytes_come_back(name: str, data: bytes) -> None:
    codec = get_codec(name)
    assert codec.decode(codec.encode(data)) == data


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("zstd", {"level": 3}),
        ("xz", {"preset": 0}),
        ("zlib", {"level": 1}),
        ("bzip2", {"level": 1}),
        ("brotli", {"quality": 5, "window_bits": 16}),
        ("ppmd", {"order": 4, "memory": 1 << 20}),
    ],
)
def test_parameters_reach_the_codec_and_its_configuration(
    name: str, parameters: dict[str, int]
) -> None:
    if name in ("brotli", "ppmd"):
        pytest.importorskip({"brotli": "brotli", "ppmd": "pyppmd"}[name])
    codec = get_codec(name, **parameters)
    assert codec.get_config() == {"id": name, **parameters}
    assert from_config(codec.get_config()).decode(codec.encode(TEXT * 9)) == TEXT * 9


@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("steam", {}, "codecs are raw, "),
        ("zstd", {"level": 23}, "levels are 1 to 22"),
        ("xz", {"preset": 10}, "presets are 0 to 9"),
        ("zlib", {"level": 0}, "levels are 1 to 9"),
        ("bzip2", {"level": 0}, "levels are 1 to 9"),
        ("brotli", {"quality": 12}, "0 to 11"),
        ("ppmd", {"order": 1}, "2 to 64"),
        ("llm", {"level": 0}, "levels are 1 to 9"),
    ],
)
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_bad_parameters_are_value_errors(name: str, parameters: dict[str, int], said: str) -> None:
    for package in {"brotli": ("brotli",), "ppmd": ("pyppmd",)}.get(name, ()):
        pytest.importorskip(package)
    with pytest.raises(ValueError, match=said):
        get_codec(name, **parameters)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brotli", None)
    with pytest.raises(LLMZipError, match=r"pip install 'llmzip\[codecs\]'"):
        get_codec("brotli")
    assert "brotli" in codec_names()


def test_golden_framed_forms() -> None:
    """What configurations promise: these bytes, for ever. Size 3, the payload, the check."""
    assert get_codec("raw").encode(b"abc").hex() == "03616263" + "22e894f9"
    assert get_codec("raw").encode(b"").hex() == "00" + "8def02d2"
    assert get_codec("xz").decode(bytes.fromhex("030001000261626300" + "f3c72a85")) == b"abc"


def test_programs_are_smaller_with_the_x86_filter() -> None:
    program = pathlib.Path(sys.executable).resolve().read_bytes()[:300_000]
    if not program.startswith(b"\x7fELF"):
        pytest.skip("the interpreter is no ELF file")
    codec = XzCodec()
    assert codec.decode(codec.encode(program), len(program)) == program
    assert len(codec.encode(program)) <= len(codec.encode(b" " + program))


def test_a_large_input() -> None:
    data = random.Random(5).randbytes(1 << 16) * 40
    for name in ("zstd", "xz", "zlib", "bzip2"):
        codec = get_codec(name)
        assert codec.decode(codec.encode(data)) == data


def test_a_decoder_written_from_the_document_reads_meta_tokens(
    tiny_model: IntegerModel, english: bytes
) -> None:
    data = english[:6000] + b"\x04 caf\xe9 " + english[1000:3000]
    payload = MetaTokenCodec(tiny_model).encode(data)
    assert decode_meta_tokens(payload, len(data), reference_model(tiny_model)) == data


def test_a_zstd_size_that_is_a_lie_takes_no_memory() -> None:
    packed = get_codec("zstd").encode(b"some text, some text")
    body = varint(1 << 32) + packed[1:-4]
    tracemalloc.start()
    with pytest.raises(IntegrityError):
        get_codec("zstd").decode(body + zlib.crc32(body).to_bytes(4, "little"))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_the_table_of_codecs_and_the_format_agree() -> None:
    kinds = [find_codec(name) for name in codec_names()]
    assert [kind.name for kind in kinds] == list(codec_names())
    numbered = {kind.id: kind for kind in kinds if kind.id is not None}
    assert set(numbered) == set(CodecId)
    for number, kind in numbered.items():
        assert (kind.name, kind.needs_model) == (number.label, number.needs_model)
    assert set(MODEL_FREE) == {
        number for number in CodecId if not number.needs_model and not number.nests
    }
    assert all(codec.id == number for number, codec in MODEL_FREE.items())


def contracts_example() -> type[PayloadCodec]:
    """The class in the docstring of `PayloadCodec`."""
    source = (PayloadCodec.__doc__ or "").split("::\n\n")[1].split("\n\n    A codec is found")[0]
    names: dict[str, Any] = {
        "dataclasses": dataclasses,
        "PayloadCodec": PayloadCodec,
        "FormatError": FormatError,
    }
    exec(textwrap.dedent(source), names)
    return cast("type[PayloadCodec]", names["ReversedCodec"])


def test_a_codec_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CODECS", dict(registry._CODECS))
    example = contracts_example()
    for _ in range(2):  # the same again changes nothing
        register_codec(example)
    codec = get_codec("reversed", mask=7)
    assert codec.get_config() == {"id": "reversed", "mask": 7}
    check_codec(codec)
    assert pickle.loads(pickle.dumps(codec)) == codec
    with pytest.raises(ValueError, match="another codec has that name"):
        register_codec(type("XzCodec", (example,), {"name": "xz"}))
    with pytest.raises(TypeError, match="unexpected keyword"):
        get_codec("reversed", hat=7)
