"""Mixers, dictionaries and solid frames, through the surfaces that everyone uses."""

from __future__ import annotations

import dataclasses
import io
import math
import pathlib
import random
from collections.abc import Sequence

import numpy as np
import pytest
import xxhash
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import levels
from llmzip.arithmetic.powers import exp2, log2
from llmzip.cli.main import llmzip as command
from llmzip.codecs.llm import LLMCodec
from llmzip.container.block import Block, read_block
from llmzip.container.checks import content_check, is_short
from llmzip.container.codec_ids import END_OF_BLOCKS
from llmzip.container.header import FrameHeader, memory_code
from llmzip.container.index import index_bytes
from llmzip.container.varint import ByteReader, varint
from llmzip.engine import torch_engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import DictionaryError, FormatError, IntegrityError, LimitError
from llmzip.mixing.base import ContextMixer, mixer_bytes
from llmzip.mixing.token_classes import CLASSES, token_classes
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.dictionary import Dictionary
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.stream_layout import StreamLayout
from tests.as_reference import reference_model
from tests.conftest import tiny
from tests.golden import TEXT
from tests.reference_decoder.llm import decode_llm
from tests.reference_decoder.token_classes import token_classes as documented_classes

LINES = [b"%d: the request of user %d was refused\n" % (i * i % 89, i * i % 97) for i in range(40)]
BLOCK = 120
REFERENCE, MESSAGE = b"".join(LINES[:6]), b"".join(LINES[12:15])


@pytest.fixture(autouse=True)
def in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mixer that the document describes, also where the C core is built."""
    monkeypatch.setattr(torch_engine, "native_is_available", lambda: False)
    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", BLOCK)  # it is slow


def compressed(data: bytes, **options: object) -> bytes:
    return llmzip.compress(data, model=tiny(), runtime=llmzip.Runtime(engine="torch"), **options)  # type: ignore[arg-type]


def decompressed(frame: bytes, **options: object) -> bytes:
    return llmzip.decompress(frame, model=tiny(), runtime=llmzip.Runtime(engine="torch"), **options)  # type: ignore[arg-type]


def tokens_of(data: bytes) -> Tokens:
    return tiny().tokenizer.encode(data)


# ---- arithmetic ----------------------------------------------------------------------------------


@given(st.lists(st.floats(2.0**-100, 2.0**100, width=32), min_size=1, max_size=50))
def test_log2_keeps_the_documents_bound(values: list[float]) -> None:
    got = log2(np.array(values, np.float32)).tolist()
    for x, y in zip(values, got, strict=True):
        exponent = math.frexp(x)[1] - 1
        rounding = abs(exponent) * 2.0**-24  # of the sum with the exponent
        assert abs(y - math.log2(x)) < 9e-4 + rounding


@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=50))
def test_exp2_keeps_the_documents_bound(values: list[float]) -> None:
    got = exp2(np.array(values, np.float32)).tolist()
    assert all(abs(y / 2.0**x - 1) < 1.04e-4 for x, y in zip(values, got, strict=True))


def test_powers_are_exact_and_continuous_at_powers_of_two() -> None:
    whole = np.arange(-30, 31).astype(np.float32)
    powers = np.array([2.0 ** int(w) for w in whole], np.float32)
    assert exp2(whole).tolist() == powers.tolist()
    assert log2(powers).tolist() == whole.tolist()
    below = np.nextafter(powers, np.float32(0))
    assert np.abs(log2(below) - whole).max() < 1e-5
    assert np.abs(exp2(np.nextafter(whole[1:], np.float32(-31))) / powers[1:] - 1).max() < 1e-5


# ---- classes of tokens ---------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=3) | st.sampled_from([b" a", b"  a", b" Z", b" ", b" \n"])))
def test_classes_of_tokens_equal_the_document(tokens: list[bytes]) -> None:
    assert token_classes(tokens).tolist() == documented_classes(tokens)


def test_each_byte_has_the_documents_class() -> None:
    tokens = [text for i in range(256) for text in (bytes([i]), bytes([0x20, i]), bytes([i, 0x20]))]
    classes = token_classes([b"", *tokens])
    assert classes.tolist() == documented_classes([b"", *tokens])
    assert set(classes.tolist()) == set(range(CLASSES))


# ---- coding with a mixer -------------------------------------------------------------------------


@settings(max_examples=25)
@given(
    data=st.binary(min_size=1, max_size=150) | st.text(min_size=1, max_size=150).map(str.encode),
    repeats=st.integers(1, 3),
    streams=st.integers(1, 40),
    bits=st.sampled_from([8, 9, 12]),
)
def test_any_bytes_come_back_with_any_number_of_streams(
    data: bytes, repeats: int, streams: int, bits: int
) -> None:
    engine = TorchEngine(tiny())
    tokens = tokens_of(data * repeats)
    count = len(tokens.ids)
    streams = min(streams, count)
    coded = encode_tokens(
        engine, tokens, StreamLayout(len(tokens.ids), streams, 128), engine.mixer(bits)
    )
    got = decode_tokens(engine, coded, StreamLayout(count, streams, 128), engine.mixer(bits))
    assert got.ids.tolist() == tokens.ids.tolist()
    assert got.literals == tokens.literals


def check_against_the_document(data: bytes, streams: int, bits: int) -> None:
    """What the engine codes, the decoder written from the documents reads."""
    model = tiny()
    engine, tokens = TorchEngine(model), tokens_of(data)
    parameters = (len(tokens.ids), streams, 2, bits)
    payload = b"".join(map(varint, parameters)) + encode_tokens(
        engine, tokens, StreamLayout(len(tokens.ids), streams, 128), engine.mixer(bits)
    )
    assert decode_llm(payload, len(data), reference_model(model))[0] == data


def test_a_mixer_that_forgets_equals_the_document() -> None:
    """Twice as many positions as it holds, contexts with more neighbors than vote, escapes."""
    check_against_the_document((b"abc abd abe " * 60 + b"\x00\x01" * 30)[:750], 5, 8)


@pytest.mark.slow
def test_a_long_text_equals_the_document(english: bytes) -> None:
    """The ring wraps some seven times; counts of matches are halved; corrections meet their
    limit.
    """
    check_against_the_document(
        english[:1800] + english[:600].replace(b"e", b"a") + b"a" * 900, 12, 8
    )


@pytest.mark.slow
def test_a_monotonous_text_equals_the_document(english: bytes) -> None:
    """More positions of one token than are looked at, and a bin of trust that is halved."""
    check_against_the_document(english[:300] + b"a" * 2700, 30, 12)


def coded_sizes(data: bytes) -> tuple[int, int]:
    """Coded bytes with and without a mixer."""
    engine, tokens = TorchEngine(tiny()), tokens_of(data)
    streams = -(-len(tokens.ids) // 500)
    with_mixing, without = (
        len(encode_tokens(engine, tokens, StreamLayout(len(tokens.ids), streams, 512), m))
        for m in (engine.mixer(11), None)
    )
    return with_mixing, without


@pytest.mark.parametrize(
    "data",
    [
        bytes(random.Random(1).choices(range(32, 127), k=1200)),
        random.Random(1).randbytes(600),
        b"word",
        "人類社会のすべての構成員の固有の尊厳と平等で譲ることのできない権利とを承認することは、".encode(),
        TEXT[:200],
        TEXT,
    ],
    ids=["printable", "bytes", "word", "cjk", "short", "text"],
)
def test_a_mixer_hardly_costs_where_there_is_nothing_to_remember(data: bytes) -> None:
    with_mixing, without = coded_sizes(data)
    assert with_mixing <= without * 1.001 + 4


def test_repetition_gets_much_smaller() -> None:
    with_mixing, without = coded_sizes(b"".join(LINES))
    assert with_mixing < without * 0.5


def test_encoding_twice_gives_the_same_bytes_and_a_copied_mixer_is_independent(
    tiny_engine: TorchEngine,
) -> None:
    tokens = tokens_of(TEXT[:300])
    mixer = tiny_engine.mixer(8)
    fresh = mixer.copy()
    layout = StreamLayout(len(tokens.ids), 2, 128)
    first = encode_tokens(tiny_engine, tokens, layout, mixer)
    assert encode_tokens(tiny_engine, tokens, layout, fresh) == first
    # The mixer has read this before.
    assert len(encode_tokens(tiny_engine, tokens, layout, mixer)) < len(first) / 2


# ---- dictionaries --------------------------------------------------------------------------------


def test_another_or_a_missing_dictionary_is_refused_by_its_digest() -> None:
    frame = compressed(MESSAGE, dictionary=REFERENCE)
    digest = FrameHeader.read(ByteReader(io.BytesIO(frame))).dictionary_id.hex()
    with pytest.raises(DictionaryError, match=f"{digest}.*was not given"):
        decompressed(frame)
    with pytest.raises(
        DictionaryError, match=f"another dictionary: digest {digest}, the given one has"
    ):
        decompressed(frame, dictionary=REFERENCE + b".")
    assert decompressed(frame, dictionary=REFERENCE) == MESSAGE


def test_frames_without_a_dictionary_ignore_one() -> None:
    assert decompressed(compressed(MESSAGE), dictionary=REFERENCE) == MESSAGE


def test_a_kept_dictionary_gives_the_same_bytes() -> None:
    dictionary = Dictionary(bytearray(REFERENCE))
    frame = compressed(MESSAGE, dictionary=REFERENCE)
    assert [compressed(MESSAGE, dictionary=dictionary) for _ in range(2)] == [frame, frame]
    assert decompressed(frame, dictionary=dictionary) == MESSAGE
    assert len(frame) < 0.9 * len(compressed(MESSAGE))


@pytest.mark.parametrize(
    "reference",
    [b"", b"x", b"\xff\xfe caf\xe9 \x04\x00", "déjà vu – 人類".encode(), b"<|endoftext|>"],
)
@pytest.mark.parametrize("mixing", [True, False])
def test_any_bytes_are_a_dictionary(reference: bytes, mixing: bool) -> None:
    frame = compressed(MESSAGE[:80], dictionary=reference, mixing=mixing, codec="llm")
    assert decompressed(frame, dictionary=reference) == MESSAGE[:80]
    assert FrameHeader.read(ByteReader(io.BytesIO(frame))).dictionary_id


# ---- several blocks ------------------------------------------------------------------------------

# Too short for matches.
LONG = TEXT[:120] + TEXT[30:120] + MESSAGE + TEXT[10:40]
SEEKS = [(len(LONG) - 5, 100), (0, 50), (BLOCK - 4, 10), (2 * BLOCK + 5, 100)]
SOLID = [{"solid": True}, {"dictionary": REFERENCE}, {"solid": True, "dictionary": REFERENCE}]


@pytest.mark.parametrize("options", SOLID, ids=["solid", "dictionary", "both"])
def test_solid_frames_and_those_with_a_dictionary_come_back_whole_and_in_pieces(
    options: dict[str, object],
) -> None:
    dictionary = {key: Dictionary(REFERENCE) for key in options if key == "dictionary"}
    frame = compressed(LONG, level=1, block_size=BLOCK, **{**options, **dictionary})
    assert llmzip.list_frames(io.BytesIO(frame))[0].blocks == 3
    assert decompressed(frame, **dictionary) == LONG
    assert "solid" not in options or len(frame) < 0.9 * len(
        compressed(LONG, level=1, block_size=BLOCK)
    )
    with llmzip.open(
        io.BytesIO(frame), model=tiny(), runtime=llmzip.Runtime(engine="torch"), **dictionary
    ) as file:
        for offset, size in SEEKS:
            file.seek(offset)
            assert file.read(size) == LONG[offset : offset + size]


@pytest.mark.parametrize("dictionary", [None, REFERENCE])
@pytest.mark.parametrize("size", [1, 20, 1300])
def test_one_block_alone_is_read_though_it_was_to_be_solid(
    size: int, dictionary: bytes | None
) -> None:
    """Its mixer is as large as a solid frame's, so the frame must be one: others allow no more than
    the block needs.
    """
    frame = llmzip.compress(
        TEXT[:size], model=tiny(), solid=True, level=1, block_size=4096, dictionary=dictionary
    )
    assert llmzip.decompress(frame, model=tiny(), dictionary=dictionary) == TEXT[:size]


def test_blocks_of_a_solid_frame_need_those_before() -> None:
    _, blocks = taken_apart(compressed(LONG, level=1, block_size=BLOCK, solid=True))
    codec = LLMCodec(TorchEngine(tiny()), solid=True)
    carried: ContextMixer | None = None
    content = b""
    for block in blocks:
        data, carried = codec.decode_block(block.payload, block.size, carried)
        content += data
    assert content == LONG
    with pytest.raises(IntegrityError):
        codec.decode(blocks[1].payload, blocks[1].size)


# ---- frames that no encoder writes ---------------------------------------------------------------


def taken_apart(frame: bytes) -> tuple[FrameHeader, list[Block]]:
    reader = ByteReader(io.BytesIO(frame))
    header = FrameHeader.read(reader)
    first = read_block(reader, header)
    blocks = [first] if first else []
    while not header.single_block and (block := read_block(reader)):
        blocks.append(block)
    return header, blocks


def assembled(header: FrameHeader, blocks: Sequence[Block], content: bytes) -> bytes:
    """A frame with right checks around whatever the blocks are."""
    written = [block.to_bytes(header if i == 0 else None) for i, block in enumerate(blocks)]
    end = b"" if header.single_block else bytes([END_OF_BLOCKS])
    entries = [(len(data), block.size) for data, block in zip(written, blocks, strict=True)]
    index = index_bytes(entries) if len(blocks) > 1 else b""
    check = content_check(xxhash.xxh3_64(content), is_short(header.single_block, blocks[0].size))
    return header.to_bytes() + b"".join(written) + end + check + index


FIELDS = ("tokens", "streams", "window", "capacity")


def changed(block: Block, **fields: int) -> Block:
    """The block with other parameters in its payload, which are all spelt out then."""
    source = io.BytesIO(block.payload)
    reader = ByteReader(source)
    values = {name: reader.varint(name) for name in FIELDS[:2]}
    if values["streams"]:
        values |= {name: reader.varint(name) for name in FIELDS[2:]}
    elif fields:
        values |= {"streams": 1, "window": 64, "capacity": 12}
    values |= fields
    return Block(
        block.codec,
        block.size,
        b"".join(varint(values[name]) for name in FIELDS if name in values) + source.read(),
    )


PLENTY = memory_code(1 << 30)


def test_frames_put_together_again_are_the_same() -> None:
    for options in ({}, {"level": 1, "block_size": BLOCK}):
        frame = compressed(LONG, **options)
        header, blocks = taken_apart(frame)
        assert assembled(header, [changed(block) for block in blocks], LONG) == frame


@pytest.mark.parametrize("capacity", [1, 7, 23, 64, 1 << 40])
def test_mixers_of_impossible_size_are_refused(capacity: int) -> None:
    header, (block,) = taken_apart(compressed(MESSAGE))
    header = dataclasses.replace(header, memory_code=PLENTY)
    with pytest.raises(FormatError, match=f"mixing capacity {capacity}"):
        decompressed(assembled(header, [changed(block, capacity=capacity)], MESSAGE))


def test_a_window_smaller_than_the_context_is_refused() -> None:
    assert len(tokens_of(REFERENCE).ids) > 64
    header, (block,) = taken_apart(compressed(MESSAGE, dictionary=REFERENCE))
    with pytest.raises(FormatError, match="window 64"):
        decompressed(assembled(header, [changed(block, window=1)], MESSAGE), dictionary=REFERENCE)


def test_a_context_takes_positions_from_the_streams() -> None:
    header, (block,) = taken_apart(compressed(MESSAGE, dictionary=REFERENCE))
    context = len(tokens_of(REFERENCE).ids)
    header = dataclasses.replace(header, memory_code=PLENTY)
    tokens = tiny().spec.max_positions - context + 1
    larger = changed(Block(block.codec, tokens, block.payload), tokens=tokens, streams=1)
    with pytest.raises(FormatError, match=f"{tokens} tokens"):
        decompressed(assembled(header, [larger], MESSAGE), dictionary=REFERENCE)


def test_a_mixer_larger_than_the_header_says_is_refused() -> None:
    header, (block,) = taken_apart(compressed(MESSAGE))
    for smaller in (0, header.memory_code - 1):
        lying = dataclasses.replace(header, memory_code=smaller)
        with pytest.raises(LimitError, match="that its frame states"):
            decompressed(assembled(lying, [block], MESSAGE))


def test_a_callers_limit_counts_the_mixer() -> None:
    frame = compressed(MESSAGE)
    need = FrameHeader.read(ByteReader(io.BytesIO(frame))).memory
    assert decompressed(frame, max_memory=need) == MESSAGE
    with pytest.raises(LimitError, match="the limit is"):
        decompressed(frame, max_memory=need - 1)
    with_mixing, without = (StreamLayout(100, 1, 128, capacity_bits=bits) for bits in (8, 0))
    difference = mixer_bytes(8, tiny().spec.d_model, tiny().spec.vocab)
    assert (
        with_mixing.decoder_bytes(tiny().spec, False)
        == without.decoder_bytes(tiny().spec, False) + difference
    )


def test_a_mixer_keeps_its_size_in_a_solid_frame() -> None:
    header, blocks = taken_apart(compressed(LONG, level=1, block_size=BLOCK, solid=True))
    header = dataclasses.replace(header, memory_code=PLENTY)
    for capacity in (19, 21):
        with pytest.raises(FormatError, match="capacity changes"):
            decompressed(
                assembled(
                    header, [blocks[0], changed(blocks[1], capacity=capacity), blocks[2]], LONG
                )
            )


def test_blocks_without_a_mixer_leave_the_shared_one_as_it_is() -> None:
    header, blocks = taken_apart(
        compressed(LONG[: 2 * BLOCK], level=1, block_size=BLOCK, codec="llm", solid=True)
    )
    apart = LLMCodec(TorchEngine(tiny()), mixing=False).encode(TEXT[:100])
    between = [blocks[0], Block(LLMCodec.id, 100, apart), blocks[1]]
    content = LONG[:BLOCK] + TEXT[:100] + LONG[BLOCK : 2 * BLOCK]
    assert decompressed(assembled(header, between, content)) == content


# ---- the command line ----------------------------------------------------------------------------


@pytest.fixture
def folder(cache_with_tiny_model: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "message").write_bytes(LONG)
    (tmp_path / "reference").write_bytes(REFERENCE)
    return tmp_path


def run(*args: object) -> Result:
    return CliRunner().invoke(command, [str(arg) for arg in args], prog_name="llmzip")


@pytest.mark.parametrize(
    "options", [["--no-mixing"], ["--solid"], ["--dictionary", "reference"]], ids=lambda o: o[0]
)
def test_the_command_line_passes_them_on(folder: pathlib.Path, options: list[str]) -> None:
    options = [str(folder / o) if o == "reference" else o for o in options]
    given: dict[str, object] = {
        "--no-mixing": {"mixing": False},
        "--solid": {"solid": True},
        "--dictionary": {"dictionary": REFERENCE},
    }[options[0]]
    packed = folder / "message.llmz"
    assert run("-1", "--block-size", BLOCK, *options, folder / "message").exit_code == 0
    assert packed.read_bytes() == compressed(LONG, level=1, block_size=BLOCK, **given)
    result = run(
        "-d", "-o", folder / "out", *(options if "--dictionary" in options else []), packed
    )
    assert (result.exit_code, (folder / "out").read_bytes()) == (0, LONG)


def test_a_missing_or_another_dictionary_is_one_error(folder: pathlib.Path) -> None:
    result = run("--dictionary", folder / "nowhere", folder / "message")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"llmzip: --dictionary {folder / 'nowhere'}: No such file or directory"
    ]
    assert not (folder / "message.llmz").exists()
    assert run("--dictionary", folder / "reference", folder / "message").exit_code == 0
    for arguments, said in (
        ([], "was not given: give the same text with --dictionary FILE"),
        (["--dictionary", folder / "message"], "made with another"),
    ):
        result = run("-dc", *arguments, folder / "message.llmz")
        assert result.exit_code == 1
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1


def test_solid_without_a_mixer_is_a_mistake(folder: pathlib.Path) -> None:
    result = run("--solid", "--no-mixing", folder / "message")
    assert result.exit_code == 2
    assert "--no-mixing" in result.stderr
