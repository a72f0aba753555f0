"""Zstandard, for binary blocks and whatever else a language model does not understand."""

from __future__ import annotations

import zstandard

from llmzip.errors import IntegrityError

_LEVEL = 19
# The frame is inside a block with size and check of its own: no magic bytes, no size, no checksum.
_ENCODER = zstandard.ZstdCompressionParameters.from_level(
    _LEVEL, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False, write_checksum=False
)


class ZstdCodec:
    """Magicless Zstandard frames."""

    id = 2
    name = "zstd"

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`."""
        return zstandard.ZstdCompressor(compression_params=_ENCODER).compress(data)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""
        decoder = zstandard.ZstdDecompressor(format=zstandard.FORMAT_ZSTD1_MAGICLESS).decompressobj()
        try:
            data = decoder.decompress(payload)
        except zstandard.ZstdError as error:
            raise IntegrityError(f"a zstd block does not decode ({error}): the file is damaged") from error
        if len(data) != size or not decoder.eof or decoder.unused_data:
            raise IntegrityError(f"a zstd block holds {len(data)} bytes instead of {size}: the file is damaged")
        return data
