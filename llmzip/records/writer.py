"""Writes records archives."""

from __future__ import annotations

import os
import types
from collections.abc import Iterable, Sequence
from typing import BinaryIO

from llmzip.buffers import Buffer, check_file, flat
from llmzip.container.index import index_bytes
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.codec import as_dictionary
from llmzip.records.coder import RecordCoder
from llmzip.records.framing import FRAMINGS
from llmzip.records.group import MAX_RECORDS, Group, check_of_content
from llmzip.records.header import (
    DIGEST_BYTES,
    FINGERPRINT_BYTES,
    RecordsHeader,
    dictionary_frame,
)
from llmzip.runtime import Runtime
from llmzip.types import Progress

GROUP_RECORDS, GROUP_BYTES = 512, 1 << 20
"""How many records, or of how many bytes, lie in a group: what damage can reach, and what is held
in memory.
"""


class RecordWriter:
    """An archive to which records are written, one by one or many at once.

    Groups of them are coded side by side and written when they are full, so the file may be a pipe.
    `close` completes the archive; without it, what was written can still be read.

    >>> with RecordWriter("log.llmr", dictionary=samples) as writer:
    ...     writer.write(b'{"level": "info"}')
    """

    def __init__(
        self,
        file: str | os.PathLike[str] | BinaryIO,
        *,
        dictionary: RecordDictionary | Sequence[Buffer] = (),
        embed: bool = True,
        check: int = 0,
        framing: str = "records",
        group_records: int = GROUP_RECORDS,
        model: ModelLike | None = None,
        runtime: Runtime | None = None,
        progress: Progress | None = None,
    ) -> None:
        """file: a path, where nothing may be yet, or a binary file open for writing.

        dictionary: samples of the records. embed: whether it goes into the archive; else a reader
        is given it. check: bytes of each record, 0, 1, 2 or 4, that find out which one is damaged;
        without them damage reaches a group. framing: how the records lie in a file, for whoever
        unpacks. group_records: how many a group has. Raises FileExistsError.
        """
        if framing not in FRAMINGS:
            raise ValueError(f"framing {framing!r}: {', '.join(FRAMINGS)}")
        if not 1 <= group_records <= MAX_RECORDS:
            raise ValueError(f"groups of {group_records} records: 1 to {MAX_RECORDS}")
        known = as_dictionary(dictionary)
        engine = EngineLoader.of(model, runtime=runtime).for_compression()
        prepared = known.on(engine)
        header = RecordsHeader(
            engine.model.fingerprint[:FINGERPRINT_BYTES],
            prepared.sha256[:DIGEST_BYTES],
            known.context,
            check,
            framing,
            dictionary_frame(known.samples) if embed else b"",
        )
        self._coder = RecordCoder(engine, prepared, check, runtime)
        self._group_records = group_records
        self._progress = progress
        self._done = self._now = [0, 0]
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._entries: list[tuple[int, int]] = []
        self.is_open_ended = False
        """Whether the last record lacks its end in the file that is packed; for `framing`."""
        self._closed = False
        if isinstance(file, (str, os.PathLike)):
            self._file: BinaryIO = open(file, "xb")  # noqa: SIM115, PTH123
            self._owns = True
        else:
            check_file(file, "write", "RecordWriter")
            self._file, self._owns = file, False
        self._file.write(header.to_bytes())

    def write(self, record: Buffer) -> None:
        """Append a record."""
        self.write_many([record])

    def write_many(self, records: Iterable[Buffer]) -> None:
        """Append records."""
        if self._closed:
            raise ValueError("the archive is closed")
        for record in records:
            data = bytes(flat(record, "write"))
            self._waiting.append(data)
            self._waiting_bytes += len(data)
            if len(self._waiting) == self._group_records or self._waiting_bytes >= GROUP_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write the records so far, in a group of their own."""
        if self._waiting:
            payloads = self._coder.encode(self._waiting, self._report)
            group = Group(tuple(payloads), check_of_content(self._waiting)).to_bytes()
            self._file.write(group)
            self._entries.append((len(group), len(payloads)))
            self._done = self._now
            self._waiting, self._waiting_bytes = [], 0

    def close(self) -> None:
        """Write what is left and the index."""
        if self._closed:
            return
        try:
            self.flush()
            self._file.write(bytes([0, self.is_open_ended]) + index_bytes(self._entries))
        finally:
            self._closed = True
            if self._owns:
                self._file.close()

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Close it; after an exception without what had not been written."""
        if kind is None:
            self.close()
        elif not self._closed:
            self._closed = True
            if self._owns:
                self._file.close()

    def _report(self, done_bytes: int, done_tokens: int) -> None:
        self._now = [self._done[0] + done_bytes, self._done[1] + done_tokens]
        if self._progress:
            self._progress(*self._now)
