"""What a decoder uses: bombs end at once, and the account holds."""

from __future__ import annotations

import dataclasses
import io
import pathlib
import random
import sys
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.accounting import block_bytes
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.long_distance import LongDistanceCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.coding.range_coder import padded
from llmzip.container.block import MAX_LOOKBACK, Block
from llmzip.container.checks import content_check, is_short
from llmzip.container.codec_ids import END_OF_BLOCKS
from llmzip.container.frame_reader import FrameReader
from llmzip.container.header import FrameHeader, memory_code
from llmzip.container.varint import ByteReader, varint
from llmzip.engine_loader import EngineLoader
from llmzip.errors import FormatError, IntegrityError, LimitError, TruncatedError
from llmzip.levels import LEVELS
from llmzip.limits import FREE_OUTPUT
from llmzip.mixing.base import MIXING_VERSION, capacity_bits_for, mixer_bytes
from llmzip.mixing.reference import ReferenceContextMixer
from llmzip.mixing.token_classes import token_classes
from llmzip.model.integer_model import IntegerModel
from llmzip.predictor.stream_layout import StreamLayout, decoder_bytes_bound, max_tokens
from tests import golden, measured
from tests.as_reference import reference_model
from tests.conftest import tiny
from tests.reference_decoder import working_memory
from tests.reference_decoder.byte_reader import ByteReader as ReferenceReader
from tests.reference_decoder.llm import context_of, read_layout
from tests.reference_decoder.range_decoder import RangeDecoder

MIB = 1 << 20
SECONDS, PEAK = 1.0, 300 * MIB

pytestmark = pytest.mark.skipif(not measured.CAN_MEASURE, reason="needs /proc/self/clear_refs")


def numbers(*values: int) -> bytes:
    return b"".join(map(varint, values))


def frame_of(*blocks: Block, version: int = 4, memory: int = 1 << 22, solid: bool = False) -> bytes:
    """A frame around blocks that no encoder writes, with right checks; the content's is of
    nothing.
    """
    single = len(blocks) == 1
    of_model = any(block.codec in (LLMCodec.id, MetaTokenCodec.id) for block in blocks)
    fingerprint = tiny().fingerprint[: 8 >> single] if of_model else b""
    header = FrameHeader(single, memory_code(memory), fingerprint, solid=solid, version=version)
    body = b"".join(block.to_bytes(None if i else header) for i, block in enumerate(blocks))
    check = content_check(xxhash.xxh3_64(), is_short(single, blocks[0].size))
    return header.to_bytes() + body + (b"" if single else bytes([END_OF_BLOCKS])) + check


def zstd_of_runs(runs: int) -> bytes:
    """A Zstandard frame without its magic number: so many runs of 128 KiB, four bytes each."""
    run = (131072 << 3 | 1 << 1).to_bytes(3, "little") + b"x"
    last = (131072 << 3 | 1 << 1 | 1).to_bytes(3, "little") + b"x"
    return bytes([0, 10 << 3]) + run * (runs - 1) + last  # a window of 1 MiB


MOST = 1 << 26
BOMBS: dict[str, tuple[bytes, dict[str, int], type[Exception]]] = {}
for v in (3, 4):
    BOMBS |= {
        f"window, version {v}": (
            frame_of(Block(LLMCodec.id, 300, numbers(300, 300, 8, 0) + b"abc"), version=v),
            {"max_memory": 4 * MIB},
            LimitError,
        ),
        f"a window beyond everything, version {v}": (
            frame_of(Block(LLMCodec.id, 300, numbers(300, 300, 1 << 50, 0) + b"abc"), version=v),
            {"max_memory": 4 * MIB},
            FormatError,
        ),
        f"streams, version {v}": (
            frame_of(Block(LLMCodec.id, 4096, numbers(4096, 512, 1, 0) + b"abc"), version=v),
            {"max_memory": 64 * MIB},
            LimitError,
        ),
        f"more streams than that, version {v}": (
            frame_of(
                Block(LLMCodec.id, MOST, numbers(MOST, MOST, 1, 0) + b"abc"),
                version=v,
                memory=128 * MIB,
            ),
            {"max_memory": 128 * MIB},
            FormatError,
        ),
        f"mixer, version {v}": (
            frame_of(
                Block(LLMCodec.id, 300, numbers(300, 3, 1, 22) + b"abc"),
                version=v,
                memory=128 * MIB,
                solid=True,
            ),
            {"max_memory": 128 * MIB},
            LimitError,
        ),
        f"zstd, version {v}": (
            frame_of(Block(ZstdCodec.id, MIB, zstd_of_runs(16384)), version=v, memory=MIB),
            {"max_memory": MIB, "max_output": MIB},
            LimitError,
        ),
        f"zstd within the limit, version {v}": (
            frame_of(Block(ZstdCodec.id, MIB, zstd_of_runs(16384)), version=v, memory=16 * MIB),
            {"max_memory": 16 * MIB, "max_output": MIB},
            IntegrityError,
        ),
        f"meta-tokens, version {v}": (
            frame_of(
                Block(MetaTokenCodec.id, MOST, numbers(MOST, MOST, MOST) + bytes(20)), version=v
            ),
            {"max_memory": 128 * MIB},
            FormatError,
        ),
        f"meta-tokens as many as there may be, version {v}": (
            frame_of(
                Block(MetaTokenCodec.id, MOST, numbers(MOST, 16000, 5000) + bytes(20)), version=v
            ),
            {"max_memory": 128 * MIB},
            LimitError,
        ),
        f"tokens, version {v}": (
            frame_of(
                Block(LLMCodec.id, MOST, numbers(MOST, 512, 8, 0) + b"abc"),
                version=v,
                memory=1 << 30,
            ),
            {},
            FormatError,
        ),
        f"output, version {v}": (
            frame_of(
                Block(LongDistanceCodec.id, MOST, b"\x01" + numbers(1, 1, MOST - 1, 1) + b"x"),
                version=v,
                memory=MIB,
            ),
            {"max_output": MIB},
            LimitError,
        ),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return tmp_path_factory.mktemp("limits")


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_end_at_once(folder: pathlib.Path, name: str) -> None:
    data, limits, error = BOMBS[name]
    path = folder / "bomb"
    path.write_bytes(data)
    was = measured.decode(path, warm=golden.frame_path("short"), **limits)
    assert was.error == error.__name__
    assert was.seconds < SECONDS
    assert was.peak < PEAK


def test_matches_of_what_lies_far_back_cost_their_length(folder: pathlib.Path) -> None:
    """Each took a fifth of a second when the 64 MiB before it were copied first."""
    first = Block(XzCodec.id, MOST, XzCodec(preset=0).encode(bytes(MOST)))
    far = Block(LongDistanceCodec.id, 16, b"\x00" + numbers(1, 0, 16, MOST))
    (folder / "near").write_bytes(frame_of(first, memory=1 << 30, solid=True))
    (folder / "far").write_bytes(frame_of(first, *[far] * 1000, memory=1 << 30, solid=True))
    near, all_of_it = (measured.decode(folder / name) for name in ("near", "far"))
    # When all is decoded, the content's check and the index are wrong.
    assert (near.error, all_of_it.error) == (IntegrityError.__name__, TruncatedError.__name__)
    assert all_of_it.seconds < near.seconds + 2
    assert all_of_it.peak < near.peak + 80 * MIB


def test_output_is_limited_by_what_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmzip.limits.FREE_OUTPUT", 1000)
    zeros = llmzip.compress(bytes(3 * MIB))
    assert llmzip.decompress(zeros) == bytes(3 * MIB)
    with pytest.raises(LimitError, match="usual for so small a file"):
        llmzip.decompress(
            frame_of(Block(LongDistanceCodec.id, MOST, b"\x01" + numbers(1, 1, MOST - 1, 1) + b"x"))
        )
    assert FREE_OUTPUT >= MOST


TEXT = golden.TEXT
MOSTLY_NEW = random.Random(1).randbytes(3 * MIB) * 2


def words(size: int) -> bytes:
    """Text that does not repeat itself, of the tiny model's words."""
    known = sorted(set(TEXT.decode().split()))
    chosen = random.Random(2)
    return " ".join(chosen.choice(known) for _ in range(size // 5)).encode()[:size]


CORNERS: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "one stream": (words(900), {"level": 9}, "native"),
    "one stream, torch": (words(900), {"level": 9}, "torch"),
    "many streams": (words(40_000), {"level": 1, "codec": "llm"}, "native"),
    "many streams, torch": (words(20_000), {"level": 1, "codec": "llm"}, "torch"),
    "long streams": (words(100_000), {"level": 9, "codec": "llm"}, "native"),
    "without a mixer": (words(40_000), {"level": 1, "codec": "llm", "mixing": False}, "native"),
    "solid": (
        words(40_000),
        {"level": 1, "codec": "llm", "solid": True, "block_size": 1 << 14},
        "native",
    ),
    "dictionary": (words(20_000), {"level": 1, "codec": "llm", "dictionary": TEXT}, "native"),
    "raw": (MOSTLY_NEW, {"codec": "raw", "block_size": 8 * MIB}, "native"),
    "zstd": (MOSTLY_NEW, {"codec": "zstd", "block_size": 8 * MIB}, "native"),
    "xz": (MOSTLY_NEW, {"codec": "xz", "block_size": 8 * MIB}, "native"),
    "ldm": (MOSTLY_NEW, {"block_size": 4 * MIB, "solid": True}, "native"),
    "meta-token": (words(MIB), {"codec": "meta-token"}, "native"),
    "literals": (bytes(range(128, 256)) * 4000, {"codec": "meta-token"}, "native"),
}


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize("name", CORNERS)
def test_the_account_is_what_decoding_takes(folder: pathlib.Path, name: str) -> None:
    data, options, engine = CORNERS[name]
    path = folder / "frame"
    path.write_bytes(llmzip.compress(data, model=tiny(), **options))
    stated = llmzip.get_frame_info(path.read_bytes()).memory
    dictionary = {}
    if "dictionary" in options:
        (folder / "dictionary").write_bytes(options["dictionary"])
        dictionary = {"dictionary": str(folder / "dictionary")}
    was = measured.decode(path, engine=engine, warm=golden.frame_path("short"), **dictionary)
    print(f"{name}: {stated / MIB:.1f} MiB stated, {was.grown / MIB:.1f} taken")
    assert (was.error, was.size) == ("", len(data))
    kept = MAX_LOOKBACK if options.get("solid") else 0  # of which these take little
    assert was.grown <= stated <= 6 * was.grown + 8 * MIB + kept


@given(
    level=st.sampled_from(sorted(LEVELS)),
    part=st.floats(0, 1),
    positions=st.sampled_from([256, 512, 8192]),
    context=st.sampled_from([0, 1, 100, 128]),
    has_mixing=st.booleans(),
)
def test_a_frames_bound_covers_its_blocks(
    level: int, part: float, positions: int, context: int, has_mixing: bool
) -> None:
    spec = dataclasses.replace(tiny().spec, max_positions=positions)
    chosen = LEVELS[level]
    tokens = max(1, int(part * min(max_tokens(chosen, spec, context), chosen.block_size)))
    layout = StreamLayout.for_level(chosen, tokens, spec, context)
    layout = dataclasses.replace(
        layout, capacity_bits=capacity_bits_for(tokens) if has_mixing else 0
    )
    need = block_bytes(MIB, False, layout.decoder_bytes(spec, bool(context)))
    assert need <= block_bytes(
        MIB,
        False,
        decoder_bytes_bound(chosen, spec, context, None if has_mixing else 0, bool(context)),
    )


def test_the_mixer_in_numpy_keeps_to_the_account() -> None:
    spec, bits = tiny().spec, 10
    classes = token_classes(tiny().vocabulary.token_bytes)
    mixer = ReferenceContextMixer(bits, spec.d_model, spec.vocab, spec.start_token, classes)
    random_of = np.random.default_rng(1)
    for _ in range(40):
        top = random_of.permuted(np.tile(np.arange(spec.vocab, dtype=np.int32), (32, 1)), axis=1)[
            :, :8
        ]
        mixer.start(32, np.empty(0, np.int32))
        tokens = mixer.recall(
            random_of.integers(-127, 128, (32, spec.d_model)).astype(np.int8), top
        )
        mixer.mix(np.where(tokens < 0, 0, 1000).astype(np.int32), np.full(32, 10**6))
        mixer.learn(top[:, 0], np.full(32, 1000, np.int32))
    held = 0
    for expert in mixer._experts:
        for value in vars(expert).values():
            for part in (
                value.values()
                if isinstance(value, dict)
                else value
                if isinstance(value, list)
                else [value]
            ):
                held += part.nbytes if isinstance(part, np.ndarray) else sys.getsizeof(part)
    # What a step of a stream needs is in the streams' part of the account, 2**17 bytes each.
    assert held <= mixer_bytes(bits, spec.d_model, spec.vocab) + 32 * 5120


def test_payloads_have_a_byte_for_every_1024_tokens(tiny_model: IntegerModel) -> None:
    """Zeros are added where the coder needs fewer bytes, and change nothing; without them decoders
    refuse.
    """
    assert [len(padded(b"ab", tokens)) for tokens in (1, 3072, 3073, 4097)] == [2, 2, 3, 4]
    codec = MetaTokenCodec(tiny_model)
    block = golden.TEXT
    payload = codec.encode(block)
    assert codec.decode(payload + bytes(9), len(block)) == block
    few, more = RangeDecoder(b"\x01"), RangeDecoder(b"\x01" + bytes(9))
    assert few.decode(range((1 << 24) + 1)) == more.decode(range((1 << 24) + 1))
    head = numbers(1025, 1, 8, 0)
    llm = LLMCodec(EngineLoader(tiny_model).for_compression())
    with pytest.raises(FormatError, match="0 coded bytes"):
        llm.decode(head, 2000)
    assert llm.decoder_bytes(numbers(1025, 5, 8, 0) + b"\0", 2000) > 0


def documented_need(size: int, payload: bytes, dictionary_tokens: int) -> int:
    """What the decoder written from docs/format.md says: of a block of the llm codec in a frame
    that is not solid.
    """
    spec = reference_model(tiny()).spec
    context = len(context_of(range(dictionary_tokens), spec))
    layout = read_layout(ReferenceReader(payload), size, spec, context, dictionary_tokens, False)
    need = working_memory.llm_bytes(layout, spec, context, bool(dictionary_tokens), MIXING_VERSION)
    return working_memory.block_bytes(size, False) + need


@pytest.mark.parametrize("name", ["short", "text", "streams", "no-mixing", "dictionary", "escapes"])
def test_headers_state_what_the_document_says(tiny_model: IntegerModel, name: str) -> None:
    frame = FrameReader(ByteReader(io.BytesIO(golden.frame_path(name).read_bytes())))
    header, block = frame.header, frame.read_block()
    assert header.single_block
    assert block is not None
    dictionary = len(tiny_model.tokenizer.encode(golden.needs(name).get("dictionary", b"")).ids)
    assert header.memory_code == memory_code(documented_need(block.size, block.payload, dictionary))
