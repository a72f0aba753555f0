"""Reads records archives: all of it, or single records by number."""

from __future__ import annotations

import bisect
import io
import itertools
import operator
import types
from collections.abc import Iterator, Sequence
from typing import BinaryIO, overload

from llmzip.buffers import Buffer, whole_number, write_all
from llmzip.container.index import FOOTER_BYTES, Entries, index_length, read_index
from llmzip.container.varint import ByteReader
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import DictionaryError, FormatError, IntegrityError, LLMZipError
from llmzip.file import PathOrFile
from llmzip.model.store import ModelStore
from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.archive_file import ArchiveFile
from llmzip.records.codec import as_dictionary, sound
from llmzip.records.coder import RecordCoder
from llmzip.records.group import MAX_RECORDS, Group, check_of_content, read_lengths, skip
from llmzip.records.header import RecordsHeader
from llmzip.runtime import Runtime

_COPIED_BYTES = 1 << 20

END_BYTES = 2
"""Behind the groups: the 0 that ends them, and whether the last record lacks its end."""


class RecordReader(Sequence[bytes]):
    """The records of an archive: `len(reader)`, `reader[i]`, `reader[10:20]`, `for record in
    reader`. Many at once are read side by side, which is much quicker than one after the other.

    >>> with RecordReader("log.llmr") as reader:
    ...     reader[-1]
    b'{"level": "info"}'
    """

    def __init__(
        self,
        file: PathOrFile,
        *,
        dictionary: RecordDictionary | Sequence[Buffer] | None = None,
        model: ModelLike | None = None,
        max_memory: int | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """file: a path, or a binary file that can seek. dictionary: where it is not in the archive.

        Only the index is read; the model and the dictionary when a record is asked for. Raises
        FormatError, TruncatedError or IntegrityError.
        """
        self._loader = EngineLoader.of(model, runtime=runtime)
        self._given = None if dictionary is None else as_dictionary(dictionary)
        self._runtime, self._max_memory = runtime, max_memory
        if max_memory is not None:
            whole_number(max_memory, "max_memory")
        self._archive = ArchiveFile(file, "rb", "seek", "RecordReader")
        self._file = self._archive.file
        try:
            self._file.seek(0)
            reader = ByteReader(self._file)
            self.header = RecordsHeader.read(reader)
            """What the archive says of itself."""
            entries, self.is_open_ended, self.damage = self._groups(reader.offset)
        except BaseException:
            self.close()
            raise
        self._entries = entries
        self._starts = list(
            itertools.accumulate((size for size, _ in entries), initial=reader.offset)
        )
        self._firsts = list(itertools.accumulate((count for _, count in entries), initial=0))
        self._coder: RecordCoder | None = None
        self._held: tuple[int, Group] | None = None

    def __len__(self) -> int:
        return self._firsts[-1]

    @property
    def groups(self) -> int:
        """How many groups there are."""
        return len(self._firsts) - 1

    @overload
    def __getitem__(self, index: int) -> bytes: ...

    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...

    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        """A record, or those of a slice. Raises IndexError, and IntegrityError where one is
        damaged.
        """
        if isinstance(index, slice):
            return self.get_many(range(len(self))[index])
        return self.get_many([range(len(self))[operator.index(index)]])[0]

    def get_many(self, numbers: Sequence[int]) -> list[bytes]:
        """The records of these numbers, read side by side. Raises IntegrityError for the first that
        is damaged; `get_each` gives the others.
        """
        found = self.get_each(numbers)
        return [sound(record, f"record {n}") for n, record in zip(numbers, found, strict=True)]

    def get_each(self, numbers: Sequence[int]) -> list[bytes | LLMZipError]:
        """The same with, for each damaged record, its error."""
        groups: dict[int, Group | LLMZipError] = {}
        payloads: list[bytes] = []
        lost: dict[int, LLMZipError] = {}
        for place, number in enumerate(numbers):
            if not 0 <= number < len(self):
                raise IndexError(f"record {number} of {len(self)}")
            g = bisect.bisect_right(self._firsts, number) - 1
            if g not in groups:
                groups[g] = self._group(g)
            group = groups[g]
            if isinstance(group, Group) and (group.is_sound or self.header.check):
                payloads.append(group.payloads[number - self._firsts[g]])
                continue
            payloads.append(b"")
            lost[place] = (
                group
                if not isinstance(group, Group)
                else IntegrityError(
                    f"the group of records {self._firsts[g]} to {self._firsts[g + 1] - 1} is "
                    "damaged, and records have no checks to tell which: copy or download the "
                    "file again"
                )
            )
        sound_places = [place for place in range(len(numbers)) if place not in lost]
        decoded = self._decode([payloads[place] for place in sound_places])
        records: list[bytes | LLMZipError] = [lost.get(p, b"") for p in range(len(numbers))]
        for place, record in zip(sound_places, decoded, strict=True):
            records[place] = record
        return records

    def __iter__(self) -> Iterator[bytes]:
        """The records in order, a group at a time side by side; each group is held against its
        content check. Raises IntegrityError at the first damaged record.
        """
        for first, records in self.iter_groups():
            yield from (sound(record, f"record {first + i}") for i, record in enumerate(records))
        if self.damage:
            raise self.damage

    def iter_groups(self) -> Iterator[tuple[int, list[bytes | LLMZipError]]]:
        """For each group the number of its first record and its records, or for damaged ones their
        errors.
        """
        for g in range(self.groups):
            first, stop = self._firsts[g], self._firsts[g + 1]
            records = self.get_each(range(first, stop))
            group = self._group(g)
            if isinstance(group, Group) and all(isinstance(record, bytes) for record in records):
                error = IntegrityError(
                    f"the checks of the group of records {first} to {stop - 1} differ: the file is "
                    "damaged; copy or download it again"
                )
                if check_of_content(records) != group.content_check:
                    records = [error] * len(records)
                elif not group.is_sound:
                    self.damage = self.damage or error
            yield first, records

    def close(self) -> None:
        """Close the file, if it was given as a path."""
        self._archive.close()

    def __enter__(self) -> RecordReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.close()

    def _groups(self, start: int) -> tuple[Entries, bool, LLMZipError | None]:
        """Bytes and records of each group, whether the last record lacks its end, and what is wrong
        with the archive: without a sound index its groups are looked for.
        """
        end = self._file.seek(0, io.SEEK_END)
        self._file.seek(max(end - FOOTER_BYTES, start))
        length = index_length(self._file.read(FOOTER_BYTES))
        if length is not None and start <= end - length - END_BYTES:
            self._file.seek(end - length - END_BYTES)
            reader = ByteReader(self._file, end - length - END_BYTES)
            try:
                tail = reader.read(END_BYTES, "the end")
                entries = read_index(reader)
                if tail not in (b"\0\0", b"\0\1"):
                    raise FormatError("no end before the index: the file is damaged")
                whole = sum(size for size, _ in entries) == end - length - END_BYTES - start
                if not whole or not all(1 <= count <= MAX_RECORDS for _, count in entries):
                    raise FormatError("the index does not match the groups: the file is damaged")
                return entries, bool(tail[1]), None
            except LLMZipError as error:
                return *self._scan(start), error
        return *self._scan(start), FormatError(
            f"no index ends at byte {end}: the file is cut off or damaged; copy or download it "
            "again"
        )

    def _scan(self, start: int) -> tuple[Entries, bool]:
        """The groups as they follow each other, up to where that ends."""
        self._file.seek(start)
        reader = ByteReader(self._file, start)
        entries: Entries = []
        try:
            while True:
                begin = reader.offset
                lengths = read_lengths(reader)
                if lengths is None:
                    return entries, reader.byte("the end") == 1
                skip(reader, lengths)
                entries.append((reader.offset - begin, len(lengths)))
        except LLMZipError:
            return entries, False

    def _group(self, number: int) -> Group | LLMZipError:
        """A group, or what is wrong with it; the last one is kept."""
        if self._held and self._held[0] == number:
            return self._held[1]
        start, stop = self._starts[number : number + 2]
        self._file.seek(start)
        reader = ByteReader(io.BytesIO(self._file.read(stop - start)), start)
        try:
            group = Group.read(reader)
        except LLMZipError as error:
            return error
        count = self._firsts[number + 1] - self._firsts[number]
        if group is None or len(group.payloads) != count or reader.offset != stop:
            return FormatError(
                f"group at byte {start}: the index does not match it: the file is damaged"
            )
        self._held = number, group
        return group

    def _decode(self, payloads: Sequence[bytes]) -> list[bytes | LLMZipError]:
        if not payloads:
            return []
        return self.coder().decode(payloads)

    def coder(self) -> RecordCoder:
        """What codes records as the archive's are coded. Raises ModelNotFoundError,
        ModelMismatchError or DictionaryError.
        """
        if self._coder is None:
            self._coder = self._new_coder()
        return self._coder

    def copy_groups(self, sink: BinaryIO) -> Entries:
        """Write the header and all groups, as they are; bytes and records of each group.

        Raises LLMZipError where the archive is damaged.
        """
        if self.damage:
            raise self.damage
        self._file.seek(0)
        left = self._starts[-1]
        while left:
            data = self._file.read(min(left, _COPIED_BYTES))
            if not data:
                raise FormatError("the file has become shorter while it was read")
            write_all(sink, data)
            left -= len(data)
        return list(self._entries)

    def _new_coder(self) -> RecordCoder:
        header = self.header
        engine = self._loader.for_fingerprint(header.fingerprint)
        empty = RecordDictionary(context=header.context)
        for dictionary in (self._given, header.inner_dictionary(), empty):
            if dictionary is None:
                continue
            given = (
                dictionary
                if dictionary.context == header.context
                else RecordDictionary(dictionary.samples, context=header.context)
            )
            known = given.on(engine, header.version)
            if not known.sha256.startswith(header.digest):
                rules = ModelStore().tokenizer_rules
                other = given.split_otherwise(engine, header.digest, rules, header.version)
                if other is None:
                    continue
                known = other
            return RecordCoder(engine, known, header.check, self._runtime, self._max_memory)
        has = "the one given has another digest" if self._given else "none was given"
        raise DictionaryError(
            f"the archive needs the dictionary with digest {header.digest.hex()}, {has}: give the "
            "samples that it was made with (--dictionary FILE, or dictionary= in Python)"
        )
