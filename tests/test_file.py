"""Compressed files as file objects."""

from __future__ import annotations

import gc
import io
import mmap
import os
import pathlib
import random
import subprocess
import sys
import tarfile
from typing import Any

import numpy as np
import pytest

import llmzip
import llmzip.streams
from llmzip.container.block import Block
from llmzip.model.integer_model import IntegerModel


@pytest.fixture(scope="module")
def text(english: bytes) -> bytes:
    return english[:6000]


@pytest.fixture(scope="module")
def packed(tiny_model: IntegerModel, text: bytes) -> bytes:
    return llmzip.compress(text, 1, model=tiny_model, block_size=1024)


def test_written_files_read_back(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    with llmzip.open(path, "xb", model=tiny_model, block_size=2048) as file:
        assert file.writable()
        assert not file.readable()
        for line in text.splitlines(keepends=True):
            file.write(line)
        assert file.tell() == len(text)
    with llmzip.open(path, model=tiny_model) as file:
        assert file.read() == text
        assert file.read() == b""
    with llmzip.open(str(path), model=tiny_model) as file:
        assert list(file) == text.splitlines(keepends=True)
    with pytest.raises(FileExistsError):
        llmzip.open(path, "x", model=tiny_model)


def test_text_mode(tiny_model: IntegerModel, tmp_path: pathlib.Path) -> None:
    path = tmp_path / "text.llmz"
    lines = ["première ligne\n", "zweite Zeile\n", "第三行\n"]
    with llmzip.open(path, "wt", encoding="utf-8", newline="\r\n", model=tiny_model) as file:
        file.writelines(lines)
    with llmzip.open(path, "rt", encoding="utf-8", model=tiny_model) as file:
        assert list(file) == lines
    with llmzip.open(path, model=tiny_model) as file:
        assert file.read() == "".join(lines).replace("\n", "\r\n").encode()
    with pytest.raises(ValueError, match="text mode only"):
        llmzip.open(path, "rb", encoding="utf-8")


@pytest.mark.parametrize("frames", [1, 2])
def test_random_access(tiny_model: IntegerModel, text: bytes, packed: bytes, frames: int) -> None:
    content = text * frames
    file = llmzip.LLMZipFile(io.BytesIO(packed * frames), model=tiny_model)
    assert file.read(10) == content[:10]
    for offset, size in [
        (5000, 100),
        (0, 50),
        (1020, 10),
        (len(content) - 5, 100),
        (3000, 2500),
        (len(content), 1),
    ]:
        assert file.seek(offset) == offset
        assert file.read(size) == content[offset : offset + size]
    assert file.seek(-7, io.SEEK_END) == len(content) - 7
    assert file.read() == content[-7:]
    with pytest.raises(ValueError, match="before the beginning"):
        file.seek(-1)


def test_random_access_decodes_only_what_it_needs(
    tiny_model: IntegerModel, text: bytes, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmzip.blocks.decoder import BlockDecoder

    decoded = []
    real = BlockDecoder.decode

    def noting(self: BlockDecoder, block: Block) -> bytes:
        decoded.append(block)
        return real(self, block)

    monkeypatch.setattr(BlockDecoder, "decode", noting)
    file = llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model)
    file.seek(4100)
    assert file.read(20) == text[4100:4120]
    assert len(decoded) == 1


def test_damage_is_reported_while_reading(tiny_model: IntegerModel, packed: bytes) -> None:
    with pytest.raises(EOFError):
        llmzip.LLMZipFile(io.BytesIO(packed[:-1]), model=tiny_model).read()
    with pytest.raises(EOFError):
        llmzip.LLMZipFile(io.BytesIO(b""), model=tiny_model).read()
    damaged = bytearray(packed)
    damaged[len(packed) // 2] ^= 1
    with pytest.raises(llmzip.IntegrityError):
        llmzip.LLMZipFile(io.BytesIO(damaged), model=tiny_model).read()
    file = llmzip.LLMZipFile(io.BytesIO(damaged), model=tiny_model)
    file.seek(len(packed) // 2)  # the index is whole; the block is not


class Pipe(io.RawIOBase):
    """A source that cannot seek and hands out little at a time."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        piece = self.data.read(min(len(buffer), 7))
        buffer[: len(piece)] = piece
        return len(piece)


def test_pipes_can_be_read_but_not_sought(
    tiny_model: IntegerModel, text: bytes, packed: bytes
) -> None:
    file = llmzip.LLMZipFile(Pipe(packed), model=tiny_model)  # type: ignore[arg-type]
    assert not file.seekable()
    with pytest.raises(io.UnsupportedOperation):
        file.seek(5)
    assert file.read() == text


def test_an_exception_while_writing_leaves_no_complete_file(tiny_model: IntegerModel) -> None:
    sink = io.BytesIO()
    with (
        pytest.raises(RuntimeError, match="stop"),
        llmzip.LLMZipFile(sink, "w", model=tiny_model) as file,
    ):
        file.write(b"half a text")
        raise RuntimeError("stop")
    with pytest.raises(llmzip.TruncatedError):
        llmzip.decompress(sink.getvalue())


def test_wrong_use(tiny_model: IntegerModel, packed: bytes) -> None:
    for mode in ("", "z", "rw", "br", "r+", "rt", "rbt", None, (3, "x")):
        with pytest.raises(ValueError, match="modes are"):
            llmzip.LLMZipFile(io.BytesIO(), mode)  # type: ignore[arg-type]
    for mode in ("rbt", "wtb"):
        with pytest.raises(ValueError, match="not both"):
            llmzip.open(io.BytesIO(), mode)
    with pytest.raises(ValueError, match="modes are"):
        llmzip.open(io.BytesIO(), "zt")
    reading, writing = (
        llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model),
        llmzip.LLMZipFile(io.BytesIO(), "w"),
    )
    for use in (lambda: reading.write(b"x"), lambda: reading.writelines([b"x"])):
        with pytest.raises(io.UnsupportedOperation, match="open for reading"):
            use()
    for use in (writing.read, writing.read1, writing.readline, writing.readlines, writing.peek):
        with pytest.raises(io.UnsupportedOperation, match="open for writing"):
            use()
    for read_into in (writing.readinto, writing.readinto1):
        with pytest.raises(io.UnsupportedOperation, match="open for writing"):
            read_into(bytearray(3))
    for use in (lambda: writing.seek(0), lambda: next(writing), writing.truncate, writing.detach):
        with pytest.raises(io.UnsupportedOperation):
            use()
    for offset, whence in ((0, 3), (0, 4), (0, -1), (-1, 0), (-9999, 2)):
        with pytest.raises(ValueError):
            reading.seek(offset, whence=whence)
    with pytest.raises(TypeError):
        reading.seek("0")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        writing.write("text")  # type: ignore[arg-type]


@pytest.mark.parametrize("file", [None, 1.5, object(), ["path"], io.StringIO("text")])
def test_what_is_no_file_is_refused(file: Any) -> None:
    for use in (llmzip.open, llmzip.LLMZipFile):
        for mode in ("rb", "wb"):
            with pytest.raises(TypeError, match=r"must be a path|in binary mode"):
                use(file, mode)


def test_nothing_is_left_of_what_could_not_be_opened(tmp_path: pathlib.Path) -> None:
    """Also in Python's development mode, which tells of exceptions in the collector of garbage."""
    script = f"""
import contextlib, gc, io, llmzip
folder = {str(tmp_path)!r}
for file, mode, options in (
    (io.BytesIO(), "z", {{}}),
    (None, "r", {{}}),
    (folder, "w", {{}}),
    (folder + "/x", "r", {{}}),
    (folder + "/no/x", "at", {{}}),
    (folder + "/x", "w", {{"level": 99}}),
    (folder + "/x", "w", {{"model": "nothing of this name"}}),
    (folder + "/x", "wt", {{"encoding": "nothing"}}),
    (folder + "/x", "wt", {{"newline": "nothing"}}),
):
    with contextlib.suppress(ValueError, TypeError, OSError, LookupError, llmzip.LLMZipError):
        llmzip.open(file, mode, **options)
        print("opened", file, mode, options)
    gc.collect()
"""
    ran = subprocess.run(
        [sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, check=True
    )
    assert (ran.stdout, ran.stderr) == ("", "")
    assert not list(tmp_path.iterdir())


def test_options_that_the_mode_has_no_use_for_are_refused(packed: bytes) -> None:
    for options in (
        {"level": 6},
        {"compresslevel": 6},
        {"block_size": 2048},
        {"codec": "raw"},
        {"mixing": False},
        {"solid": True},
    ):
        (name,) = options
        with pytest.raises(TypeError, match=f"{name}= is for writing only"):
            llmzip.open(io.BytesIO(packed), **options)
    for options in ({"max_memory": 1 << 30}, {"max_output": 9}):
        (name,) = options
        with pytest.raises(TypeError, match=f"{name}= is for reading only"):
            llmzip.open(io.BytesIO(), "wb", **options)


def test_the_level_has_the_name_that_gzip_gives_it(tiny_model: IntegerModel, text: bytes) -> None:
    packed = llmzip.compress(text, 1, model=tiny_model)
    assert llmzip.compress(text, compresslevel=1, model=tiny_model) == packed
    sink = io.BytesIO()
    with llmzip.open(sink, "wb", compresslevel=1, model=tiny_model) as file:
        file.write(text)
    assert sink.getvalue() == packed
    with pytest.raises(TypeError, match="two names"):
        llmzip.compress(text, 1, compresslevel=1)
    for level in ("6", 6.0, []):
        with pytest.raises(TypeError):
            llmzip.compress(text, level)  # type: ignore[arg-type]


def test_a_closed_file_answers_nothing(tiny_model: IntegerModel, packed: bytes) -> None:
    for file in (
        llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model),
        llmzip.LLMZipFile(io.BytesIO(), "w"),
    ):
        file.close()
        file.close()
        assert file.closed
        for name in (
            "readable",
            "writable",
            "seekable",
            "fileno",
            "read",
            "read1",
            "readline",
            "readlines",
            "peek",
            "tell",
        ):
            with pytest.raises(ValueError, match="closed file"):
                getattr(file, name)()
        for name, argument in (
            ("seek", 0),
            ("write", b"x"),
            ("readinto", bytearray(1)),
            ("readinto1", bytearray(1)),
        ):
            with pytest.raises(ValueError, match="closed file"):
                getattr(file, name)(argument)
        with pytest.raises(ValueError, match="closed file"):
            print(file.name)


def test_files_have_names_modes_and_descriptors(
    tiny_model: IntegerModel, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    for mode in ("wb", "ab", "rb"):
        with llmzip.open(path, mode, model=tiny_model) as file:
            assert file.name == str(path)
            assert file.mode == ("rb" if mode == "rb" else "wb")
            assert os.fstat(file.fileno()).st_size == path.stat().st_size
            assert not file.isatty()
    with llmzip.open(io.BytesIO(), "w") as file:
        for use in (lambda: file.name, file.fileno):
            with pytest.raises((AttributeError, io.UnsupportedOperation)):
                use()
    with pytest.raises(FileExistsError):
        llmzip.open(path, "xb")
    with pytest.raises(FileNotFoundError):
        llmzip.open(tmp_path / "nothing")


def test_appending_adds_a_frame(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "text.llmz"
    for number, mode in enumerate(("a", "ab", "xb", "a"), 1):
        if mode == "xb":
            path = tmp_path / "other.llmz"
        with llmzip.open(path, mode, model=tiny_model) as file:
            file.write(text[:100])
            assert file.tell() == 100
        with llmzip.open(path, model=tiny_model) as file:
            assert file.read() == text[:100] * (number if number < 3 else number - 2)
    assert len(llmzip.list_frames(io.BytesIO(path.read_bytes()))) == 2
    memory = io.BytesIO(path.read_bytes())
    memory.seek(0, io.SEEK_END)
    with llmzip.open(memory, "a", model=tiny_model) as file:
        file.write(b"more")
    assert llmzip.decompress(memory.getvalue(), model=tiny_model) == text[:100] * 2 + b"more"


class OnlyReads:
    def __init__(self, data: bytes) -> None:
        self.read = io.BytesIO(data).read


class OnlyWrites:
    def __init__(self) -> None:
        self.sink = io.BytesIO()
        self.write = self.sink.write


def test_sources_need_only_read_and_sinks_only_write(
    tiny_model: IntegerModel, text: bytes, packed: bytes
) -> None:
    with llmzip.open(OnlyReads(packed), model=tiny_model) as file:  # type: ignore[call-overload]
        assert not file.seekable()
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0)
        assert file.read() == text
    with llmzip.open(OnlyReads(packed), "rt", model=tiny_model) as file:  # type: ignore[call-overload]
        assert file.read() == text.decode()
    for mode in ("wb", "ab", "at"):
        sink = OnlyWrites()
        with llmzip.open(sink, mode, model=tiny_model) as file:  # type: ignore[call-overload]
            file.write(text.decode() if mode == "at" else text)
            file.flush()
        assert llmzip.decompress(sink.sink.getvalue(), model=tiny_model) == text


def test_a_file_in_memory_can_be_sought(
    tiny_model: IntegerModel, text: bytes, packed: bytes, tmp_path: pathlib.Path
) -> None:
    """An mmap says nothing of seeking before Python 3.13."""
    path = tmp_path / "text.llmz"
    path.write_bytes(packed)
    with (
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        llmzip.open(mapped, model=tiny_model) as content,  # type: ignore[call-overload]
    ):
        content.seek(-100, io.SEEK_END)
        assert content.read() == text[-100:]


def test_every_way_to_read(tiny_model: IntegerModel, text: bytes, packed: bytes) -> None:
    def opened() -> llmzip.LLMZipFile:
        return llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model)

    lines = text.splitlines(keepends=True)
    assert list(opened()) == lines
    assert opened().readlines() == lines
    assert opened().readlines(1) == lines[:1]
    assert opened().read(size=None) == text
    file = opened()
    assert file.readline() == lines[0]
    assert file.readline(size=3) == lines[1][:3]
    assert next(file) == lines[1][3:]
    assert file.peek(5)[:5] == file.read(5)
    assert file.seek(2, whence=io.SEEK_SET) == file.tell() == 2
    assert file.seek(3, whence=io.SEEK_CUR) == 5
    assert file.seek(10**9) == 10**9  # as in any file
    assert file.read() == b""
    file.seek(0)
    parts = []
    buffer = np.zeros(300, np.uint16)
    while count := file.readinto(buffer):
        parts.append(buffer.tobytes()[:count])
    assert b"".join(parts) == text
    file.seek(0)
    small = bytearray(2000)
    assert 0 < file.readinto1(small) <= 2000
    assert small.startswith(text[:100])
    file.seek(0)
    assert b"".join(iter(lambda: file.read1(700), b"")) == text


# ---- flushing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["wb", "wt"])
def test_a_reader_sees_what_was_flushed(
    tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path, mode: str
) -> None:
    path = tmp_path / "log.llmz"
    written = b""
    with llmzip.open(path, mode, model=tiny_model) as file:
        for line in text[:1500].splitlines(keepends=True)[:5]:
            file.write(line.decode() if mode == "wt" else line)
            file.flush()
            written += line
            with llmzip.open(path, model=tiny_model) as reader:
                assert reader.read(len(written)) == written
                assert reader.tell() == len(written)
                with pytest.raises(llmzip.TruncatedError):  # the frame goes on
                    reader.read(1)
        size = path.stat().st_size
        file.flush()
        assert path.stat().st_size == size  # there is nothing more to flush
    with llmzip.open(path, model=tiny_model) as reader:
        assert reader.read() == written
        reader.flush()
    assert len(llmzip.list_frames(io.BytesIO(path.read_bytes()))) == 1


def test_without_a_flush_bytes_are_those_of_compress(tiny_model: IntegerModel, text: bytes) -> None:
    """Also in text mode, where closing flushes what lies between text and file."""
    packed = llmzip.compress(text, 1, model=tiny_model)
    for mode in ("wb", "wt"):
        sink = io.BytesIO()
        with llmzip.open(
            sink, mode, level=1, model=tiny_model, **({"newline": ""} if mode == "wt" else {})
        ) as file:
            for line in text.splitlines(keepends=True):
                file.write(line.decode() if mode == "wt" else line)
        assert sink.getvalue() == packed
    sink = io.BytesIO()
    file = llmzip.open(sink, "wt", level=1, model=tiny_model, newline="")
    file.write(text.decode())
    del file  # closed by the collector of garbage
    gc.collect()
    assert sink.getvalue() == packed


# ---- text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "encoding", [None, "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"]
)
def test_text_of_any_encoding_is_readable_again(
    tiny_model: IntegerModel, encoding: str | None, tmp_path: pathlib.Path
) -> None:
    """With the byte-order mark where there is one, once, as in files of the built-in `open`."""
    path, plain = tmp_path / "text.llmz", tmp_path / "text"
    for mode in ("wt", "at", "at", "xt", "wt"):
        if mode == "xt":
            path, plain = tmp_path / "other.llmz", tmp_path / "other"
        with llmzip.open(path, mode, encoding=encoding, newline="\n", model=tiny_model) as file:
            assert not file.seekable()
            for use in (file.tell, lambda: file.seek(0)):
                with pytest.raises(io.UnsupportedOperation):
                    use()
            file.write("Größe\n")
            file.write("the end\n")
        with plain.open(mode, encoding=encoding or "utf-8", newline="\n") as file:
            file.write("Größe\nthe end\n")
        with llmzip.open(path, model=tiny_model) as file:
            assert file.read() == plain.read_bytes()
        with llmzip.open(path, "rt", encoding=encoding, model=tiny_model) as file:
            first = file.readline()
            assert first == "Größe\n"
            position = file.tell()
            rest = file.read()
            file.seek(position)
            assert file.read() == rest
            assert file.name == str(path)


def test_the_first_text_has_a_mark_where_an_empty_file_is_appended_to(
    tiny_model: IntegerModel,
) -> None:
    sink = io.BytesIO()
    for _ in range(3):
        llmzip.open(sink, "at", encoding="utf-16", model=tiny_model).close()
    for text in ("one", "two"):
        with llmzip.open(sink, "at", encoding="utf-16", model=tiny_model) as file:
            file.write(text)
    assert llmzip.decompress(sink.getvalue(), model=tiny_model) == "onetwo".encode("utf-16")


def test_to_append_nothing_writes_nothing(tmp_path: pathlib.Path, tiny_model: IntegerModel) -> None:
    path = tmp_path / "file.llmz"
    for content in (llmzip.compress(b""), llmzip.compress(b"text", model=tiny_model)):
        path.write_bytes(content)
        with llmzip.open(path, "ab", model=tiny_model) as file:
            file.write(b"")
            file.flush()
        assert path.read_bytes() == content


def test_text_after_other_text_has_a_mark_of_its_own_unless_it_is_appended(
    tiny_model: IntegerModel,
) -> None:
    sink = io.BytesIO()
    for mode, expected in (("wt", "one"), ("at", "onetwo"), ("wt", "onetwo\ufeffthree")):
        with llmzip.open(sink, mode, encoding="utf-16", model=tiny_model) as file:
            file.write(expected.removeprefix("onetwo\ufeff").removeprefix("one") or "one")
        assert llmzip.decompress(sink.getvalue(), model=tiny_model).decode("utf-16") == expected


def test_an_exception_while_writing_text_leaves_no_complete_file(tiny_model: IntegerModel) -> None:
    sink = io.BytesIO()
    with (
        pytest.raises(RuntimeError, match="stop"),
        llmzip.open(sink, "wt", model=tiny_model) as file,
    ):
        file.write("half a text")
        raise RuntimeError("stop")
    with pytest.raises(llmzip.TruncatedError):
        llmzip.decompress(sink.getvalue())


def test_what_a_text_was_detached_from_stays_open(tiny_model: IntegerModel) -> None:
    sink = io.BytesIO()
    text = llmzip.open(sink, "wt", model=tiny_model)
    text.write("first ")
    binary = text.detach()
    del text
    gc.collect()
    binary.write(b"and second")
    binary.close()
    assert llmzip.decompress(sink.getvalue(), model=tiny_model) == b"first and second"


def test_tar_streams(tiny_model: IntegerModel, text: bytes) -> None:
    packed = io.BytesIO()
    with (
        llmzip.LLMZipFile(packed, "w", model=tiny_model) as sink,
        tarfile.open(fileobj=sink, mode="w|") as archive,
    ):
        member = tarfile.TarInfo("text.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    packed.seek(0)
    with (
        llmzip.LLMZipFile(packed, model=tiny_model) as source,
        tarfile.open(fileobj=source, mode="r|") as archive,
    ):
        for member in archive:
            extracted = archive.extractfile(member)
            assert extracted is not None
            assert extracted.read() == text


class Late(io.RawIOBase):
    """A source that does not wait: it has no data at first, then some, and none again."""

    def __init__(self, *parts: bytes | None) -> None:
        self.parts = list(parts)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        part = self.parts.pop(0) if self.parts else b""
        if part is None:
            return None
        taken, rest = part[: len(buffer)], part[len(buffer) :]
        if rest:
            self.parts.insert(0, rest)
        buffer[: len(taken)] = taken
        return len(taken)


def test_no_data_yet_is_not_the_end() -> None:
    noise = random.Random(0).randbytes(200)  # no model is needed
    packed = llmzip.compress(noise)
    for parts in ([None], [packed, None, packed], [packed[:99], None, packed[99:]]):
        with pytest.raises(BlockingIOError, match="no data yet"):
            llmzip.streams.decompress_stream(Late(*parts), io.BytesIO())
    for parts in ([None], [noise, None, noise]):
        with pytest.raises(BlockingIOError, match="no data yet"):
            llmzip.streams.compress_stream(Late(*parts), io.BytesIO())
