"""Frames: header, blocks, checks, index (docs/format.md, "Frame", "Block", "Index")."""

from __future__ import annotations

import binascii
import dataclasses
import zlib

import xxhash

from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.errors import DecodeError

MAGIC, INDEX_MAGIC = b"\x8cLZ", b"\x8cLZi"
VERSIONS = (3, 4, 5, 6)
RAW, ZSTD, LLM, XZ, META_TOKEN, MATCHES = range(1, 7)
MODEL_CODECS = (LLM, META_TOKEN)
MAX_BLOCK, MAX_EXPANSION, SHORT = 1 << 26, 64, 1 << 16


def mixing_version(version: int) -> int:
    """By which version of docs/arithmetic.md, section 6, frames of a format version are mixed."""
    return max(1, version - 3)


@dataclasses.dataclass(frozen=True)
class Header:
    """What stands before a frame's blocks."""

    version: int
    single_block: bool
    solid: bool
    memory_code: int
    fingerprint: bytes
    """The beginning of the model's, or nothing."""
    dictionary: bytes
    """The beginning of the dictionary's digest, or nothing."""
    raw: bytes
    """The header as it is written."""

    @property
    def mixing_version(self) -> int:
        return mixing_version(self.version)


@dataclasses.dataclass(frozen=True)
class Block:
    """A block whose check holds."""

    codec: int
    size: int
    payload: bytes
    length: int
    """Of the whole block in the file."""


def read_header(reader: ByteReader) -> Header:
    """The beginning of a frame."""
    start = reader.offset
    if reader.data[start : start + 3] != MAGIC:
        what = "this is no .llmz file" if start == 0 else "no frame begins behind the last one"
        raise DecodeError(f"byte {start}: {what}")
    reader.read(3, "a frame's header")
    flags = reader.byte("a frame's header")
    version = flags >> 2 & 15
    if version not in VERSIONS:
        raise DecodeError(f"byte {start}: format version {version}; this decoder reads {VERSIONS}")
    single, names_model = bool(flags & 1), bool(flags & 2)
    has_dictionary, solid = bool(flags & 64), bool(flags & 128)
    if has_dictionary and not names_model:
        raise DecodeError(f"byte {start}: a dictionary, but no model")
    memory_code = reader.byte("a frame's header")
    fingerprint = reader.read(names_model * (8 >> single + has_dictionary), "a fingerprint")
    dictionary = reader.read(4 * has_dictionary, "a dictionary's digest")
    raw = reader.data[start : reader.offset]
    return Header(version, single, solid, memory_code, fingerprint, dictionary, raw)


def read_block(reader: ByteReader, header: Header, is_first: bool) -> Block | None:
    """The next block, or None at the end of the blocks."""
    start = reader.offset
    codec = reader.byte("a block")
    if codec == 0:
        return None
    size, coded_size = reader.varint("a block's size"), reader.varint("a block's coded size")
    if not 1 <= size <= MAX_BLOCK or coded_size > size + MAX_EXPANSION:
        raise DecodeError(f"block at byte {start}: {size} bytes in {coded_size}")
    payload = reader.read(coded_size, "a block")
    covered = reader.data[start : reader.offset]
    is_short = header.single_block and size < SHORT
    check = block_check((header.raw if is_first else b"") + covered, is_short)
    if reader.read(len(check), "a block's check") != check:
        raise DecodeError(f"block at byte {start}: its check differs: the file is damaged")
    return Block(codec, size, payload, reader.offset - start)


def block_check(covered: bytes, is_short: bool) -> bytes:
    """CRC-32, or CRC-16 in a short frame."""
    if is_short:
        return binascii.crc_hqx(covered, 0xFFFF).to_bytes(2, "little")
    return zlib.crc32(covered).to_bytes(4, "little")


def content_check(content: bytes, is_short: bool) -> bytes:
    """The low bits of XXH3-64."""
    return xxhash.xxh3_64_intdigest(content).to_bytes(8, "little")[: 2 if is_short else 4]


def varint(value: int) -> bytes:
    """The inverse of `ByteReader.varint`."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def index_of(blocks: list[Block]) -> bytes:
    """The index that stands behind these blocks."""
    numbers = [len(blocks), *(n for block in blocks for n in (block.length, block.size))]
    body = b"".join(map(varint, numbers))
    body += zlib.crc32(body).to_bytes(4, "little")
    return body + len(body).to_bytes(4, "little") + INDEX_MAGIC
