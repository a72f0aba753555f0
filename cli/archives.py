"""Archives of records as commands open them, and what is written of them."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from llmzip.cli import options
from llmzip.cli.messages import say
from llmzip.cli.paths import from_name
from llmzip.cli.record_options import read_records
from llmzip.cli.sizes import counted
from llmzip.errors import IntegrityError, LLMZipError
from llmzip.records.framing import joined
from llmzip.records.reader import RecordReader


def label_of(name: str) -> str:
    """What messages call an input."""
    return "stdin" if name == "-" else name


@contextlib.contextmanager
def archive_file(name: str) -> Iterator[BinaryIO]:
    """The file of an archive; standard input is copied first, as archives are read from their
    ends.
    """
    if name != "-":
        with from_name(name).open("rb") as file:
            yield file
        return
    with tempfile.TemporaryFile(prefix="llmzip-") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        yield copy


@contextlib.contextmanager
def open_archive(
    name: str,
    dictionary: str | None,
    max_memory: int | None,
    model: str | None,
    engine: dict[str, Any],
) -> Iterator[RecordReader]:
    """The archive of this name; `dictionary` is a file in the archive's framing."""
    with archive_file(name) as file:
        yield RecordReader(
            file,
            dictionary=given_samples(RecordReader(file), dictionary),
            model=model,
            max_memory=max_memory,
            runtime=options.runtime_of(offline=True, download=False, **engine),
        )


def given_samples(archive: RecordReader, dictionary: str | None) -> list[bytes] | None:
    """The samples of a file that are for an archive."""
    return None if dictionary is None else read_records(dictionary, framing_of(archive))


def framing_of(archive: RecordReader) -> str:
    """How records are written out: those that came one by one each behind its length."""
    return "lengths" if archive.header.framing == "records" else archive.header.framing


def unpack(archive: RecordReader, sink: BinaryIO, label: str, keep_going: bool) -> int:
    """Write all records; how many are lost. Raises LLMZipError for the first one, or with
    `keep_going` where nothing could be saved.
    """
    framing, left, saved = framing_of(archive), len(archive), 0
    lost = _Lost(label)
    for first, found in archive.iter_groups():
        whole: list[bytes] = []
        for number, record in enumerate(found, first):
            if isinstance(record, bytes):
                whole.append(record)
            elif keep_going:
                lost.add(number, record)
            else:
                raise type(record)(f"record {number}: {record}")
        left -= len(found)
        saved += len(whole)
        pieces = list(joined(framing, whole))
        if not left and archive.is_open_ended and pieces and isinstance(found[-1], bytes):
            pieces[-1] = pieces[-1][:-1]
        sink.write(b"".join(pieces))
    lost.say()
    if archive.damage:
        if not keep_going:
            raise archive.damage
        say(f"{label}: {archive.damage}")
    if not saved and (lost.count or archive.damage):
        raise IntegrityError("no record of it could be saved: nothing is written")
    return lost.count


class _Lost:
    """Says which records are lost: a line for those that follow each other for one reason."""

    def __init__(self, label: str) -> None:
        self._label = label
        self.count = 0
        self._first = self._next = 0
        self._reason = ""

    def add(self, number: int, error: LLMZipError) -> None:
        """One more."""
        if (number, str(error)) != (self._next, self._reason):
            self.say()
            self._first, self._reason = number, str(error)
        self._next = number + 1
        self.count += 1

    def say(self) -> None:
        """Say those that have not been said."""
        count = self._next - self._first
        if count:
            numbers = (
                f"record {self._first}"
                if count == 1
                else (f"records {self._first} to {self._next - 1} ({counted(count, 'record')})")
            )
            say(f"{self._label}: {numbers}: {self._reason}")
        self._first = self._next
        self._reason = ""


class Counting:
    """A file for writing that counts."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.count = 0
        """Bytes so far."""

    def write(self, data: bytes) -> int:
        """Write to the file."""
        self.count += len(data)
        return self._file.write(data)
