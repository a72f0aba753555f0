"""Write the bad and unsupported files of tests/data/bad anew; a second.

    python -m tests.tools.bad_frames

Each breaks one rule of docs/format.md; everything else about it holds, its checks too.
tests/data/README.md says what is wrong with each, and which error it raises.
"""

from __future__ import annotations

import lzma
from collections.abc import Iterator

import zstandard

from tests import golden
from tests.reference_decoder.frame import (
    LLM,
    MAGIC,
    MATCHES,
    META_TOKEN,
    RAW,
    XZ,
    ZSTD,
    Block,
    block_check,
    content_check,
    index_of,
    varint,
)
from tests.reference_decoder.llm import Streams, decode_streams, usual_layout
from tests.reference_decoder.meta_tokens import decode_symbols
from tests.reference_decoder.model import Model
from tests.reference_decoder.published_model import read_model
from tests.reference_decoder.range_decoder import RangeDecoder, cumulative_frequencies, in_buckets
from tests.tools.random_frames.symbols import Chooser, RangeEncoder

FOLDER = golden.DATA / "bad"
VERSION, MEMORY = 6, 120
"""What headers say unless that is the point."""
SINGLE, NAMES_MODEL, HAS_DICTIONARY, SOLID = 1, 2, 64, 128

BlockParts = tuple[int, int, bytes]
"""Codec, size, payload."""


def numbers(*values: int) -> bytes:
    """Varints one after the other."""
    return b"".join(map(varint, values))


def header(
    flags: int = SINGLE, names: bytes = b"", version: int = VERSION, memory: int = MEMORY
) -> bytes:
    """The beginning of a frame."""
    return MAGIC + bytes([version << 2 | flags, memory]) + names


def body(codec: int, size: int, payload: bytes) -> bytes:
    """A block without its check."""
    return bytes([codec]) + numbers(size, len(payload)) + payload


def short_frame(head: bytes, whole: bytes, content: bytes = b"") -> bytes:
    """A frame of one small block, of which everything but the checks is given."""
    return head + whole + block_check(head + whole, True) + content_check(content, True)


def one(
    codec: int, size: int, payload: bytes, *, model: Model | None = None, memory: int = MEMORY
) -> bytes:
    """A frame of one block that claims so many bytes; model: the one it names."""
    head = header(memory=memory)
    if model:
        head = header(SINGLE | NAMES_MODEL, model.fingerprint[:4], memory=memory)
    return short_frame(head, body(codec, size, payload))


def several(head: bytes, blocks: list[BlockParts], content: bytes = b"") -> bytes:
    """A frame of several blocks, with the index."""
    out, placed = head, list[Block]()
    for codec, size, payload in blocks:
        whole = body(codec, size, payload)
        whole += block_check((b"" if placed else head) + whole, False)
        placed.append(Block(codec, size, payload, len(whole)))
        out += whole
    return out + b"\0" + content_check(content, False) + index_of(placed)


def container() -> Iterator[tuple[str, bytes]]:
    """Frames and blocks."""
    sound = short_frame(header(), body(RAW, 5, b"hello"), b"hello")
    yield "bad-empty", b""
    yield "bad-magic", b"\x8dLZ" + sound[3:]
    yield "bad-cut", sound[:-1]
    yield "bad-junk-behind", sound + b"junk"
    yield "bad-cut-second-frame", sound + sound[:4]
    yield "bad-block-check", sound[:-3] + bytes([sound[-3] ^ 1]) + sound[-2:]
    yield "bad-content-check", sound[:-1] + bytes([sound[-1] ^ 1])
    yield "bad-header-changed", sound[:4] + bytes([sound[4] ^ 1]) + sound[5:]
    yield (
        "bad-dictionary-without-model",
        short_frame(header(SINGLE | HAS_DICTIONARY, bytes(4)), body(RAW, 1, b"x")),
    )
    yield "bad-nothing-but-solid", header(SOLID, memory=0) + b"\0" + content_check(b"", False)
    yield "bad-nothing-with-memory", header(0, memory=40) + b"\0" + content_check(b"", False)
    yield "bad-end-in-single-block", header() + b"\0" + content_check(b"", True)
    yield "bad-number-too-long", short_frame(header(), bytes([RAW]) + b"\x81\x00\x01x", b"x")
    yield "bad-number-endless", short_frame(header(), bytes([RAW]) + b"\xff" * 12)
    yield "bad-size-0", short_frame(header(), body(RAW, 0, b""))
    yield "bad-size-too-large", header() + bytes([RAW]) + numbers(2**26 + 1, 1) + b"x"
    yield "bad-coded-size", short_frame(header(), body(RAW, 1, bytes(66)))
    yield "bad-raw-too-short", one(RAW, 6, b"hello")
    yield "bad-memory-lie", one(RAW, 5, b"hello", memory=40)
    two = several(header(0), [(RAW, 1, b"a"), (RAW, 1, b"b")], b"ab")
    yield "bad-index", two[:-14] + bytes([two[-14] ^ 1]) + two[-13:]
    yield "bad-index-missing", two[: -len(index_of([Block(RAW, 1, b"a", 9)] * 2))]
    yield "bad-index-magic", two[:-1] + b"j"


def general() -> Iterator[tuple[str, bytes]]:
    """The codecs zstd and xz."""
    text = b"some text, some text, some text"

    def packed(data: bytes) -> bytes:
        chosen = zstandard.ZstdCompressionParameters.from_level(
            3, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False
        )
        return zstandard.ZstdCompressor(compression_params=chosen).compress(data)

    yield "bad-zstd-noise", one(ZSTD, 30, b"\xff" * 20)
    yield "bad-zstd-too-long", one(ZSTD, len(text) - 1, packed(text))
    yield "bad-zstd-too-short", one(ZSTD, len(text) + 1, packed(text))
    yield "bad-zstd-two-frames", one(ZSTD, 2 * len(text), packed(text) * 2)
    window = b"\0\x58" + packed(text)[2:]  # a descriptor of a window of 2 MiB
    yield "bad-zstd-window", one(ZSTD, len(text), window)
    lzma2 = lzma.compress(
        text, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]
    )
    yield "bad-xz-filter", one(XZ, len(text), b"\2" + lzma2)
    yield "bad-xz-junk", one(XZ, len(text), b"\0" + lzma2 + b"x")
    yield "bad-xz-noise", one(XZ, 30, b"\0" + b"\xff" * 20)


def matches() -> Iterator[tuple[str, bytes]]:
    """Long-distance matches; what stands in brackets is literal length, match length, offset."""

    def of(size: int, inner: int, *sequences: tuple[int, int, int], rest: bytes = b"") -> bytes:
        said = bytes([inner]) + numbers(len(sequences), *(n for s in sequences for n in s))
        return one(MATCHES, size, said + rest)

    yield "bad-match-too-short", of(18, RAW, (3, 15, 3), rest=b"abc")
    yield "bad-match-offset-0", of(19, RAW, (3, 16, 0), rest=b"abc")
    yield "bad-match-before-all", of(19, RAW, (3, 16, 4), rest=b"abc")
    yield "bad-match-too-long", of(18, RAW, (3, 16, 3), rest=b"abc")
    yield "bad-match-inner-matches", of(20, MATCHES, (3, 16, 3), rest=b"abcd")
    yield "bad-match-inner-unknown", of(20, 9, (3, 16, 3), rest=b"abcd")
    yield "bad-match-nothing-left", of(20, 0, (3, 16, 3))
    yield "bad-match-cut", one(MATCHES, 19, bytes([RAW]) + numbers(2, 3, 16, 3))
    head = header(SOLID)
    blocks = [(RAW, 1, b"a")]
    yield (
        "bad-match-no-literals",
        several(head, [*blocks, (MATCHES, 16, bytes([RAW]) + numbers(1, 0, 16, 1))]),
    )
    blocks += [(MATCHES, 1 << 26, bytes([0]) + numbers(1, 0, 1 << 26, 1))] * 20
    yield "bad-bomb", several(head, blocks)


def of_model(model: Model) -> Iterator[tuple[str, bytes]]:
    """The codecs of the model."""

    def llm(size: int, *values: int, coded: bytes = b"\x12\x34\x56\x78") -> bytes:
        return one(LLM, size, numbers(*values) + coded, model=model)

    yield "bad-llm-without-model", one(LLM, 9, numbers(3, 0) + b"\x12")
    yield "bad-llm-tokens", llm(9, 10, 0)
    yield "bad-llm-no-tokens", llm(9, 0, 0)
    yield "bad-llm-streams", llm(9, 3, 4, 1, 8)
    yield "bad-llm-window-0", llm(9, 3, 1, 0, 8)
    yield "bad-llm-window", llm(9, 3, 1, 9, 8)
    yield "bad-llm-capacity-7", llm(9, 3, 1, 1, 7)
    yield "bad-llm-capacity-23", llm(9, 3, 1, 1, 23)
    yield "bad-llm-capacity-unusual", llm(9, 3, 1, 1, 9)
    yield "bad-llm-positions", llm(600, 513, 1, 8, 8)
    yield "bad-llm-hours", llm(3000, 1025, 8, 1, 0, coded=b"")
    yield "bad-llm-quotient", llm(9, 3, 0, coded=b"\xff" * 8)
    layout, chooser = usual_layout(1, 0, 0), Chooser.planned([0, 20])
    text = decode_streams(chooser, model, layout, None)
    yield (
        "bad-llm-size",
        one(LLM, len(text) + 1, numbers(1, 1, 1, 0) + chooser.finish(1), model=model),
    )
    yield (
        "bad-llm-token-unknown",
        one(LLM, 9, numbers(1, 1, 1, 0) + unknown_token(model), model=model),
    )
    head = header(NAMES_MODEL | SOLID, model.fingerprint[:8])
    payloads = [numbers(1, 1, 1, bits) + b"\x12\x34" for bits in (8, 9)]
    sizes = [len(first_token(model, payload)) for payload in payloads]
    yield (
        "bad-solid-capacity",
        several(head, [(LLM, s, p) for s, p in zip(sizes, payloads, strict=True)]),
    )
    yield "bad-meta-token-counts", one(META_TOKEN, 9, numbers(3, 3, 1) + b"\x12", model=model)
    yield (
        "bad-meta-token-brackets",
        one(META_TOKEN, 9, numbers(3, 4, 1) + brackets(model), model=model),
    )
    other = header(SINGLE | NAMES_MODEL, bytes.fromhex("00112233"))
    yield "unsupported-model", short_frame(other, body(LLM, 9, numbers(3, 0) + b"\x12"))
    names = model.fingerprint[:2] + bytes(4)
    other = header(SINGLE | NAMES_MODEL | HAS_DICTIONARY, names)
    yield "unsupported-dictionary", short_frame(other, body(LLM, 9, numbers(3, 0) + b"\x12"))


def first_token(model: Model, payload: bytes) -> bytes:
    """The text of a payload of one token without a size that is known."""
    return decode_streams(RangeDecoder(payload[4:]), model, usual_layout(1, 0, 0), None)


def unknown_token(model: Model) -> bytes:
    """The range coder's bytes for the last place of the last bucket, where no token is."""
    buckets = in_buckets(Streams(model, 1, 64, None).predict(1)[0])
    encoder = RangeEncoder()
    encoder.encode(cumulative_frequencies([sum(bucket) for bucket in buckets]), len(buckets) - 1)
    encoder.encode(cumulative_frequencies(buckets[-1]), 255)
    return encoder.shortest()


def brackets(model: Model) -> bytes:
    """The range coder's bytes of two tokens and two brackets that close before they open."""
    vocab = model.spec.vocab
    symbols = [vocab + 1, 20, 21, vocab]
    chooser = Chooser.planned([s // 256 for s in symbols] + [s % 256 for s in symbols])
    decode_symbols(chooser, len(symbols), vocab, 1)
    return chooser.finish(len(symbols))


def unsupported() -> Iterator[tuple[str, bytes]]:
    """What another version may bring."""
    text = body(RAW, 5, b"hello")
    for version in (2, 7, 15):
        yield f"unsupported-version-{version}", short_frame(header(version=version), text, b"hello")
    yield "unsupported-codec-7", one(7, 5, b"hello")


def all_files() -> dict[str, bytes]:
    """Every file, by its name without the suffix."""
    model = read_model(golden.DATA / "tiny")
    return {
        name: data
        for part in (container(), general(), matches(), of_model(model), unsupported())
        for name, data in part
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, data in all_files().items():
        (FOLDER / f"{name}.llmz").write_bytes(data)


if __name__ == "__main__":
    main()
