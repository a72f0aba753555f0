"""Data sets of others' evaluations as they are published: files of documents, by source.

`uncheatable:PATH`: UncheatableEval's files, a JSON list of texts or JSON lines with `content`
(and `category`, if they have one); `llm-compression:PATH`: JSON lines with `content` and `subset`
(arXiv 2404.09937); `information-capacity:PATH`: JSON lines with `text`, a file for each of its five
sets (arXiv 2511.08066); `rows:PATH`: any data set with `text` or `content`. PATH is a file or a
folder of such files. JSON may be packed (`.gz`, `.zst`, `.xz`, `.bz2`), and instead of it there may
be Parquet with columns of these names.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from llmzip.corpora import packed, parquet
from llmzip.errors import LLMZipError

Sources = dict[str, list[bytes]]
"""Name of a source -> its documents, in order: of a file, or `FILE#SOURCE` where rows name one."""

_LINES, _LIST = ".jsonl", ".json"


@dataclasses.dataclass(frozen=True)
class Reader:
    """One format of files."""

    texts: tuple[str, ...]
    """The key of a row's text: the first of these that it has."""
    source: str | None
    """The key that tells its source, where rows have one; else the file is the source."""
    lists: bool = False
    """Whether a JSON list of texts is a file, too."""

    def read(self, path: pathlib.Path, limit: int | None = None) -> Sources:
        """The documents of a file, or of all such files in a folder, without empty ones.

        limit: only the first so many bytes of each source, which alone are in memory then (of a
        JSON list, all is). Raises LLMZipError where there is no such file, or one is not of the
        format.
        """
        if not path.exists():
            raise LLMZipError(f"{path}: no such file or folder")
        found: Sources = {}
        for file in self._files(path) if path.is_dir() else [path]:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            self._take(file, name, limit, found)
        if not found:
            what = (
                f"holds no {', '.join(self._endings())} file with text"
                if path.is_dir()
                else "no text"
            )
            raise LLMZipError(f"{path}: {what}")
        return found

    def _endings(self) -> list[str]:
        return [_LINES, *([_LIST] if self.lists else []), parquet.SUFFIX]

    def _files(self, folder: pathlib.Path) -> list[pathlib.Path]:
        return sorted(
            path
            for path in folder.rglob("*")
            if packed.inner_name(path.name).endswith(tuple(self._endings())) and path.is_file()
        )

    def _take(self, file: pathlib.Path, name: str, limit: int | None, found: Sources) -> None:
        """Put the documents of a file to those that were found."""
        left: dict[str, int] = {}  # bytes
        for where, row in self._rows(file):
            source, document = self._parse(row, f"{file}: {where}")
            label = f"{name}#{source}" if source else name
            if limit is not None:
                document = document[: left.setdefault(label, limit)]
                left[label] -= len(document)
            if document:
                found.setdefault(label, []).append(document)
            if self.source is None and left.get(label) == 0:
                return  # a file is one source, and has enough of it

    def _rows(self, file: pathlib.Path) -> Iterator[tuple[str, Any]]:
        if file.name.endswith(parquet.SUFFIX):
            found = parquet.rows(file, self.texts, [self.source] if self.source else [])
            yield from ((f"row {number}", row) for number, row in enumerate(found, 1))
            return
        with packed.opened(file) as stream:
            if self.lists and packed.inner_name(file.name).endswith(_LIST):
                rows = _parsed(stream.read(), str(file))
                if not isinstance(rows, list):
                    raise LLMZipError(f"{file}: no JSON list of texts")
                yield from ((f"text {i}", row) for i, row in enumerate(rows, 1))
                return
            for number, line in enumerate(stream, 1):
                if line.strip():
                    yield f"line {number}", _parsed(line, f"{file}: line {number}")

    def _parse(self, row: Any, where: str) -> tuple[str | None, bytes]:
        """The source and the text of a row."""
        if self.lists and isinstance(row, str):
            row = {self.texts[0]: row}
        text = source = None
        if isinstance(row, dict):
            text = next((row[key] for key in self.texts if key in row), None)
            source = row.get(self.source) if self.source else None
        if not isinstance(text, str) or not isinstance(source, str | None):
            keys = " or ".join(self.texts)
            keys += f" (and {self.source})" if self.source else ""
            raise LLMZipError(f"{where}: no row with a text as {keys}")
        try:
            return source, text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise LLMZipError(f"{where}: half of a surrogate pair is no text: {error}") from error


def _parsed(data: bytes, where: str) -> Any:
    try:
        text = data.decode("utf-8-sig")
    except ValueError as error:
        raise LLMZipError(f"{where}: no text of UTF-8: {error}") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LLMZipError(f"{where}: no JSON: {error}") from error


READERS = {
    "uncheatable": Reader(("content",), "category", lists=True),
    "llm-compression": Reader(("content",), "subset"),
    "information-capacity": Reader(("text",), None),
    "rows": Reader(("text", "content"), None, lists=True),
}
"""What stands before a path, and how its files are read."""
