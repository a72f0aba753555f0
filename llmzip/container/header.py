"""The frame header: magic, version, flags, memory, model, dictionary (docs/format.md, "Frame")."""

from __future__ import annotations

import dataclasses

from llmzip.container.varint import ByteReader
from llmzip.errors import FormatError

MAGIC = b"\x8cLZ"
VERSION = 6
"""The version that is written."""
VERSIONS = (3, 4, 5, 6)
"""The versions that are read."""
FINGERPRINT_PREFIX = 8
DICTIONARY_ID_BYTES = 4

RECORDS_BYTE = ord("r")
"""What follows the magic in records archives, which are no frames."""

_FIXED_BYTES = len(MAGIC) + 2
_SINGLE_BLOCK, _NAMES_MODEL, _NAMES_DICTIONARY, _SOLID = 1, 2, 64, 128
_VERSION_SHIFT, _VERSION_MASK = 2, 15


def fingerprint_bytes(single_block: bool, has_dictionary: bool) -> int:
    """How many bytes of the model's fingerprint a frame that names one has.

    Half as many where every byte counts, half as many where the dictionary's digest vouches for the
    model as well.
    """
    return FINGERPRINT_PREFIX >> single_block + has_dictionary


@dataclasses.dataclass(frozen=True)
class FrameHeader:
    """What a decoder must know before the first block."""

    single_block: bool
    memory_code: int
    fingerprint: bytes = b""
    """The first `fingerprint_bytes` of the model's fingerprint, nothing where it names no model."""
    dictionary_id: bytes = b""
    """The digest of the frame's dictionary, 4 bytes, or nothing."""
    solid: bool = False
    """Whether blocks build on those before them: on what these taught, and on their bytes."""
    version: int = VERSION
    is_guess: bool = False
    """Whether it stands for a lost header, and its memory for nothing."""

    @property
    def memory(self) -> int:
        """The bytes that decoding takes at most (docs/format.md, "Memory")."""
        return memory_limit(self.memory_code)

    @property
    def states_all_memory(self) -> bool:
        """Whether `memory` is all that a block may need: before version 4, only key/value cache and
        mixer counted.
        """
        return self.version >= 4 and not self.is_guess

    @property
    def mixing_version(self) -> int:
        """By which version of docs/arithmetic.md, section 6, the frame's blocks are mixed."""
        return max(1, self.version - 3)

    def to_bytes(self) -> bytes:
        """The header as it is written."""
        flags = self.single_block * _SINGLE_BLOCK | bool(self.fingerprint) * _NAMES_MODEL
        flags |= bool(self.dictionary_id) * _NAMES_DICTIONARY | self.solid * _SOLID
        names = self.fingerprint + self.dictionary_id
        return MAGIC + bytes([self.version << _VERSION_SHIFT | flags, self.memory_code]) + names

    @classmethod
    def read(cls, reader: ByteReader) -> FrameHeader:
        """Parse a header. Raises FormatError for anything but a frame of a known version."""
        start = reader.offset
        fixed = reader.read_available(_FIXED_BYTES)
        if not MAGIC.startswith(fixed[: len(MAGIC)]):
            what = "not an llmzip file" if start == 0 else "trailing junk after the last frame"
            raise FormatError(f"byte {start}: {what} (no frame begins here)")
        if len(fixed) <= len(MAGIC):
            reader.miss(_FIXED_BYTES - len(fixed), "a frame header")
        byte = fixed[len(MAGIC)]
        if byte == RECORDS_BYTE:
            raise FormatError(
                f"byte {start}: a records archive begins here: `llmzip records` reads it"
            )
        version = byte >> _VERSION_SHIFT & _VERSION_MASK
        if version not in VERSIONS:
            known = f"{VERSIONS[0]} to {VERSIONS[-1]}"
            raise FormatError(
                f"byte {start}: format version {version}; this program reads versions {known}: "
                "update llmzip"
            )
        code = fixed[-1] if len(fixed) == _FIXED_BYTES else reader.byte("a frame header")
        names_model, has_dictionary, solid = (
            bool(byte & flag) for flag in (_NAMES_MODEL, _NAMES_DICTIONARY, _SOLID)
        )
        if has_dictionary and not names_model:
            raise FormatError(
                f"byte {start}: a frame with a dictionary names no model: the file is damaged"
            )
        single = bool(byte & _SINGLE_BLOCK)
        fingerprint = reader.read(
            fingerprint_bytes(single, has_dictionary) * names_model, "a frame header"
        )
        dictionary_id = reader.read(DICTIONARY_ID_BYTES * has_dictionary, "a frame header")
        return cls(single, code, fingerprint, dictionary_id, solid, version)


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
