"""Records behind those of an archive that is there: a new file takes its place once it is whole."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmzip.buffers import Buffer
from llmzip.engine_loader import ModelLike
from llmzip.errors import LLMZipError
from llmzip.predictor.record_dictionary import RecordDictionary
from llmzip.records.reader import RecordReader
from llmzip.records.writer import GROUP_RECORDS, RecordWriter
from llmzip.runtime import Runtime
from llmzip.types import Progress


@contextlib.contextmanager
def appending(
    file: str | os.PathLike[str],
    *,
    dictionary: RecordDictionary | Sequence[Buffer] | None = None,
    group_records: int = GROUP_RECORDS,
    model: ModelLike | None = None,
    max_memory: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> Iterator[RecordWriter]:
    """A writer behind the records of an archive, whose model, dictionary, checks and framing stay.

    The groups that are there are copied as they are into a new file beside it, which takes the
    archive's name, owner and permissions when the block ends well: until then, and after an error
    or a crash, the archive is what it was, and who reads it goes on reading that. One process at a
    time appends.

    file: a path; of a link, the file that it leads to. dictionary: where it is not in the archive.

    Raises LLMZipError where the archive is damaged, its model or dictionary missing, or another
    process appends to it.

    >>> with appending("log.llmr") as writer:
    ...     writer.write(b'{"level": "info"}')
    """
    from llmzip import drafts

    path = Path(os.path.realpath(os.fspath(file)))
    with (
        path.open("rb") as old,
        RecordReader(
            old, dictionary=dictionary, model=model, max_memory=max_memory, runtime=runtime
        ) as reader,
    ):
        if not drafts.take(path, old.fileno()):
            raise LLMZipError(f"another process appends to {path}: repeat it later")
        with drafts.draft_in(path.parent, 0o600) as draft:
            with (
                open(draft.fd, "wb", 0, closefd=False) as sink,
                RecordWriter.behind(
                    reader, sink, group_records=group_records, progress=progress
                ) as writer,
            ):
                yield writer
            drafts.copy_permissions(draft.fd, os.fstat(old.fileno()))
            os.fsync(draft.fd)
            draft.path.replace(path)
            drafts.sync_folder(path.parent)
