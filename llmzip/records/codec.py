"""Messages without an archive: what both sides have agreed on is not sent."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmzip.buffers import Buffer, flat
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import IntegrityError, LimitError, LLMZipError
from llmzip.predictor.record_dictionary import (
    MIXING_VERSIONS,
    RECORDS_VERSION,
    RecordDictionary,
)
from llmzip.records.coder import RecordCoder
from llmzip.runtime import Runtime


class RecordCodec:
    """Turns records into messages and back, many at a time.

    A message says nothing of model, dictionary and check: both sides make their codec with the
    same, which `digest` tells.

    >>> codec = RecordCodec(RecordDictionary([b'{"level": "info"}']))
    >>> messages = codec.compress_many([b'{"level": "warning"}'])
    """

    def __init__(
        self,
        dictionary: RecordDictionary | Sequence[Buffer] = (),
        *,
        model: ModelLike | None = None,
        check: int = 0,
        version: int = RECORDS_VERSION,
        max_memory: int | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """dictionary: samples of the records. check: how many bytes of each message tell whether it
        came whole: 0, 1, 2 or 4. version: 1 for what llmzip wrote before version 2 of records.

        Raises ModelNotFoundError where the model is not installed.
        """
        if version not in MIXING_VERSIONS:
            known = ", ".join(map(str, MIXING_VERSIONS))
            raise ValueError(f"version {version} of records: there are {known}")
        self.dictionary = as_dictionary(dictionary)
        """The samples."""
        engine = EngineLoader.of(model, runtime=runtime).for_compression()
        prepared = self.dictionary.on(engine, version)
        self.digest = prepared.sha256
        """SHA-256 of model and dictionary: codecs with the same digest, context and check
        understand each other.
        """
        self._coder = RecordCoder(engine, prepared, check, runtime, max_memory)

    def compress(self, record: Buffer) -> bytes:
        """The message of one record."""
        return self.compress_many([record])[0]

    def decompress(self, message: Buffer) -> bytes:
        """The record of one message. Raises IntegrityError where it is damaged."""
        return self.decompress_many([message])[0]

    def compress_many(self, records: Sequence[Buffer]) -> list[bytes]:
        """The messages of records, made side by side: each is the same as alone."""
        return self._coder.encode([bytes(flat(record, "compress_many")) for record in records])

    def decompress_many(self, messages: Sequence[Buffer]) -> list[bytes]:
        """The records of messages, read side by side. Raises IntegrityError, or another
        LLMZipError, for the first that is damaged; `decompress_each` gives the others.
        """
        found = self.decompress_each(messages)
        return [sound(record, f"message {i}") for i, record in enumerate(found)]

    def decompress_each(self, messages: Sequence[Buffer]) -> list[bytes | LLMZipError]:
        """The same with, for each damaged message, its error."""
        return self._coder.decode([bytes(flat(message, "decompress_each")) for message in messages])


def as_dictionary(dictionary: RecordDictionary | Sequence[Buffer]) -> RecordDictionary:
    """From what public functions are given."""
    if isinstance(dictionary, RecordDictionary):
        return dictionary
    if isinstance(dictionary, (bytes, bytearray, memoryview, str)) or not isinstance(
        dictionary, Iterable
    ):
        raise TypeError(
            f"dictionary is a list of samples, or a RecordDictionary, not {dictionary!r:.40}: "
            "llmzip.records.split makes samples of a text"
        )
    return RecordDictionary(dictionary)


def sound(record: bytes | LLMZipError, what: str) -> bytes:
    """The record. Raises its error, with its name, where it is damaged."""
    if isinstance(record, LLMZipError):
        kind = LimitError if isinstance(record, LimitError) else IntegrityError
        raise kind(f"{what}: {record}") from record
    return record
