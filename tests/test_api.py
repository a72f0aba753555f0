"""The Python API: one-shot, incremental, limits, errors."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import os
import pathlib
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import compressor, levels, many, open_file
from llmzip.blocks.options import CompressionOptions
from llmzip.engine.base import Engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokenizer, Tokens
from llmzip.predictor.lockstep import encode_tokens
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.records import RecordReader
from tests.conftest import TINY_DIRECTORY, tiny
from tests.test_tokenizer import NASTY

Field = dataclasses.Field[Any]


@settings(max_examples=40)
@given(
    data=st.binary(max_size=3000)
    | st.text(max_size=800).map(str.encode)
    | st.sampled_from(list(NASTY.values())),
    level=st.integers(1, 9),
    block_size=st.none() | st.integers(1024, 2000),
)
def test_round_trip(data: bytes, level: int, block_size: int | None) -> None:
    packed = llmzip.compress(data, level, model=tiny(), block_size=block_size)
    assert llmzip.decompress(packed, model=tiny()) == data
    assert len(packed) <= len(data) * 1.001 + 32 + 16 * (len(data) // 1024 if block_size else 0)


@pytest.mark.parametrize("kind", [bytearray, memoryview, lambda d: np.frombuffer(d, np.uint8)])
def test_any_buffer_is_accepted(tiny_model: IntegerModel, kind) -> None:  # type: ignore[no-untyped-def]
    packed = llmzip.compress(kind(b"some text, some text"), model=tiny_model)
    assert llmzip.decompress(kind(packed), model=tiny_model) == b"some text, some text"


COMPRESSING: dict[str, Callable[..., object]] = {
    "LLMZipCompressor": llmzip.LLMZipCompressor,
    "compress": lambda **given: llmzip.compress(b"", **given),
    "compress_many": lambda **given: list(llmzip.compress_many([], **given)),
    "compress_stream": lambda **given: llmzip.compress_stream(io.BytesIO(), io.BytesIO(), **given),
    "LLMZipFile": lambda **given: llmzip.LLMZipFile(io.BytesIO(), "w", **given),
    "open": lambda **given: llmzip.open(io.BytesIO(), "w", **given),
}


@pytest.mark.parametrize("function", COMPRESSING)
def test_no_level_is_the_default_one(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def note(**options: Any) -> CompressionOptions:
        given.append(options["level"])
        return CompressionOptions(**options)

    for module in (compressor, many):
        monkeypatch.setattr(module, "CompressionOptions", note)
    COMPRESSING[function](level=None)
    COMPRESSING[function]()
    assert given == [llmzip.DEFAULT_LEVEL] * 2


@pytest.mark.parametrize("option", dataclasses.fields(CompressionOptions), ids=lambda f: f.name)
class TestEachFieldOfTheOptions:
    """A field of `CompressionOptions` is a keyword wherever one can compress."""

    @pytest.mark.parametrize("function", COMPRESSING)
    def test_is_a_keyword_that_reaches_the_encoder(
        self, option: Field, function: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class ReceivedError(Exception):
            pass

        def receive(**given: object) -> CompressionOptions:
            raise ReceivedError(given[option.name])

        for module in (compressor, many):
            monkeypatch.setattr(module, "CompressionOptions", receive)
        value = another(option.default)
        with pytest.raises(ReceivedError) as received:
            COMPRESSING[function](**{option.name: value})
        assert received.value.args == (value,)

    def test_is_in_each_overload_of_open(self, option: Field) -> None:
        tree = ast.parse(inspect.getsource(open_file))
        signatures = [
            {argument.arg for argument in node.args.kwonlyargs}
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == "open"
        ]
        assert [option.name in names for names in signatures] == 4 * [True]

    def test_is_refused_for_reading(self, option: Field) -> None:
        given: dict[str, Any] = {option.name: another(option.default)}
        with pytest.raises(TypeError, match=f"{option.name}= is for writing only"):
            llmzip.LLMZipFile(io.BytesIO(), "r", **given)


def another(default: object) -> object:
    """A value that is not the default."""
    return not default if isinstance(default, bool) else 7


def test_misuse_raises_what_users_expect(tiny_model: IntegerModel) -> None:
    with pytest.raises(TypeError):
        llmzip.compress("text", model=tiny_model)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        llmzip.decompress("text")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="levels are 1 to 9"):
        llmzip.compress(b"", 10)
    with pytest.raises(ValueError, match="block size 5: sizes are 1024"):
        llmzip.compress(b"", block_size=5)
    with pytest.raises(ValueError, match="engines are"):
        llmzip.compress(b"some text", model=tiny_model, runtime=llmzip.Runtime(engine="steam"))  # type: ignore[arg-type]
    compressor = llmzip.LLMZipCompressor(model=tiny_model)
    compressor.flush()
    with pytest.raises(ValueError, match="flushed"):
        compressor.compress(b"x")
    with pytest.raises(ValueError, match="flushed"):
        compressor.flush()
    decompressor = llmzip.LLMZipDecompressor()
    for length in (None, "1", b"1", 1.0):
        with pytest.raises(TypeError):
            decompressor.decompress(b"nothing of it is taken", length)  # type: ignore[arg-type]
    decompressor.decompress(llmzip.compress(b""))
    with pytest.raises(EOFError):
        decompressor.decompress(b"")


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2], np.array([b"a", "b"], object)], ids=repr)
def test_what_is_no_buffer_is_refused_by_the_name_of_the_function(data: Any) -> None:
    codec = llmzip.get_codec("raw")
    uses = (
        llmzip.compress,
        llmzip.decompress,
        llmzip.get_frame_info,
        llmzip.generate,
        llmzip.Dictionary,
        llmzip.LLMZipCompressor().compress,
        llmzip.LLMZipDecompressor().decompress,
        llmzip.open(io.BytesIO(), "wb").write,
        codec.encode,
        codec.decode,
    )
    for use in uses:
        with pytest.raises(TypeError, match=rf"^{use.__name__}\(\) takes bytes"):
            use(data)


@pytest.mark.parametrize("file", ["path", pathlib.Path("path"), b"data", None], ids=repr)
def test_what_is_no_open_file_is_refused_by_the_name_of_the_function(file: Any) -> None:
    with pytest.raises(TypeError, match=r"^list_frames\(\) takes an open binary file with read"):
        llmzip.list_frames(file)
    for use in (llmzip.compress_stream, llmzip.decompress_stream, llmzip.repair_stream):
        with pytest.raises(TypeError, match=rf"^{use.__name__}\(\) .* with read\(\), not"):
            use(file, io.BytesIO())
        with pytest.raises(TypeError, match=rf"^{use.__name__}\(\) .* with write\(\), not"):
            use(io.BytesIO(b"data"), file)


def test_files_in_text_mode_are_refused() -> None:
    text, data = io.StringIO("text"), io.BytesIO(b"data")
    in_text_mode = r"^\w+\(\) takes a binary file, this one is open in text mode"
    for use in (llmzip.compress_stream, llmzip.decompress_stream, llmzip.repair_stream):
        for files in ((text, data), (data, text)):
            with pytest.raises(TypeError, match=in_text_mode):
                use(*files)  # type: ignore[arg-type]
    for read in (llmzip.list_frames, RecordReader):
        with pytest.raises(TypeError, match=in_text_mode):
            read(text)  # type: ignore[arg-type]


def test_pieces_of_any_size_give_the_same_bytes(tiny_model: IntegerModel, english: bytes) -> None:
    data = english[:5000]
    whole = llmzip.compress(data, 1, model=tiny_model, block_size=2048)
    generator = random.Random(1)
    compressor = llmzip.LLMZipCompressor(1, model=tiny_model, block_size=2048)
    packed, offset = b"", 0
    while offset < len(data):
        step = generator.randrange(1, 900)
        packed += compressor.compress(data[offset : offset + step])
        offset += step
    assert packed + compressor.flush() == whole

    decompressor = llmzip.LLMZipDecompressor(model=tiny_model)
    out, offset = b"", 0
    while not decompressor.eof:
        piece = whole[offset : offset + 37] if decompressor.needs_input else b""
        offset += len(piece)
        out += decompressor.decompress(piece, max_length=100)
    assert out == data
    assert decompressor.unused_data == b""


@pytest.mark.parametrize(
    "options", [{}, {"solid": True}, {"mixing": False}, {"dictionary": b"a reference, a line " * 9}]
)
@pytest.mark.parametrize("codec", [None, "llm", "meta-token", "zstd", "raw"])
def test_a_flushed_block_can_be_read_and_the_frame_goes_on(
    tiny_model: IntegerModel, english: bytes, codec: str | None, options: dict[str, Any]
) -> None:
    compressor = llmzip.LLMZipCompressor(
        1, model=tiny_model, block_size=1024, codec=codec, **options
    )
    decoding = {"model": tiny_model, "dictionary": options.get("dictionary")}
    decompressor = llmzip.LLMZipDecompressor(**decoding)
    packed = bytearray()
    for line in (b"a\n", english[:150], b"", english[150:3000], b"the end\n"):
        piece = compressor.compress(line) + compressor.flush(compressor.FLUSH_BLOCK)
        packed += piece
        assert decompressor.decompress(piece) == line
        assert compressor.compress(b"", compressor.FLUSH_BLOCK) == b""  # nothing is left
    assert not decompressor.eof
    piece = compressor.compress(b"more", compressor.FLUSH_FRAME)
    assert decompressor.decompress(piece) == b"more"
    assert decompressor.eof
    with pytest.raises(ValueError, match="flushed"):
        compressor.flush(compressor.FLUSH_BLOCK)
    (info,) = llmzip.list_frames(io.BytesIO(packed + piece))
    assert info.blocks >= 6
    expected = b"a\n" + english[:3000] + b"the end\nmore"
    assert llmzip.decompress(packed + piece, max_memory=info.memory, **decoding) == expected


def test_flushing_without_data_writes_nothing_until_the_end(tiny_model: IntegerModel) -> None:
    compressor = llmzip.LLMZipCompressor(model=tiny_model)
    assert compressor.flush(compressor.FLUSH_BLOCK) == b""
    assert compressor.flush() == llmzip.compress(b"")
    compressor = llmzip.LLMZipCompressor(model=tiny_model)
    packed = compressor.compress(b"stored", compressor.FLUSH_BLOCK)
    # A frame that was left open has an end, and no index for one block.
    packed += compressor.flush()
    assert llmzip.decompress(packed, model=tiny_model) == b"stored"
    for mode in (compressor.CONTINUE, 3):
        with pytest.raises(ValueError, match="mode"):
            llmzip.LLMZipCompressor().flush(mode)
    with pytest.raises(ValueError, match="mode"):
        llmzip.LLMZipCompressor().compress(b"", -1)


@settings(max_examples=30)
@given(
    pieces=st.lists(
        st.tuples(st.sampled_from([*NASTY.values(), b"some text. " * 50]), st.integers(0, 1)),
        max_size=6,
    ),
    solid=st.booleans(),
)
def test_flushed_pieces_come_back_at_once(pieces: list[tuple[bytes, int]], solid: bool) -> None:
    """Also where what follows needs a model that the frame does not name, so that it ends and
    another begins.
    """
    compressor = llmzip.LLMZipCompressor(1, model=tiny(), block_size=1024, solid=solid)
    packed = expected = b""
    for data, mode in pieces:
        packed += compressor.compress(data, mode)
        expected += data
        if mode == compressor.FLUSH_BLOCK and expected:
            reader = llmzip.LLMZipFile(io.BytesIO(packed), model=tiny())
            assert reader.read(len(expected)) == expected
    assert llmzip.decompress(packed + compressor.flush(), model=tiny()) == expected


def test_unused_data_is_handed_back(tiny_model: IntegerModel) -> None:
    first, second = (llmzip.compress(d, model=tiny_model) for d in (b"first", b"second"))
    decompressor = llmzip.LLMZipDecompressor(model=tiny_model)
    assert decompressor.decompress(first + second[:9]) == b"first"
    assert decompressor.eof
    assert decompressor.unused_data == second[:9]
    assert llmzip.decompress(first + second) == b"firstsecond"


def test_mixer_of_the_compressor_is_one_block(tiny_model: IntegerModel) -> None:
    compressor = llmzip.LLMZipCompressor(model=tiny_model, block_size=4096)
    noise = random.Random(2).randbytes(4096)
    sizes = [len(compressor.compress(noise)) for _ in range(5)]
    assert min(sizes[1:]) > 4000  # each block leaves when the next begins


def test_limits(tiny_model: IntegerModel, english: bytes) -> None:
    packed = llmzip.compress(english[:3000], model=tiny_model)
    need = llmzip.get_frame_info(packed).memory
    assert (
        llmzip.decompress(packed, model=tiny_model, max_memory=need, max_output=3000)
        == english[:3000]
    )
    with pytest.raises(llmzip.LimitError, match="bytes of memory"):
        llmzip.decompress(packed, model=tiny_model, max_memory=need - 1)
    with pytest.raises(llmzip.LimitError, match="output exceeds"):
        llmzip.decompress(packed, model=tiny_model, max_output=2999)


def test_texts_with_more_tokens_than_a_block_holds_are_split(
    tiny_model: IntegerModel, english: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = levels.Level(1, window=64, stream_tokens=64, max_streams=1)
    monkeypatch.setitem(levels.LEVELS, 6, small)
    packed = llmzip.compress(english[:4000], model=tiny_model)
    assert llmzip.list_frames(io.BytesIO(packed))[0].blocks > 2
    assert llmzip.decompress(packed, model=tiny_model) == english[:4000]


def test_a_frame_finds_its_model_by_fingerprint(cache_with_tiny_model: pathlib.Path) -> None:
    text = b"The value of the expression is the value of the last operand."
    packed = llmzip.compress(text)
    info = llmzip.get_frame_info(packed)
    assert info.model == tiny().fingerprint.hex()[:8]
    assert llmzip.decompress(packed) == text


def test_a_missing_model_names_the_command(
    tiny_model: IntegerModel, tmp_path: pathlib.Path
) -> None:
    script = "import llmzip, sys; llmzip.decompress(sys.stdin.buffer.read())"
    packed = llmzip.compress(
        b"The value of the expression is the value of the last operand.", model=tiny_model
    )
    environment = {
        **os.environ,
        "LLMZIP_CACHE": str(tmp_path),
        "PYTHONPATH": str(TINY_DIRECTORY.parents[2]),
    }
    ran = subprocess.run(
        [sys.executable, "-c", script],
        input=packed,
        capture_output=True,
        env=environment,
        check=False,
    )
    assert b"ModelNotFoundError" in ran.stderr
    assert b"llmzip models pull" in ran.stderr


def test_another_model_is_refused(tiny_model: IntegerModel) -> None:
    packed = llmzip.compress(
        b"The value of the expression is the value of the last operand.", model=tiny_model
    )
    spec = dataclasses.replace(tiny_model.spec, norm_eps=1e-6)
    other = IntegerModel.build(spec, tiny_model.vocabulary, tiny_model.tensors)
    with pytest.raises(llmzip.ModelMismatchError, match="was made with model"):
        llmzip.decompress(packed, model=other)


def test_a_faulty_engine_is_caught_by_the_content_check(tiny_model: IntegerModel) -> None:
    """The same fingerprint, other numbers: what exactness excludes, the content check still
    reports.
    """
    packed = llmzip.compress(
        b"The value of the expression is the value of the last operand.", model=tiny_model
    )
    tensors = dict(tiny_model.tensors)
    tensors["head.scale"] = tensors["head.scale"] * np.float32(1.25)
    impostor = dataclasses.replace(tiny_model, tensors=tensors)
    with pytest.raises(llmzip.LLMZipError):
        # One thread: not the loaded engine.
        llmzip.decompress(packed, model=impostor, runtime=llmzip.Runtime(threads=1))


@pytest.mark.parametrize("options", [{}, {"dictionary": b"a reference " * 9}, {"codec": "raw"}])
def test_the_first_bytes_of_a_frame_say_what_it_needs(
    tiny_model: IntegerModel, english: bytes, options: dict[str, Any]
) -> None:
    single = llmzip.compress(english[:1500], 1, model=tiny_model, **options)
    several = llmzip.compress(english[:3000], 1, model=tiny_model, block_size=1024, **options)
    for packed, size in ((single, 1500), (several, None), (llmzip.compress(b""), 0)):
        info = llmzip.get_frame_info(packed)
        assert info.uncompressed_size == size
        (summary,) = llmzip.list_frames(io.BytesIO(packed))
        assert {k: v for k, v in vars(summary).items() if k in vars(info)} == {
            **vars(info),
            "uncompressed_size": summary.uncompressed_size,
        }
        start = packed[:0]
        while True:  # give what is missing, until it is enough
            try:
                assert llmzip.get_frame_info(start) == info
                break
            except llmzip.TruncatedError as error:
                assert f"needs at least {error.missing} more byte" in str(error)
                assert len(start) + error.missing <= min(32, len(packed))
                start = packed[: len(start) + error.missing]
        assert llmzip.get_frame_info(packed[:32]) == info


def test_no_frame_begins_here() -> None:
    for data in (b"x", b"\x8cLx", b"\x8cLZ\xff", b"\x8cLZ\x11\x00\x00"):
        with pytest.raises(llmzip.FormatError) as caught:
            llmzip.get_frame_info(data)
        assert not isinstance(caught.value, llmzip.TruncatedError)
    for data, missing in ((b"", 5), (b"\x8c", 4), (b"\x8cLZ\x10", 1)):
        with pytest.raises(llmzip.TruncatedError) as short:
            llmzip.get_frame_info(data)
        assert short.value.missing == pickle.loads(pickle.dumps(short.value)).missing == missing


def test_frames_in_a_row_are_listed(tiny_model: IntegerModel) -> None:
    packed = llmzip.compress(b"one", model=tiny_model) + llmzip.compress(b"three", model=tiny_model)
    assert [info.uncompressed_size for info in llmzip.list_frames(io.BytesIO(packed))] == [3, 5]


def ideal_bytes(engine: Engine, ids: np.ndarray, inputs: np.ndarray) -> float:
    """The code length of tokens [S, T] by the engine's own frequencies."""
    head = engine.session(len(inputs), 512, inputs.shape[1]).advance(inputs)
    tables = engine.distributions(head.vectors.reshape(ids.size, -1), head.scales.reshape(-1))
    flat, rows = ids.flatten(), np.arange(ids.size)
    buckets = np.asarray(tables.bucket_frequencies(), np.float64)[rows, flat >> 8]
    indices = np.asarray(tables.token_frequencies(flat >> 8), np.float64)[rows, flat & 255]
    return float(48 * ids.size - np.log2(buckets).sum() - np.log2(indices).sum()) / 8


def test_the_coder_costs_nothing_to_speak_of(tiny_engine: TorchEngine, english: bytes) -> None:
    """Coded size <= 1.001 x the ideal length + 16 bytes."""
    ids = Tokenizer(tiny_engine.model.vocabulary).encode(english[:8000]).ids
    ids = ids[: 512 * (len(ids) // 512)].reshape(-1, 512)
    inputs = np.concatenate([np.zeros((len(ids), 1), np.int32), ids[:, :-1]], axis=1)
    coded = encode_tokens(
        tiny_engine, Tokens(ids.flatten(), b""), StreamLayout(ids.size, len(ids), 512)
    )
    ideal = ideal_bytes(tiny_engine, ids, inputs)
    assert ideal < len(coded) <= 1.001 * ideal + 16


@pytest.mark.parametrize("size", [1, 50, 300, 900])
def test_a_short_message_costs_at_most_24_bytes_more(
    tiny_engine: TorchEngine, english: bytes, size: int
) -> None:
    for offset in range(0, 20_000, 2_000):
        message = english[offset : offset + size]
        ids = Tokenizer(tiny_engine.model.vocabulary).encode(message).ids[None]
        inputs = np.concatenate([np.zeros((1, 1), np.int32), ids[:, :-1]], axis=1)
        packed = llmzip.compress(message, model=tiny_engine.model)
        assert len(packed) <= ideal_bytes(tiny_engine, ids, inputs) + 24
