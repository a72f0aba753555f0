"""Which codec a block gets, and that finding out costs no model where none can help."""

from __future__ import annotations

import base64
import gzip
import io
import lzma
import pathlib
import random
import struct
import sys
import tarfile
import time
import zlib

import pytest
import zstandard

import llmzip
from llmzip.codecs.probe import SEGMENT, Kind, leading_run, looks_like_text
from llmzip.container.codec_ids import CHOICES
from llmzip.model.integer_model import IntegerModel
from tests.conftest import corpus
from tests.test_tokenizer import NASTY

NOISE = random.Random(1).randbytes(1 << 20)
TABLE = b"".join(struct.pack("<Ihd", i, i % 700, i / 7) for i in range(10_000))
ABSENT = {"model": "/nowhere"}
"""No such model: whoever asks it gets an error."""


def peer(data: bytes) -> int:
    """The smaller of zstd -19 and xz -9e."""
    return min(
        len(zstandard.ZstdCompressor(level=19).compress(data)),
        len(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)),
    )


def program() -> bytes:
    return pathlib.Path(sys.executable).resolve().read_bytes()[: 1 << 20]


def test_noise_is_stored_at_once() -> None:
    data = random.Random(2).randbytes(10_000_000)
    ratios = []  # to zlib's time, as other programs make the processor's time longer, too
    for _ in range(3):
        start = time.process_time()
        packed = llmzip.compress(data, **ABSENT)
        middle = time.process_time()
        zlib.compress(data)
        ratios.append((middle - start) / (time.process_time() - middle))
        if ratios[-1] < 10:  # xz would make it 20 more, the model thousands
            break
    assert min(ratios) < 10
    assert len(packed) <= 1.001 * len(data)
    assert llmzip.decompress(packed) == data


def test_compressed_data_is_stored(english: bytes) -> None:
    data = gzip.compress(english, mtime=0)
    packed = llmzip.compress(data, **ABSENT)
    assert set(llmzip.list_frames(io.BytesIO(packed))[0].codecs) == {"raw"}
    assert len(packed) <= 1.001 * len(data) + 32


@pytest.mark.parametrize(
    "make",
    [
        lambda: TABLE,
        program,
        lambda: base64.encodebytes(NOISE[:50_000]),
        lambda: base64.b64encode(TABLE),
        lambda: NOISE[:50_000].hex().encode(),
        lambda: bytes(random.Random(3).choices(b"ACGT", k=100_000)),
        lambda: NOISE[: 1 << 17] * 4,
        lambda: corpus("kennedy.xls"),
        lambda: corpus("ptt5"),
    ],
    ids=[
        "table",
        "program",
        "base64",
        "base64 of a table",
        "hex",
        "genome",
        "noise twice",
        "kennedy.xls",
        "ptt5",
    ],
)
def test_no_model_is_asked_about_what_is_no_text(make) -> None:  # type: ignore[no-untyped-def]
    data = make()
    packed = llmzip.compress(data, **ABSENT)
    assert llmzip.decompress(packed) == data
    assert len(packed) <= 1.01 * peer(data) + 32


def test_no_model_is_asked_about_what_is_tiny_without_it() -> None:
    assert len(llmzip.compress(b"all work and no play " * 40_000, **ABSENT)) < 400


def test_text_gets_the_model(tiny_model: IntegerModel, english: bytes) -> None:
    packed = llmzip.compress(english[:6000], model=tiny_model)
    assert llmzip.list_frames(io.BytesIO(packed))[0].codecs == ("llm",)
    assert packed == llmzip.compress(english[:6000], model=tiny_model, codec="llm")


@pytest.mark.parametrize("name", [*NASTY, "Latin-1", "Chinese", "C"])
def test_texts_are_texts(name: str) -> None:
    texts = {
        "Latin-1": "Die Größe der alten Bäume im Wald erstaunt alle. ".encode("latin-1") * 99,
        "Chinese": "天地玄黄宇宙洪荒日月盈昃辰宿列張".encode() * 99,
        "C": b"static int f(int x)\n{\n\treturn x ? g(x - 1) : 0;\n}\n" * 99,
    }
    if name in texts:
        assert leading_run(texts[name]) == (Kind.TEXT, len(texts[name]))
    else:
        assert leading_run(NASTY[name])[1] == len(NASTY[name])


def test_an_archive_of_texts_is_text(english: bytes) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        for i in range(20):
            entry = tarfile.TarInfo(f"topics/{i}.txt")
            entry.size = 1500
            archive.addfile(entry, io.BytesIO(english[i * 1500 :]))
    assert looks_like_text(sink.getvalue())


def test_a_block_ends_where_text_turns_binary(english: bytes) -> None:
    text = english[: SEGMENT + 100]
    noise = NOISE[: 4 * SEGMENT]
    assert leading_run(text + noise) == (Kind.TEXT, SEGMENT)
    assert leading_run(noise + text * 4)[1] == len(noise)
    island = NOISE[: SEGMENT // 2] + text[:SEGMENT] + NOISE[: 3 * SEGMENT]
    assert leading_run(island)[1] == len(island)


def test_mixed_data_come_back(tiny_model: IntegerModel, english: bytes) -> None:
    data = english[:2000] + NOISE[: 3 * SEGMENT] + english[:2000] + TABLE
    packed = llmzip.compress(data, 1, model=tiny_model)
    assert llmzip.decompress(packed, model=tiny_model) == data


@pytest.mark.parametrize("codec", CHOICES)
def test_a_forced_codec(tiny_model: IntegerModel, english: bytes, codec: str) -> None:
    for data in (english[:3000], NOISE[:1500], b"x"):
        packed = llmzip.compress(data, 1, model=tiny_model, codec=codec)
        assert llmzip.decompress(packed, model=tiny_model) == data
        assert set(llmzip.list_frames(io.BytesIO(packed))[0].codecs) <= {codec, "raw"}
    packed = llmzip.compress(english[:3000], model=tiny_model, codec=codec)
    assert llmzip.list_frames(io.BytesIO(packed))[0].codecs == (codec,)


def test_a_codec_that_blocks_cannot_have() -> None:
    with pytest.raises(ValueError, match="blocks can have raw, zstd, llm, xz, meta-token"):
        llmzip.compress(b"", codec="steam")
