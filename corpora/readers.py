"""Data sets of others' evaluations as they are published: files of documents, by source.

`uncheatable:PATH`: UncheatableEval's files, a JSON list of texts or JSON lines with `content`
(and `category`, if they have one); `llm-compression:PATH`: JSON lines with `content` and `subset`
(arXiv 2404.09937); `information-capacity:PATH`: JSON lines with `text`, a file for each of its five
sets (arXiv 2511.08066). PATH is a file or a folder of such files.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Iterator
from typing import Any

from llmzip.errors import LLMZipError

Sources = dict[str, list[bytes]]
"""Name of a source -> its documents, in order: of a file, or `FILE#SOURCE` where rows name one."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """One format of files."""

    text: str
    """The key of a row's text."""
    source: str | None
    """The key that tells its source, where rows have one; else the file is the source."""
    lists: bool = False
    """Whether a JSON list of texts is a file, too."""

    def read(self, path: pathlib.Path) -> Sources:
        """The documents of a file, or of all such files in a folder, without empty ones.

        Raises LLMZipError where there is no such file, or one is not of the format.
        """
        endings = (".jsonl", ".json") if self.lists else (".jsonl",)
        if not path.exists():
            raise LLMZipError(f"{path}: no such file or folder")
        files = sorted(p for p in path.rglob("*") if p.suffix in endings and p.is_file())
        found: Sources = {}
        for file in files if path.is_dir() else [path]:
            name = file.relative_to(path).as_posix() if path.is_dir() else file.name
            for where, row in self._rows(file):
                source, document = self._parse(row, f"{file}: {where}")
                if document:
                    found.setdefault(f"{name}#{source}" if source else name, []).append(document)
        if not found:
            what = f"holds no {' or '.join(endings)} file with text" if path.is_dir() else "no text"
            raise LLMZipError(f"{path}: {what}")
        return found

    def _rows(self, file: pathlib.Path) -> Iterator[tuple[str, Any]]:
        try:
            text = file.read_text("utf-8-sig")
        except ValueError as error:
            raise LLMZipError(f"{file}: no text of UTF-8: {error}") from error
        if self.lists and file.suffix == ".json":
            rows = _parsed(text, str(file))
            if not isinstance(rows, list):
                raise LLMZipError(f"{file}: no JSON list of texts")
            yield from ((f"text {i}", row) for i, row in enumerate(rows, 1))
            return
        for number, line in enumerate(text.split("\n"), 1):  # not at other ends of lines
            if line.strip():
                yield f"line {number}", _parsed(line, f"{file}: line {number}")

    def _parse(self, row: Any, where: str) -> tuple[str | None, bytes]:
        """The source and the text of a row."""
        if self.lists and isinstance(row, str):
            row = {self.text: row}
        text = row.get(self.text) if isinstance(row, dict) else None
        source = row.get(self.source) if isinstance(row, dict) and self.source else None
        if not isinstance(text, str) or not isinstance(source, str | None):
            keys = self.text if self.source is None else f"{self.text} (and {self.source})"
            raise LLMZipError(f"{where}: no row with a text as {keys}")
        try:
            return source, text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise LLMZipError(f"{where}: half of a surrogate pair is no text: {error}") from error


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LLMZipError(f"{where}: no JSON: {error}") from error


READERS = {
    "uncheatable": Reader("content", "category", lists=True),
    "llm-compression": Reader("content", "subset"),
    "information-capacity": Reader("text", None),
}
"""What stands before a path, and how its files are read."""
