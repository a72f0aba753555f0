"""Writes records archives."""

from __future__ import annotations

import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from llmzip.buffers import Buffer, flat, whole_number, write_all
from llmzip.container.index import Entries, index_bytes
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.exclusive import ExclusiveCalls, OwnProcess, leaves_incomplete, new_lock
from llmzip.file import PathOrFile
from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.archive_file import ArchiveFile
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
from llmzip.records.reader import RecordReader
from llmzip.runtime import Runtime
from llmzip.types import Progress

_CLOSED = "the archive is closed"

GROUP_RECORDS, GROUP_BYTES = 512, 1 << 20
"""How many records, or of how many bytes, lie in a group: what damage can reach, and what is held
in memory.
"""


class RecordWriter:
    """An archive to which records are written, one by one or many at once.

    Groups of them are coded side by side and written when they are full, so the file may be a pipe.
    `close` completes the archive. Without it the groups that are full can still be read; the
    records of the last one are lost, and a ResourceWarning says how many. Threads that use the same
    writer wait for each other. After a group that an exception has left half written every call
    raises ValueError.

    >>> with RecordWriter("log.llmr", dictionary=samples) as writer:
    ...     writer.write(b'{"level": "info"}')
    """

    _closed = True  # until all is there that may be closed

    def __init__(
        self,
        file: PathOrFile,
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
        if not isinstance(framing, str) or framing not in FRAMINGS:
            raise ValueError(f"framing {framing!r}: {', '.join(FRAMINGS)}")
        _check_group(group_records)
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
        coder = RecordCoder(engine, prepared, check, runtime)
        opened = ArchiveFile(file, "xb", "write", "RecordWriter")
        self._begin(opened, coder, group_records, progress)
        write_all(self._file, header.to_bytes())
        self._closed = False

    @classmethod
    def behind(
        cls,
        reader: RecordReader,
        file: BinaryIO,
        *,
        group_records: int = GROUP_RECORDS,
        progress: Progress | None = None,
    ) -> RecordWriter:
        """A writer that goes on behind the records of an archive, of which `file` gets a copy: its
        model, dictionary, checks and framing stay. `llmzip.records.appending` does that in place.

        Raises LLMZipError where the archive is damaged, or its model or dictionary missing.
        """
        _check_group(group_records)
        writer = cls.__new__(cls)
        coder = reader.coder()
        given = ArchiveFile(file, "xb", "write", "RecordWriter")
        writer._begin(given, coder, group_records, progress)
        writer._entries = reader.copy_groups(file)
        writer._was_open_ended = reader.is_open_ended
        writer._closed = False
        return writer

    def _begin(
        self,
        archive: ArchiveFile,
        coder: RecordCoder,
        group_records: int,
        progress: Progress | None,
    ) -> None:
        self._archive, self._file = archive, archive.file
        self._coder = coder
        self._group_records = group_records
        self._progress = progress
        self._done = self._now = [0, 0]
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._entries: Entries = []
        self.is_open_ended = False
        """Whether the last record lacks its end in the file that is packed; for `framing`."""
        self._was_open_ended = False  # the last record before any that is written here
        self._process = OwnProcess()  # that which has written last
        self._lock = new_lock()
        self._encodes, self._writes = ExclusiveCalls("archive"), ExclusiveCalls("archive")

    def write(self, record: Buffer) -> None:
        """Append a record."""
        self.write_many([record])

    def write_many(self, records: Iterable[Buffer]) -> None:
        """Append records."""
        for record in records:
            data = bytes(flat(record, "write"))
            with self._lock:
                self._check_open()
                self._process.take()
                self._was_open_ended = False
                self._waiting.append(data)
                self._waiting_bytes += len(data)
                if len(self._waiting) >= self._group_records or self._waiting_bytes >= GROUP_BYTES:
                    self.flush()

    def flush(self) -> None:
        """Write the records so far, in a group of their own. Raises ValueError where one was not
        written to its end.
        """
        with self._lock:
            self._check_open()
            records = self._waiting.copy()
            if records:
                group = self._encodes.run_repeatable(lambda: self._group(records))
                self._writes.run(lambda: self._write(group, records))

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError(_CLOSED)
        self._writes.check()

    def _group(self, records: list[bytes]) -> bytes:
        payloads = self._coder.encode(records, self._report)
        return Group(tuple(payloads), check_of_content(records)).to_bytes()

    def _write(self, group: bytes, records: list[bytes]) -> None:
        write_all(self._file, group)
        self._entries.append((len(group), len(records)))
        self._done = self._now
        del self._waiting[: len(records)]
        self._waiting_bytes = sum(map(len, self._waiting))

    def close(self) -> None:
        """Write what is left and the index. Raises as `flush` does."""
        with self._lock:
            if self._closed:
                return
            try:
                self.flush()
                self._writes.run(self._write_end, then=_CLOSED)
            finally:
                self._leave()

    def _write_end(self) -> None:
        is_open = self.is_open_ended or self._was_open_ended
        write_all(self._file, bytes([0, is_open]) + index_bytes(self._entries))

    def _leave(self) -> None:
        self._closed = True
        self._archive.close()

    def __del__(self, warn: Callable[..., None] = warnings.warn) -> None:
        """Close the file, and say what it lacks: to code that would take the model, which may be in
        the middle of something else. A forked process leaves it to its parent.
        """
        if not self._closed and not self._process.is_other:
            self._leave()
            lost = f"{len(self._waiting):,} records" if self._waiting else "the index"
            warn(
                f"an archive was not closed, {lost} did not get into it: {self._archive.name!r}",
                ResourceWarning,
                source=self,
            )

    def __enter__(self) -> RecordWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        """Close it; after an exception without what had not been written, as of `LLMZipFile`."""
        if not leaves_incomplete(error, self._process):
            self.close()
        elif not self._closed:
            self._leave()

    def _report(self, done_bytes: int, done_tokens: int) -> None:
        self._now = [self._done[0] + done_bytes, self._done[1] + done_tokens]
        if self._progress:
            self._progress(*self._now)


def _check_group(records: int) -> None:
    if not 1 <= whole_number(records, "group_records") <= MAX_RECORDS:
        raise ValueError(f"groups of {records} records: 1 to {MAX_RECORDS}")
