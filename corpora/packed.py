"""Files as they are published: packed by gzip, Zstandard, xz or bzip2, and read as what they hold.

Parts of a file are read in bounded memory. A file is taken for packed where both its name and its
first bytes say so; of several packed parts one after the other, all are read.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import pathlib
import zlib
from collections.abc import Iterator
from typing import BinaryIO, cast

import zstandard

from llmzip.errors import LLMZipError

_SKIPPED = b"\x2a\x4d\x18"
_MAGIC = {
    ".gz": (b"\x1f\x8b",),
    # Of Zstandard's frames (RFC 8878), and of those that decoders skip: pzstd begins with one.
    ".zst": (b"\x28\xb5\x2f\xfd", *(bytes([n]) + _SKIPPED for n in range(0x50, 0x60))),
    ".xz": (b"\xfd7zXZ\x00",),
    ".bz2": (b"BZh",),
}
SUFFIXES = tuple(_MAGIC)
"""How names of packed files end."""

_ZSTD_HEADER = 18  # bytes of a frame's header, at most
_ZSTD_WINDOW = 1 << 31  # as `zstd --long=31` writes, whose decoder has to hold it


def inner_name(name: str) -> str:
    """The name without what says how it is packed.

    >>> inner_name("data/mixed_text.jsonl.gz"), inner_name("notes.txt")
    ('data/mixed_text.jsonl', 'notes.txt')
    """
    return name.removesuffix(_ending(name)) if _ending(name) else name


def _ending(name: str) -> str:
    return next((ending for ending in SUFFIXES if name.endswith(ending)), "")


def read(path: pathlib.Path, limit: int | None = None) -> bytes:
    """The bytes of a file, unpacked where it is packed, or the first `limit` of them. Raises
    LLMZipError where they cannot be unpacked, OSError where they cannot be read.
    """
    with opened(path) as file:
        if limit is None:
            return file.read()
        found = bytearray()
        while piece := file.read(min(limit - len(found), 1 << 20)):
            found += piece
        return bytes(found)


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[io.BufferedIOBase]:
    """What a file holds, unpacked where it is packed. Raises LLMZipError, also for reads within,
    where it cannot be unpacked.
    """
    with path.open("rb") as file:
        kind = _ending(path.name)
        if not kind or not file.peek(8).startswith(_MAGIC[kind]):
            yield file
            return
        try:
            yield _unpacking(kind, file)
        except (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk
            raise LLMZipError(f"{path}: does not unpack: {error}") from error
        except MemoryError as error:
            raise LLMZipError(f"{path}: not enough memory to unpack it") from error


def _unpacking(kind: str, file: BinaryIO) -> io.BufferedIOBase:
    if kind == ".gz":
        return gzip.GzipFile(fileobj=file)
    if kind == ".xz":
        return lzma.LZMAFile(file)
    if kind == ".bz2":
        return bz2.BZ2File(file)
    _check_frames(file)
    unpacker = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    reader = unpacker.stream_reader(file, read_across_frames=True)
    return io.BufferedReader(cast("io.RawIOBase", reader))


def _check_frames(file: BinaryIO) -> None:
    """Walk through the blocks of Zstandard's frames (RFC 8878, section 3.1), as zstandard's reader
    takes a file that ends within one for a whole one. Raises EOFError for such a file.
    """
    size = file.seek(0, io.SEEK_END)
    at = 0
    while at < size:
        start = _read_at(file, at, _ZSTD_HEADER, size)
        if start[1:4] == _SKIPPED:
            at += 8 + int.from_bytes(start[4:8], "little")
            continue
        frame = zstandard.get_frame_parameters(start)
        at += zstandard.frame_header_size(start)
        is_last = False
        while not is_last:
            block = int.from_bytes(_read_at(file, at, 3, size), "little")
            is_last, is_run = bool(block & 1), (block >> 1 & 3) == 1
            at += 3 + (1 if is_run else block >> 3)
        at += 4 * frame.has_checksum
    if at > size:
        raise EOFError("the file ends within a frame")
    file.seek(0)


def _read_at(file: BinaryIO, at: int, count: int, size: int) -> bytes:
    if at >= size:
        raise EOFError("the file ends within a frame")
    file.seek(at)
    return file.read(count)
