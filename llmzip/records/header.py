"""The header of a records archive (docs/format.md, "Records archives")."""

from __future__ import annotations

import dataclasses
import zlib

from llmzip.buffers import Buffer
from llmzip.container.header import MAGIC as FRAME_MAGIC
from llmzip.container.header import RECORDS_BYTE
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.one_shot import compress, decompress
from llmzip.predictor.record_dictionary import (
    MAX_CONTEXT_TOKENS,
    MAX_DICTIONARY_BYTES,
    MIXING_VERSIONS,
    RECORDS_VERSION,
    RecordDictionary,
)
from llmzip.records.coder import CHECK_SIZES
from llmzip.records.framing import FRAMINGS, join, split

MAGIC = FRAME_MAGIC + bytes([RECORDS_BYTE])
VERSIONS = tuple(MIXING_VERSIONS)
"""Of archives, which are those of the records in them."""
FINGERPRINT_BYTES, DIGEST_BYTES = 8, 8

_NAMES = {number: name for name, number in FRAMINGS.items()}


@dataclasses.dataclass(frozen=True)
class RecordsHeader:
    """What a reader must know before the first record."""

    fingerprint: bytes
    """The first 8 bytes of the model's fingerprint."""
    digest: bytes
    """The first 8 bytes of the dictionary's SHA-256."""
    context: int
    """How many tokens of the dictionary each record is read behind, at most."""
    check: int
    """How many bytes each record's check has."""
    framing: str
    """How the records lay in the file that was packed."""
    dictionary: bytes
    """The frame of the dictionary; empty: it is not inside, or has no samples."""
    version: int = RECORDS_VERSION

    def to_bytes(self) -> bytes:
        """The header as it is written."""
        head = MAGIC + bytes([self.version, self.check, FRAMINGS[self.framing]])
        head += self.fingerprint + self.digest + varint(self.context)
        head += varint(len(self.dictionary)) + self.dictionary
        return head + zlib.crc32(head).to_bytes(4, "little")

    @classmethod
    def read(cls, reader: ByteReader) -> RecordsHeader:
        """Parse a header. Raises FormatError, TruncatedError or IntegrityError."""
        reader.mark()
        magic = reader.read_available(len(MAGIC))
        if not MAGIC.startswith(magic) or not magic:
            raise FormatError("byte 0: not a records archive (llmzip -l lists other llmzip files)")
        if magic != MAGIC:
            reader.miss(len(MAGIC) - len(magic), "the header")
        version = reader.byte("the header")
        if version not in VERSIONS:
            raise FormatError(
                f"version {version} of records archives; this program reads versions "
                f"{VERSIONS[0]} to {VERSIONS[-1]}: update llmzip"
            )
        check, framing = reader.read(2, "the header")
        fingerprint = reader.read(FINGERPRINT_BYTES, "the header")
        digest = reader.read(DIGEST_BYTES, "the header")
        context, size = reader.varint("the context"), reader.varint("the dictionary's size")
        if (
            check not in CHECK_SIZES
            or framing not in _NAMES
            or context > MAX_CONTEXT_TOKENS
            or size > 2 * MAX_DICTIONARY_BYTES
        ):
            raise FormatError("impossible parameters in the header: the file is damaged")
        dictionary = reader.read(size, "the dictionary")
        computed = zlib.crc32(reader.seen).to_bytes(4, "little")
        if reader.read(4, "the header's check") != computed:
            raise IntegrityError(
                "header at byte 0: checksum mismatch: the file is damaged; "
                "copy or download it again"
            )
        return cls(fingerprint, digest, context, check, _NAMES[framing], dictionary, version)

    def inner_dictionary(self) -> RecordDictionary | None:
        """The dictionary that is inside. Raises LLMZipError where it is none."""
        if not self.dictionary:
            return None
        try:
            text = decompress(self.dictionary, max_output=MAX_DICTIONARY_BYTES, max_memory=1 << 26)
        except LimitError as error:
            raise LimitError(f"the dictionary inside: {error}") from error
        return RecordDictionary(split(text, "lengths"), context=self.context)


def dictionary_frame(samples: tuple[Buffer, ...]) -> bytes:
    """The frame in which a dictionary travels: it needs no model, so that it is there at once."""
    if not samples:
        return b""
    text = join(map(bytes, samples), "lengths")
    return compress(text, codec="xz")
