"""Brotli and PPMd, to compare with; their packages are optional: `pip install llmzip[codecs]`."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Any

from llmzip.codecs.base import PayloadCodec
from llmzip.errors import IntegrityError
from llmzip.extras import needing


def _package(name: str) -> Any:
    with needing("codecs", "this codec"):
        return importlib.import_module(name)


@dataclasses.dataclass(frozen=True)
class BrotliCodec(PayloadCodec):
    """A Brotli stream (RFC 7932)."""

    name = "brotli"

    quality: int = 11
    window_bits: int = 24

    def __post_init__(self) -> None:
        _package("brotli")
        if not 0 <= self.quality <= 11 or not 10 <= self.window_bits <= 24:
            raise ValueError(
                f"brotli quality {self.quality}, window {self.window_bits}: 0 to 11 and 10 to 24"
            )

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        return bytes(
            _package("brotli").compress(data, quality=self.quality, lgwin=self.window_bits)
        )

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        brotli = _package("brotli")
        decoder = brotli.Decompressor()
        data = b""
        try:
            while len(data) <= size and (
                more := decoder.process(payload, output_buffer_limit=size + 1)
            ):
                data, payload = data + more, b""
        except brotli.error as error:
            raise IntegrityError(f"brotli data does not decode ({error}): damaged") from error
        if len(data) != size or not decoder.is_finished():
            raise IntegrityError(f"brotli data does not hold its {size} bytes: damaged")
        return data


@dataclasses.dataclass(frozen=True)
class PpmdCodec(PayloadCodec):
    """7-Zip's PPMd, variant H."""

    name = "ppmd"

    order: int = 16
    memory: int = 1 << 26
    """Bytes of the context tree, in the decoder too."""

    def __post_init__(self) -> None:
        _package("pyppmd")
        if not 2 <= self.order <= 64 or not 1 << 11 <= self.memory <= (1 << 32) - 37:
            raise ValueError(
                f"ppmd order {self.order}, memory {self.memory}: 2 to 64, and 2 KiB to 4 GiB"
            )

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        encoder = _package("pyppmd").Ppmd7Encoder(self.order, self.memory)
        return bytes(encoder.encode(data) + encoder.flush())

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        decoder = _package("pyppmd").Ppmd7Decoder(self.order, self.memory)
        try:
            data = bytes(decoder.decode(payload, size))
            if len(data) < size:  # the range coder may look a few bytes past its end
                data += bytes(decoder.decode(bytes(8), size - len(data)))
        except (ValueError, SystemError) as error:  # the latter is how pyppmd fails on damaged data
            raise IntegrityError(f"ppmd data does not decode ({error}): damaged") from error
        if len(data) != size:
            raise IntegrityError(f"ppmd data does not hold its {size} bytes: damaged")
        return data
