"""Checks of blocks and contents: four bytes each, two in short frames (docs/format.md)."""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Sequence

import xxhash

SHORT_FRAME_SIZE = 1 << 16
"""A frame of a single block with fewer uncompressed bytes is short."""

CHECK_BYTES, SHORT_CHECK_BYTES = 4, 2


def is_short(single_block: bool, size: int) -> bool:
    """Whether a frame whose first block has `size` uncompressed bytes is short."""
    return single_block and size < SHORT_FRAME_SIZE


def is_short_frame(single_block: bool, entries: Sequence[tuple[int, int]]) -> bool:
    """Whether a frame with these blocks is short; entries: coded and uncompressed bytes of each."""
    return bool(entries) and is_short(single_block, entries[0][1])


def check_bytes(short: bool) -> int:
    """The size of each check of a frame."""
    return SHORT_CHECK_BYTES if short else CHECK_BYTES


def block_check(covered: bytes | bytearray, short: bool = False) -> bytes:
    """CRC-32 (zlib's) of the coded bytes; CRC-16/CCITT-FALSE in a short frame. Little-endian."""
    value = binascii.crc_hqx(covered, 0xFFFF) if short else zlib.crc32(covered)
    return value.to_bytes(check_bytes(short), "little")


def content_check(state: xxhash.xxh3_64, short: bool = False) -> bytes:
    """The low bits of XXH3-64 over a frame's uncompressed bytes, little-endian."""
    return state.intdigest().to_bytes(8, "little")[: check_bytes(short)]
