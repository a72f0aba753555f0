"""The codecs that need no model: raw, zstd and xz, whose formats other documents describe and
libraries decode."""

from __future__ import annotations

import lzma
from typing import Any

import zstandard

from tests.reference_decoder.errors import DecodeError

_ZSTD_MAGIC = bytes.fromhex("28b52ffd")
_PIECE = 1024


def decode_raw(payload: bytes, size: int) -> bytes:
    """Stored bytes."""
    return _exactly(payload, size)


def decode_zstd(payload: bytes, size: int) -> bytes:
    """One Zstandard frame, whose magic number is left out."""
    decoder = zstandard.ZstdDecompressor(max_window_size=_window(size, 1 << 10)).decompressobj()
    data, frame = b"", _ZSTD_MAGIC + payload
    try:
        for start in range(0, len(frame), _PIECE):  # a small frame may hold terabytes
            if decoder.eof:
                raise DecodeError("bytes behind a Zstandard frame")
            data += decoder.decompress(frame[start : start + _PIECE])
            if len(data) > size:
                break
    except zstandard.ZstdError as error:
        raise DecodeError(f"a zstd block does not decode: {error}") from error
    if not decoder.eof or decoder.unused_data:
        raise DecodeError("a zstd block is not one Zstandard frame")
    return _exactly(data, size)


def decode_xz(payload: bytes, size: int) -> bytes:
    """A byte for the filters, and an LZMA2 stream."""
    lzma2: dict[str, Any] = {"id": lzma.FILTER_LZMA2, "dict_size": _window(size, 1 << 12)}
    chains = {b"\0": [lzma2], b"\1": [{"id": lzma.FILTER_X86}, lzma2]}
    if payload[:1] not in chains:
        raise DecodeError(f"an xz block with filters {payload[:1].hex() or 'missing'}")
    decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=chains[payload[:1]])
    try:
        data = decoder.decompress(payload[1:], size + 1)
    except lzma.LZMAError as error:
        raise DecodeError(f"an xz block does not decode: {error}") from error
    if not decoder.eof or decoder.unused_data:
        raise DecodeError("an xz block is not one LZMA2 stream")
    return _exactly(data, size)


def _window(size: int, least: int) -> int:
    """The least power of two that is at least `size`, within bounds."""
    return min(max(1 << (size - 1).bit_length(), least), 1 << 26)


def _exactly(data: bytes, size: int) -> bytes:
    if len(data) != size:
        raise DecodeError(f"a block holds {len(data)} bytes instead of {size}")
    return data


DECODERS = {1: decode_raw, 2: decode_zstd, 4: decode_xz}
"""By the codec's number."""
