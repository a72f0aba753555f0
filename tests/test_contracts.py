"""What readers, writers and buffers of the standard library promise, promised here too."""

from __future__ import annotations

import array
import copy
import io
import os
import pathlib
import pickle
import random
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import llmzip
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.registry import FramedCodec, get_codec
from llmzip.container.block import Block
from llmzip.container.checks import content_check
from llmzip.container.frame_reader import FrameReader
from llmzip.container.header import FrameHeader, memory_code
from llmzip.container.index import index_bytes
from llmzip.container.varint import ByteReader
from llmzip.engine_loader import EngineLoader
from llmzip.model.integer_model import IntegerModel
from llmzip.records import RecordReader, RecordWriter

NOISE = random.Random(5).randbytes(20_000)
HEADER = FrameHeader(False, memory_code(1 << 23))


def read_all(source: io.BytesIO, size: int) -> bytes:
    """The loop of the standard library's readers (`_compression.DecompressReader`)."""
    decompressor = llmzip.LLMZipDecompressor()
    out = b""
    while not decompressor.eof:
        piece = b""
        if decompressor.needs_input:
            piece = source.read(1000)
            if not piece:
                raise EOFError("the source has ended before the frame")
        out += decompressor.decompress(piece, size)
    return out


@pytest.mark.parametrize("size", [1, 999, 4096, 8192, 50_000])
def test_the_usual_reading_loop(size: int) -> None:
    packed = llmzip.compress(NOISE, block_size=4096)
    assert read_all(io.BytesIO(packed), size) == NOISE
    with pytest.raises(EOFError):
        read_all(io.BytesIO(packed[:-1]), size)


def test_needs_input_means_that_nothing_comes_without() -> None:
    packed = llmzip.compress(NOISE, block_size=4096)
    decompressor = llmzip.LLMZipDecompressor()
    assert decompressor.needs_input
    assert decompressor.decompress(packed, 4096) == NOISE[:4096]
    assert not decompressor.needs_input
    assert decompressor.unused_data == b""
    assert decompressor.decompress(b"") == NOISE[4096:]
    assert decompressor.eof
    assert not decompressor.needs_input


@pytest.mark.parametrize("piece", [1, 64, 5000])
def test_a_part_is_parsed_a_few_times_however_small_the_pieces(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    packed = llmzip.compress(NOISE, block_size=1024)
    tries = []
    real = FrameReader.read_block

    def counted(self: FrameReader) -> Block | None:
        tries.append(1)
        return real(self)

    monkeypatch.setattr(FrameReader, "read_block", counted)
    decompressor = llmzip.LLMZipDecompressor()
    out = b"".join(
        decompressor.decompress(packed[i : i + piece]) for i in range(0, len(packed), piece)
    )
    assert out == NOISE
    parts = llmzip.list_frames(io.BytesIO(packed))[0].blocks + 1
    assert len(tries) <= 8 * parts  # codec, two sizes of up to two bytes each, payload, check


@pytest.mark.parametrize("block_size", [1024, 1 << 26])
def test_small_pieces_take_time_in_proportion(block_size: int) -> None:
    """Sixteen times as much in, or out, by small pieces: sixteen times the time, where quadratic
    growth takes 256 times.
    """

    def seconds(size: int, pieces_in: int, pieces_out: int) -> float:
        packed = llmzip.compress(
            random.Random(6).randbytes(size), block_size=block_size, codec="raw"
        )
        decompressor = llmzip.LLMZipDecompressor()
        start = time.process_time()
        done = 0
        for i in range(0, len(packed), pieces_in):
            done += len(decompressor.decompress(packed[i : i + pieces_in], pieces_out))
        while not decompressor.eof:
            done += len(decompressor.decompress(b"", pieces_out))
        assert done == size
        return time.process_time() - start

    for pieces_in, pieces_out in ((64, -1), (1 << 30, 100)):
        few, many = (
            min(seconds(size, pieces_in, pieces_out) for _ in range(2))
            for size in (1 << 18, 1 << 22)
        )
        assert many < 64 * few


def test_pipes_that_hand_out_little_are_read_in_linear_time() -> None:
    class Trickle:
        given = 0

        def read(self, size: int, /) -> bytes:
            self.given += 1
            return bytes(min(size, 100))

    trickle = Trickle()
    # Otherwise 80 gigabytes are copied.
    assert len(ByteReader(trickle).read(4_000_000, "a block")) == 4_000_000
    assert trickle.given == 40_000


class Unread(io.BytesIO):
    """Fails when it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError("it was read")


def test_opening_reads_nothing(tiny_model: IntegerModel) -> None:
    with llmzip.open(Unread(b"junk")) as file, pytest.raises(OSError, match="it was read"):
        file.read()
    for junk, error in ((b"", llmzip.TruncatedError), (b"junk", llmzip.FormatError)):
        file = llmzip.open(io.BytesIO(junk))
        with pytest.raises(error):
            file.read(1)
    ends = os.pipe()
    with open(ends[0], "rb") as source, open(ends[1], "wb") as sink:  # noqa: PTH123
        file = llmzip.open(source)  # does not wait
        sink.write(llmzip.compress(b"some text", model=tiny_model))
        sink.close()
        assert file.read() == b"some text"


def index_frame(entries: list[tuple[int, int]], blocks: bytes) -> bytes:
    """A frame of blocks with any index."""
    import xxhash

    return (
        HEADER.to_bytes() + blocks + b"\0" + content_check(xxhash.xxh3_64()) + index_bytes(entries)
    )


def raw_blocks(parts: list[bytes]) -> list[bytes]:
    return [
        Block(1, len(part), part).to_bytes(None if i else HEADER) for i, part in enumerate(parts)
    ]


def test_an_index_of_impossible_sizes_is_refused() -> None:
    blocks = raw_blocks([b"first", b"second"])
    sizes = [(len(block), (1 << 63) - 1) for block in blocks]
    file = llmzip.open(io.BytesIO(index_frame(sizes, b"".join(blocks))))
    for _ in range(2):
        with pytest.raises(llmzip.FormatError, match="impossible block sizes"):
            file.seek(1)


def test_an_index_that_points_into_payloads_is_refused() -> None:
    """Reading after a seek gives what reading in order gives, or an error."""
    planted = Block(1, 7, b"planted").to_bytes()
    blocks = raw_blocks([b"first" + planted + b"behind it", b"second"])
    joined = b"".join(blocks)
    place = joined.index(planted)
    last = len(joined) - place - len(planted)
    lying = [(place, 5), (len(planted), 7), (last, 15)]
    file = llmzip.open(io.BytesIO(index_frame(lying, joined)))
    for offset in (5, 12, 20, 27, 1000):
        file.seek(offset)
        with pytest.raises(llmzip.FormatError, match="no block of 5 bytes begins here"):
            file.read(7)
    file.seek(-1, io.SEEK_END)
    with pytest.raises(llmzip.FormatError):
        file.read(1)


def test_an_honest_index_serves() -> None:
    parts = [b"first", b"second", b"third"]
    blocks = raw_blocks(parts)
    entries = [(len(block), len(part)) for block, part in zip(blocks, parts, strict=True)]
    file = llmzip.open(io.BytesIO(index_frame(entries, b"".join(blocks))))
    file.seek(7)
    assert file.read() == b"condthird"


@pytest.mark.parametrize("name", ["raw", "ldm", "zstd", "xz", "zlib", "bzip2", "brotli", "ppmd"])
@pytest.mark.parametrize("size", [(1 << 63) - 1, (1 << 62) + 5, 1 << 48])
def test_framed_codecs_refuse_impossible_sizes(name: str, size: int) -> None:
    import zlib

    from llmzip.container.varint import varint

    try:
        codec = get_codec(name)
    except llmzip.LLMZipError:
        pytest.skip(f"no {name} here")
    body = varint(size) + codec.payload_codec.encode(b"some bytes")
    with pytest.raises(llmzip.LLMZipError):
        codec.decode(body + zlib.crc32(body).to_bytes(4, "little"))


def test_a_missing_model_leaves_no_file(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "text.llmz"
    for wrong in ({"model": "/no/such"}, {"codec": "steam"}, {"block_size": 3}, {"nonsense": 1}):
        for mode in ("wb", "xb", "wt"):
            with pytest.raises((llmzip.LLMZipError, ValueError, TypeError)):
                llmzip.open(path, mode, **wrong)
            assert not path.exists()


def test_a_missing_device_leaves_the_old_file(
    tmp_path: pathlib.Path, tiny_model: IntegerModel
) -> None:
    path = tmp_path / "text.llmz"
    path.write_bytes(b"old")
    with pytest.raises(llmzip.LLMZipError, match=r"cannot be used|needs the package torch"):
        llmzip.open(path, "wb", model=tiny_model, runtime=llmzip.Runtime(device="steam"))
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    "options",
    [{"solid": True}, {"codec": "zstd"}, {"mixing": False}, {"progress": lambda *_: None}],
)
def test_files_take_the_options_of_compressors(
    tiny_model: IntegerModel, options: dict[str, Any]
) -> None:
    sink = io.BytesIO()
    with llmzip.LLMZipFile(sink, "w", model=tiny_model, **options) as file:
        file.write(b"some text")
    assert sink.getvalue() == llmzip.compress(b"some text", model=tiny_model, **options)


BUFFERS: list[Callable[[], object]] = [
    lambda: memoryview(b"some text, some text" * 9)[::2],
    lambda: memoryview(b"some text, some text" * 9)[::-1],
    lambda: np.arange(60, dtype=np.int32).reshape(3, 20),
    lambda: np.asfortranarray(np.arange(60, dtype=np.uint16).reshape(3, 20)),
    lambda: np.arange(60, dtype=">f8").reshape(3, 4, 5)[:, ::2, 1:],
    lambda: np.array(7, np.int64),
    lambda: np.empty((0, 3), np.float32),
    lambda: array.array("d", [1.0, 2.5]),
    lambda: memoryview(array.array("i", range(9)))[1:7:2],
]


@pytest.mark.parametrize("make", BUFFERS)
def test_buffers_of_any_shape_are_their_bytes(
    tiny_model: IntegerModel, make: Callable[[], object]
) -> None:
    buffer = make()
    expected = bytes(memoryview(buffer))  # type: ignore[arg-type]
    packed = llmzip.compress(buffer, model=tiny_model)  # type: ignore[arg-type]
    assert llmzip.decompress(packed, model=tiny_model) == expected
    sink = io.BytesIO()
    with llmzip.open(sink, "wb", model=tiny_model) as file:
        assert file.write(buffer) == len(expected)  # type: ignore[call-overload]
        assert file.tell() == len(expected)
    assert sink.getvalue() == packed
    spread = np.zeros((len(packed), 2), np.uint8)
    spread[:, 1] = np.frombuffer(packed, np.uint8)
    assert llmzip.decompress(spread[:, 1], model=tiny_model) == expected  # type: ignore[arg-type]
    assert llmzip.get_frame_info(spread[:, 1]) == llmzip.get_frame_info(packed)  # type: ignore[arg-type]
    decompressor = llmzip.LLMZipDecompressor(model=tiny_model)
    assert decompressor.decompress(spread[:, 1]) == expected  # type: ignore[arg-type]
    codec = get_codec("zlib")
    assert codec.decode(codec.encode(buffer)) == expected  # type: ignore[arg-type]
    assert llmzip.Dictionary(buffer).content == expected  # type: ignore[arg-type]


def test_what_has_been_used_can_still_be_copied(tiny_model: IntegerModel) -> None:
    text = b"The value of the expression is the value of the last operand."
    dictionary = llmzip.Dictionary(text)
    packed = llmzip.compress(text + b"!", model=tiny_model, dictionary=dictionary)
    codec = FramedCodec(LLMCodec(EngineLoader(tiny_model).for_compression()))
    coded = codec.encode(text)
    assert copy.deepcopy(codec).decode(coded) == text
    for twin in (
        pickle.loads(pickle.dumps(dictionary)),
        copy.deepcopy(dictionary),
        copy.copy(dictionary),
    ):
        assert twin.content == text
        assert llmzip.decompress(packed, model=tiny_model, dictionary=twin) == text + b"!"


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize("name", ["llm", "rank", "equal-info", "meta-token"])
def test_codecs_with_a_model_can_be_pickled(name: str) -> None:
    text = b"The value of the expression."
    codec = get_codec(name)
    coded = codec.encode(text)
    for twin in (pickle.loads(pickle.dumps(codec)), copy.deepcopy(codec), copy.copy(codec)):
        assert twin.get_config() == codec.get_config()
        assert twin.decode(coded) == text


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_streams_cannot_be_copied(
    duplicate: Callable[[object], object], tiny_model: IntegerModel
) -> None:
    packed = llmzip.compress(b"some text", model=tiny_model)
    for stream in (
        llmzip.LLMZipCompressor(model=tiny_model),
        llmzip.LLMZipDecompressor(),
        llmzip.open(io.BytesIO(packed)),
        llmzip.open(io.BytesIO(), "wb"),
    ):
        with pytest.raises(TypeError, match=r"pickle|copy"):
            duplicate(stream)


class Narrow(io.RawIOBase):
    """A raw file that takes little at a time."""

    taken = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:  # type: ignore[no-untyped-def]
        self.taken += bytes(data[:100])
        return min(len(data), 100)


def test_raw_sinks_may_take_less_at_a_time(tiny_model: IntegerModel) -> None:
    packed = llmzip.compress(NOISE)

    def file(sink: Any) -> bytes:
        with llmzip.open(sink, "wb") as file:
            file.write(NOISE)
        return packed

    def stream(sink: Any) -> bytes:
        llmzip.compress_stream(io.BytesIO(NOISE), sink)
        return packed

    def back(sink: Any) -> bytes:
        llmzip.decompress_stream(io.BytesIO(packed), sink)
        return NOISE

    def repaired(sink: Any) -> bytes:
        llmzip.repair_stream(io.BytesIO(packed), sink)
        return NOISE

    def records(sink: Any) -> bytes:
        with RecordWriter(sink, model=tiny_model) as writer:
            writer.write_many([NOISE[:300]] * 3)
        archive = io.BytesIO()
        with RecordWriter(archive, model=tiny_model) as writer:
            writer.write_many([NOISE[:300]] * 3)
        return archive.getvalue()

    for write in (file, stream, back, repaired, records):
        sink = Narrow()
        expected = write(sink)
        assert sink.taken == expected, write.__name__


def test_raw_sinks_that_take_nothing_now_are_refused() -> None:
    taking, given = socket.socketpair()
    with taking, given:
        taking.setblocking(False)
        noise = random.Random(0).randbytes(8 << 20)
        with taking.makefile("wb", buffering=0) as sink:
            file = llmzip.LLMZipFile(sink, "w", codec="raw")
            with pytest.raises(BlockingIOError, match="give one that blocks"):
                file.write(noise)
            with pytest.raises(ValueError, match="interrupted"):
                file.close()
            with pytest.raises(BlockingIOError, match="give one that blocks"):
                llmzip.compress_stream(io.BytesIO(noise), sink, codec="raw")


class Meeting(io.BytesIO):
    """A sink that lets something happen in another thread during its first write of content."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], None] | None = None
        self.thread: threading.Thread | None = None
        self.packed = b""

    def write(self, data: Any) -> int:
        if self.meanwhile:
            self.thread, self.meanwhile = threading.Thread(target=self.meanwhile), None
            self.thread.start()
            self.thread.join(0.2)
        return super().write(data)

    def close(self) -> None:
        self.packed = self.packed or self.getvalue()
        super().close()


def test_threads_that_close_a_file_wait_for_each_other() -> None:
    sink = Meeting()
    file = llmzip.LLMZipFile(sink, "w", codec="raw")
    file._owned = sink
    file.write(b"what two threads are to close")
    sink.meanwhile = file.close
    file.close()
    assert sink.thread
    sink.thread.join()
    assert llmzip.decompress(sink.packed) == b"what two threads are to close"


def test_threads_write_records_while_others_are_written(tiny_model: IntegerModel) -> None:
    sink = Meeting()
    writer = RecordWriter(sink, model=tiny_model, group_records=2)
    sink.meanwhile = lambda: writer.write_many([b"d", b"e"])
    writer.write_many([b"a", b"b"])
    assert sink.thread
    sink.thread.join()
    writer.write(b"c")
    writer.close()
    with RecordReader(io.BytesIO(sink.getvalue()), model=tiny_model) as reader:
        assert sorted(reader) == [b"a", b"b", b"c", b"d", b"e"]


class Full(io.BytesIO):
    """A sink that may be full."""

    full = False

    def write(self, data: Any) -> int:
        if self.full:
            super().write(data[:5])
            raise OSError("the disk is full")
        return super().write(data)


def test_an_archive_is_not_written_on_behind_part_of_a_group(tiny_model: IntegerModel) -> None:
    sink = Full()
    writer = RecordWriter(sink, model=tiny_model)
    writer.write(b"event")
    sink.full = True
    with pytest.raises(OSError, match="full"):
        writer.flush()
    size, sink.full = len(sink.getvalue()), False
    for call in (writer.flush, writer.close, lambda: writer.write(b"event")):
        with pytest.raises(ValueError, match=r"archive (was interrupted|is closed)"):
            call()
    assert len(sink.getvalue()) == size


def test_records_can_be_written_after_an_error_in_progress(tiny_model: IntegerModel) -> None:
    fails = [True]

    def progress(*_: int) -> None:
        if fails:
            fails.pop()
            raise ZeroDivisionError

    sink = io.BytesIO()
    writer = RecordWriter(sink, model=tiny_model, progress=progress)
    writer.write(b"event")
    with pytest.raises(ZeroDivisionError):
        writer.flush()
    writer.write(b"another")
    writer.close()
    with RecordReader(io.BytesIO(sink.getvalue()), model=tiny_model) as reader:
        assert list(reader) == [b"event", b"another"]


def test_lines_are_compressed_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call takes microseconds, and a system call where nothing stands between."""
    sizes: list[int] = []

    class Counting(io.BytesIO):
        def write(self, data: Any) -> int:
            sizes.append(len(data))
            return super().write(data)

    taken: list[int] = []
    compress = llmzip.LLMZipCompressor.compress

    def counted(self: llmzip.LLMZipCompressor, data: Any, mode: int = 0) -> bytes:
        taken.append(len(data))
        return compress(self, data, mode)

    monkeypatch.setattr(llmzip.LLMZipCompressor, "compress", counted)
    sink = Counting()
    with llmzip.open(sink, "wt", codec="zstd") as file:
        for number in range(5000):
            print(number, file=file)
        binary: Any = file.buffer
        assert binary.tell() == 23_890
    assert len(taken) < 20 and sum(taken) == 23_890 and 0 not in sizes
    assert llmzip.decompress(sink.getvalue()).split() == [b"%d" % i for i in range(5000)]


def test_after_an_error_no_line_is_taken() -> None:
    sink = Full()
    file = llmzip.open(sink, "wt", codec="raw")
    file.write("a line\n")
    sink.full = True
    with pytest.raises(OSError, match="full"):
        file.flush()
    sink.full = False
    with pytest.raises(ValueError, match="interrupted"):
        file.write("another\n")
    with pytest.raises(ValueError, match="interrupted"):
        file.close()


def test_an_error_of_closing_is_told_where_the_last_reference_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda error: told.append(error.exc_value))
    sink = Full()
    file = llmzip.LLMZipFile(sink, "w", codec="raw")
    file.write(b"content")
    sink.full = True
    del file
    assert [str(error) for error in told] == ["the disk is full"]
