"""Zstandard, for binary data and other blocks on which a language model does not win."""

from __future__ import annotations

import dataclasses
import io

import zstandard

from llmzip.codecs.base import PayloadCodec
from llmzip.container.codec_ids import CodecId
from llmzip.errors import IntegrityError

_MIN_WINDOW, _MAX_WINDOW = 1 << 10, 1 << 26
_PIECE_BYTES = 1 << 20
_RLE, _RESERVED = 1, 3  # types of zstd's blocks


@dataclasses.dataclass(frozen=True)
class ZstdCodec(PayloadCodec):
    """A magicless Zstandard frame without size and check."""

    id = CodecId.ZSTD
    name = id.label

    level: int = 19
    """The level, 1 to 22; a decoder reads all of them."""

    def __post_init__(self) -> None:
        if not 1 <= self.level <= zstandard.MAX_COMPRESSION_LEVEL:
            raise ValueError(
                f"zstd level {self.level}: levels are 1 to {zstandard.MAX_COMPRESSION_LEVEL}"
            )

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=False,
            write_checksum=False,
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`. Neither the output nor the window is larger than a block of
        `size` bytes needs.
        """
        window = min(max(1 << (size - 1).bit_length(), _MIN_WINDOW), _MAX_WINDOW)
        decoder = zstandard.ZstdDecompressor(
            format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=window
        )
        if _frame_bytes(payload) != len(payload):
            raise IntegrityError("a zstd block is not one Zstandard frame: the file is damaged")
        try:
            data = _read(decoder.stream_reader(io.BytesIO(payload)), size + 1)
        except zstandard.ZstdError as error:
            raise IntegrityError(
                f"a zstd block does not decode ({error}): the file is damaged"
            ) from error
        if len(data) != size:
            raise IntegrityError(
                f"a zstd block does not hold its {size} bytes: the file is damaged"
            )
        return data


def _read(source: zstandard.ZstdDecompressionReader, limit: int) -> bytes:
    """Up to `limit` bytes, in pieces: the reader allocates all that it is asked for, whether there
    is so much or not.
    """
    out = io.BytesIO()
    while limit and (piece := source.read(min(limit, _PIECE_BYTES))):
        out.write(piece)
        limit -= len(piece)
    return out.getvalue()


def _frame_bytes(payload: bytes) -> int | None:
    """How long the frame is that begins a payload, None where it does not end in it (RFC 8878,
    3.1.1, without the magic).
    """
    if not payload:
        return None
    descriptor = payload[0]
    single_segment, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    size_bytes = (single_segment, 2, 4, 8)[descriptor >> 6]
    dictionary_bytes = (0, 1, 2, 4)[descriptor & 3]
    at = 1 + (1 - single_segment) + dictionary_bytes + size_bytes
    while at + 3 <= len(payload):
        header = int.from_bytes(payload[at : at + 3], "little")
        kind = header >> 1 & 3
        if kind == _RESERVED:
            return None
        at += 3 + (1 if kind == _RLE else header >> 3)
        if header & 1:
            return at + 4 * has_checksum
    return None
