"""The frame header: magic, version, flags, memory, model (docs/format.md, "Frame")."""

from __future__ import annotations

import dataclasses

from llmzip.container.varint import ByteReader
from llmzip.errors import FormatError

MAGIC = b"\x8cLZ"
VERSION = 1
FINGERPRINT_PREFIX = 8

_SINGLE_BLOCK, _NAMES_MODEL = 1, 2
_FLAGS, _VERSION_SHIFT = 3, 2


@dataclasses.dataclass(frozen=True)
class FrameHeader:
    """What a decoder must know before the first block."""

    single_block: bool
    memory_code: int
    fingerprint: bytes
    """The first 8 bytes of the model's fingerprint, or nothing where no block needs a model."""

    @property
    def memory(self) -> int:
        """The bytes that the decoder's key/value cache takes at most."""
        return memory_limit(self.memory_code)

    def to_bytes(self) -> bytes:
        """The header as it is written."""
        flags = self.single_block * _SINGLE_BLOCK | bool(self.fingerprint) * _NAMES_MODEL
        return MAGIC + bytes([VERSION << _VERSION_SHIFT | flags, self.memory_code]) + self.fingerprint

    @classmethod
    def read(cls, reader: ByteReader) -> FrameHeader:
        """Parse a header. Raises FormatError for anything but a version 1 frame."""
        start = reader.offset
        magic = reader.read_available(len(MAGIC))
        if not MAGIC.startswith(magic):
            what = "not an llmzip file" if start == 0 else "trailing junk after the last frame"
            raise FormatError(f"byte {start}: {what} (no frame begins here)")
        reader.read(len(MAGIC) - len(magic), "a frame header")
        byte = reader.byte("a frame header")
        version, flags = byte >> _VERSION_SHIFT, byte & _FLAGS
        if version != VERSION:
            raise FormatError(
                f"byte {start}: format version {version}; this program reads version {VERSION}: update llmzip"
            )
        code = reader.byte("a frame header")
        fingerprint = reader.read(FINGERPRINT_PREFIX, "a frame header") if flags & _NAMES_MODEL else b""
        return cls(bool(flags & _SINGLE_BLOCK), code, fingerprint)


def memory_code(need: int) -> int:
    """The smallest code whose limit is at least `need` bytes."""
    return next(code for code in range(256) if memory_limit(code) >= need)


def memory_limit(code: int) -> int:
    """⌈2 ** (code / 4)⌉ bytes, in integers; 0 for code 0."""
    if code == 0:
        return 0
    fourth_power = 1 << code
    root = int(2.0 ** (code / 4))
    while root**4 < fourth_power:
        root += 1
    while (root - 1) ** 4 >= fourth_power:
        root -= 1
    return root
