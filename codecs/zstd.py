"""Zstandard, for binary blocks and whatever else a language model does not understand."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import zstandard

from llmzip.errors import IntegrityError


@dataclasses.dataclass(frozen=True)
class ZstdCodec:
    """Magicless Zstandard frames: what wraps them has size and check."""

    id: ClassVar[int] = 2
    name: ClassVar[str] = "zstd"

    level: int = 19
    """1 to 22; any decoder reads all."""

    def __post_init__(self) -> None:
        if not 1 <= self.level <= zstandard.MAX_COMPRESSION_LEVEL:
            raise ValueError(f"zstd level {self.level}: levels are 1 to {zstandard.MAX_COMPRESSION_LEVEL}")

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`."""
        parameters = zstandard.ZstdCompressionParameters.from_level(
            self.level, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=False, write_checksum=False
        )
        return zstandard.ZstdCompressor(compression_params=parameters).compress(data)

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
