"""Deflate and bzip2 of the standard library, for comparison; files do not have them."""

from __future__ import annotations

import bz2
import dataclasses
import zlib

from llmzip.codecs.base import PayloadCodec
from llmzip.errors import IntegrityError


def deflate(data: bytes, level: int) -> bytes:
    """A raw Deflate stream (RFC 1951); `zlib.compress` makes none before Python 3.11."""
    compressor = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@dataclasses.dataclass(frozen=True)
class ZlibCodec(PayloadCodec):
    """A raw Deflate stream (RFC 1951)."""

    name = "zlib"

    level: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 9:
            raise ValueError(f"zlib level {self.level}: levels are 1 to 9")

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        return deflate(data, self.level)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        decoder = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
        try:
            data = decoder.decompress(payload, size + 1)
            # The end may need a call of its own.
            data += decoder.decompress(decoder.unconsumed_tail, 1)
        except zlib.error as error:
            raise IntegrityError(f"zlib data does not decode ({error}): damaged") from error
        if len(data) != size or not decoder.eof or decoder.unused_data:
            raise IntegrityError(f"zlib data does not hold its {size} bytes: damaged")
        return data


@dataclasses.dataclass(frozen=True)
class Bzip2Codec(PayloadCodec):
    """A .bz2 stream."""

    name = "bzip2"

    level: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 9:
            raise ValueError(f"bzip2 level {self.level}: levels are 1 to 9")

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        return bz2.compress(data, self.level)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        decoder = bz2.BZ2Decompressor()
        try:
            data = decoder.decompress(payload, size + 1)
        except OSError as error:
            raise IntegrityError(f"bzip2 data does not decode ({error}): damaged") from error
        if len(data) != size or not decoder.eof or decoder.unused_data:
            raise IntegrityError(f"bzip2 data does not hold its {size} bytes: damaged")
        return data
