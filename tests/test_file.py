"""Compressed files as file objects."""

from __future__ import annotations

import io
import pathlib
import random
import tarfile
from typing import Any

import pytest

import llmzip
import llmzip.streams
from llmzip.model.integer_model import IntegerModel


@pytest.fixture(scope="module")
def text(english: bytes) -> bytes:
    return english[:6000]


@pytest.fixture(scope="module")
def packed(tiny_model: IntegerModel, text: bytes) -> bytes:
    return llmzip.compress(text, 1, model=tiny_model, block_size=1024)


def test_written_files_read_back(tiny_model: IntegerModel, text: bytes, tmp_path: pathlib.Path) -> None:
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
    for offset, size in [(5000, 100), (0, 50), (1020, 10), (len(content) - 5, 100), (3000, 2500), (len(content), 1)]:
        assert file.seek(offset) == offset
        assert file.read(size) == content[offset : offset + size]
    assert file.seek(-7, io.SEEK_END) == len(content) - 7
    assert file.read() == content[-7:]
    with pytest.raises(ValueError, match="before the beginning"):
        file.seek(-1)


def test_random_access_decodes_only_what_it_needs(
    tiny_model: IntegerModel, text: bytes, packed: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmzip.decompressor import BlockDecoder

    decoded = []
    real = BlockDecoder.decode
    monkeypatch.setattr(BlockDecoder, "decode", lambda self, block: decoded.append(block) or real(self, block))
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


def test_pipes_can_be_read_but_not_sought(tiny_model: IntegerModel, text: bytes, packed: bytes) -> None:
    file = llmzip.LLMZipFile(Pipe(packed), model=tiny_model)  # type: ignore[arg-type]
    assert not file.seekable()
    with pytest.raises(io.UnsupportedOperation):
        file.seek(5)
    assert file.read() == text


def test_an_exception_while_writing_leaves_no_complete_file(tiny_model: IntegerModel) -> None:
    sink = io.BytesIO()
    with pytest.raises(RuntimeError, match="stop"), llmzip.LLMZipFile(sink, "w", model=tiny_model) as file:
        file.write(b"half a text")
        raise RuntimeError("stop")
    with pytest.raises(llmzip.TruncatedError):
        llmzip.decompress(sink.getvalue())


def test_wrong_use(tiny_model: IntegerModel, packed: bytes) -> None:
    with pytest.raises(ValueError, match="modes are"):
        llmzip.LLMZipFile(io.BytesIO(), "a")
    reading, writing = llmzip.LLMZipFile(io.BytesIO(packed), model=tiny_model), llmzip.LLMZipFile(io.BytesIO(), "w")
    with pytest.raises(io.UnsupportedOperation):
        reading.write(b"x")
    with pytest.raises(io.UnsupportedOperation):
        writing.read()
    reading.close()
    writing.close()
    with pytest.raises(ValueError, match="closed"):
        reading.read()
    with pytest.raises(ValueError, match="closed"):
        writing.write(b"x")


def test_tar_streams(tiny_model: IntegerModel, text: bytes) -> None:
    packed = io.BytesIO()
    with llmzip.LLMZipFile(packed, "w", model=tiny_model) as sink, tarfile.open(fileobj=sink, mode="w|") as archive:
        member = tarfile.TarInfo("text.txt")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    packed.seek(0)
    with llmzip.LLMZipFile(packed, model=tiny_model) as source, tarfile.open(fileobj=source, mode="r|") as archive:
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
