"""Every number that a file holds at its extremes: a typed error at once, never anything else."""

from __future__ import annotations

import io
import itertools
import zlib
from collections.abc import Iterator

import pytest

import llmzip
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.long_distance import LongDistanceCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.registry import codec_names, get_codec
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.container.block import Block
from llmzip.container.index import index_bytes
from llmzip.container.varint import varint
from llmzip.errors import LLMZipError
from tests import golden
from tests.conftest import tiny
from tests.test_limits import frame_of, numbers

EXTREMES = (
    0,
    1,
    2,
    63,
    64,
    65,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    1 << 62,
    (1 << 63) - 1,
)
MOST = 1 << 26


def payloads() -> Iterator[tuple[int, bytes]]:
    """Codec and payload, with one or two numbers at an extreme."""
    sound = {LLMCodec.id: (60, 2, 1, 8), MetaTokenCodec.id: (60, 50, 3)}
    for codec, usual in sound.items():
        for first, second in itertools.combinations(range(len(usual)), 2):
            for a, b in itertools.product(EXTREMES, repeat=2):
                values = list(usual)
                values[first], values[second] = a, b
                yield codec, numbers(*values) + b"abc"
    for a, b, c in itertools.product(EXTREMES[::2], repeat=3):
        yield LongDistanceCodec.id, b"\x01" + numbers(1, a, b, c) + b"abc"
        yield LongDistanceCodec.id, b"\x01" + numbers(a, 1, b, c) + b"abc"
    for first, second in itertools.product(range(0, 256, 5), range(0, 256, 51)):
        yield ZstdCodec.id, bytes([first, second]) + bytes(12)
        yield XzCodec.id, bytes([first & 3, second, first]) + bytes(12)


@pytest.mark.parametrize("size", [1, 64, 100, MOST])
def test_payloads(size: int) -> None:
    for codec, payload in payloads():
        frame = frame_of(Block(codec, size, payload), memory=1 << 25)
        with pytest.raises(LLMZipError):
            llmzip.decompress(
                frame,
                model=tiny(),
                max_memory=1 << 25,
                max_output=MOST,
                runtime=llmzip.Runtime(threads=1),
            )


def test_headers() -> None:
    """All versions and flags, extreme memories; also where blocks are counted."""
    for flags, memory in itertools.product(range(256), (0, 1, 87, 127, 255)):
        for names in (b"", tiny().fingerprint[:8] + bytes(4), bytes(20)):
            frame = b"\x8cLZ" + bytes([flags, memory]) + names + bytes(8)
            for use in (llmzip.decompress, llmzip.get_frame_info):
                try:
                    use(frame)
                except LLMZipError:
                    continue
    for a, b in itertools.product(EXTREMES, repeat=2):
        with pytest.raises(LLMZipError):
            llmzip.decompress(
                frame_of(Block(RawCodec.id, 3, b"abc"))[:5] + b"\x01" + numbers(a, b) + bytes(40)
            )


def test_indexes() -> None:
    frame = golden.frame_path("stored").read_bytes()
    length = int.from_bytes(frame[-8:-4], "little") + 8
    for a, b in itertools.product(EXTREMES, repeat=2):
        lying = frame[:-length] + index_bytes([(a, b), (b, a)])
        with pytest.raises(LLMZipError):
            llmzip.decompress(lying)
        with llmzip.open(io.BytesIO(lying)) as file:
            try:
                file.seek(100)
                file.read(1)
            except LLMZipError:
                continue


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize("name", [name for name in codec_names() if name not in ("brotli", "ppmd")])
def test_framed_sizes(name: str) -> None:
    codec = get_codec(name)
    payload = codec.payload_codec.encode(golden.TEXT[:100])
    for size in EXTREMES:
        body = varint(size) + payload
        with pytest.raises(LLMZipError):
            codec.decode(body + zlib.crc32(body).to_bytes(4, "little"))
