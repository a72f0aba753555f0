"""What codecs are: a payload codec, and the sealed codec with a name and a configuration that is made of one.

A payload does not say how long its text is, nor whether it is sound. Two things wrap payloads and say both: the block of a
frame (container/block.py), for the codecs that docs/format.md gives a number, and `Codec`, for all of them.
"""

from __future__ import annotations

import dataclasses
import io
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, TruncatedError

Buffer = bytes | bytearray | memoryview


_CHECK_BYTES = 4
_MAX_SIZE = 1 << 40  # of anything sealed: far from where sizes overflow


def flat(data: Buffer) -> memoryview:
    """The bytes of any buffer, in the order of its elements, as `bytes` gives them. Raises TypeError for a str."""
    view = memoryview(data)
    if view.ndim == 1 and view.c_contiguous and view.format == "B":
        return view
    return memoryview(view.tobytes())


class BlockCodec(Protocol):
    """A payload codec: bytes -> payload -> the same bytes."""

    @property
    def id(self) -> int | None:
        """Its number in docs/format.md; None where frames cannot hold its payloads."""
        ...

    @property
    def name(self) -> str:
        """What the registry, messages and lists call it."""
        ...

    def encode(self, data: bytes) -> bytes:
        """The payload for at least one byte."""
        ...

    def decode(self, payload: bytes, size: int) -> bytes:
        """The `size` bytes. Raises IntegrityError or FormatError where the payload does not yield them."""
        ...


@dataclasses.dataclass(frozen=True)
class Codec:
    """A codec by itself: numcodecs' contract.

    Two codecs with the same configuration read each other's bytes: `varint(size) payload CRC-32`, the check little-endian
    over all that precedes it. Nothing at all has no payload.
    """

    coder: BlockCodec
    """What makes the payloads: use it where neither size nor check is to be counted."""
    config: dict[str, Any]
    """JSON: `id`, the registry's name, and the parameters."""

    @property
    def name(self) -> str:
        """The registry's name."""
        return self.coder.name

    def encode(self, data: Buffer) -> bytes:
        """Compress. Raises TypeError for a str, LimitError for more than the codec takes at once."""
        data = bytes(flat(data))
        body = varint(len(data)) + (self.coder.encode(data) if data else b"")
        return body + zlib.crc32(body).to_bytes(_CHECK_BYTES, "little")

    def decode(self, data: Buffer) -> bytes:
        """Decompress. Raises IntegrityError or FormatError for anything that `encode` has not made."""
        data = bytes(flat(data))
        if len(data) <= _CHECK_BYTES:
            raise TruncatedError(f"{len(data)} bytes are too few for anything that {self.name} has made")
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if zlib.crc32(body).to_bytes(_CHECK_BYTES, "little") != check:
            raise IntegrityError(f"checksum mismatch: the data is damaged, cut short, or not made by {self.name}")
        reader = ByteReader(io.BytesIO(body))
        size = reader.varint("the size")
        payload = body[reader.offset :]
        if size > _MAX_SIZE:
            raise FormatError(f"data of impossible size ({size} bytes): damaged, or not made by {self.name}")
        if not size:
            if payload:
                raise IntegrityError("data of no bytes has a payload: damaged")
            return b""
        try:
            return self.coder.decode(payload, size)
        except OverflowError as error:
            raise FormatError(f"{size} bytes are more than {self.name} can have made: the data is damaged") from error

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Its configuration: the reader's machine finds the model by its fingerprint."""
        from llmzip.codecs.registry import from_config

        return from_config, (self.get_config(),)

    def __deepcopy__(self, memo: object) -> Codec:
        """Itself: nothing about it changes, so that copies may share the model."""
        return self

    def get_config(self) -> dict[str, Any]:
        """What `registry.from_config` makes an equal codec of."""
        return dict(self.config)
