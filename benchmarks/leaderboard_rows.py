"""What benchmarks/leaderboard.json holds; docs/leaderboard.md describes its keys."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import pathlib
import re
from collections.abc import Iterable

from llmzip.errors import LLMZipError
from llmzip.evaluation.json_values import from_json, to_json
from llmzip.evaluation.rows import Kind

FORMAT = 1

_SHA256 = re.compile(r"[0-9a-f]{64}")
_WRITTEN = re.compile(r"\d{4}-\d{2}(/\d{4}-\d{2})?")

Key = tuple[str, int | None, str]
"""Digest (of a codec its name), level and text: what is measured once."""


@dataclasses.dataclass(frozen=True)
class LeaderboardText:
    """A text that is measured; its bytes are not in the repository."""

    name: str
    bytes: int
    sha256: str
    origin: str
    """Where anyone can have the same bytes."""
    written: str | None = None
    """The months it was written in, 2026-01/2026-08; None: unknown."""


@dataclasses.dataclass(frozen=True)
class LeaderboardRow:
    """One model or codec on one text."""

    name: str
    kind: Kind
    digest: str
    """Hex: an integer model's fingerprint, SHA-256 of a float model's files; empty for codecs."""
    text: str
    """The SHA-256 of the text."""
    level: int | None
    """The level of an integer model's file."""
    file_bytes: int | None
    """Real compressed bytes, decoded and compared; of a codec the payload. None: makes no files."""
    bits_per_byte: float | None
    """A model's code length in independent segments of 1024 tokens; None for codecs."""
    bits_per_byte_stderr: float | None
    information_capacity_b0: float | None
    """None for codecs, and for texts of less than a sample of 1024 tokens."""
    flops_per_byte: float | None
    parameters: int
    model_bytes: int
    """As it is stored; 0 for codecs."""
    date: str
    llmzip: str
    commit: str | None
    """Of llmzip's sources; None for an installed package."""
    processor: str
    cores: int | None

    @property
    def key(self) -> Key:
        """Rows of equal keys are one measurement."""
        return self.digest or self.name, self.level, self.text


@dataclasses.dataclass(frozen=True)
class Leaderboard:
    """The texts, and all rows of them."""

    format: int
    texts: list[LeaderboardText]
    rows: list[LeaderboardRow]

    def rows_of(self, text: LeaderboardText) -> list[LeaderboardRow]:
        """The rows of one text, the best first: by real files, then by code lengths."""

        def order(row: LeaderboardRow) -> tuple[float, float, str]:
            file = math.inf if row.file_bytes is None else row.file_bytes
            return file, row.bits_per_byte or math.inf, row.name

        return sorted((row for row in self.rows if row.text == text.sha256), key=order)

    def with_row(self, text: LeaderboardText, row: LeaderboardRow) -> Leaderboard:
        """The same with a measurement, which replaces an older one of the same key; the text's
        entry is replaced, too.
        """
        texts = {t.sha256: t for t in self.texts} | {text.sha256: text}
        rows = {r.key: r for r in self.rows} | {row.key: row}
        return Leaderboard(FORMAT, list(texts.values()), list(rows.values()))


def read(path: pathlib.Path) -> Leaderboard:
    """The leaderboard of a file, an empty one where there is no file. Raises LLMZipError for what
    is none.
    """
    if not path.is_file():
        return Leaderboard(FORMAT, [], [])
    try:
        board = from_json(Leaderboard, json.loads(path.read_text("utf-8")))
        _check(board)
    except (ValueError, RecursionError) as error:
        raise LLMZipError(f"{path}: no leaderboard of format {FORMAT}: {error}") from error
    return board


def write(board: Leaderboard, path: pathlib.Path) -> None:
    """One line for each text and row, so that a diff shows what was measured; the file is never
    half written.
    """
    texts = sorted(board.texts, key=lambda text: (text.name, text.sha256))
    ordered = [row for text in texts for row in board.rows_of(text)]
    parts = (
        f' "{key}": [\n'
        + ",\n".join(f"  {json.dumps(to_json(value))}" for value in values)
        + "\n ]"
        for key, values in (("texts", texts), ("rows", ordered))
    )
    scratch = path.with_name(path.name + ".tmp")
    scratch.write_text(f'{{\n "format": {FORMAT},\n' + ",\n".join(parts) + "\n}\n", "utf-8")
    scratch.replace(path)


def _check(board: Leaderboard) -> None:
    """Raises ValueError for what has the right types but cannot be."""
    if board.format != FORMAT:
        raise ValueError(f"it says format {board.format}")
    for text in board.texts:
        if not _SHA256.fullmatch(text.sha256) or text.bytes < 1:
            raise ValueError(f"text {text.name}: {text.bytes} bytes, SHA-256 {text.sha256!r}")
        check_written(text.written)
    texts = {text.sha256 for text in board.texts}
    for row in board.rows:
        if row.text not in texts:
            raise ValueError(f"{row.name}: no text has the SHA-256 {row.text!r}")
        numbers = (row.file_bytes, row.bits_per_byte, row.flops_per_byte)
        if any(number is not None and not 0 < number < math.inf for number in numbers):
            raise ValueError(
                f"{row.name}: file_bytes, bits_per_byte and flops_per_byte are above 0"
            )
        if row.file_bytes is None and row.bits_per_byte is None:
            raise ValueError(f"{row.name}: neither file_bytes nor bits_per_byte")
    _check_single("text", (text.sha256 for text in board.texts))
    _check_single("measurement", (row.key for row in board.rows))


def _check_single(what: str, keys: Iterable[object]) -> None:
    key, times = next(iter(collections.Counter(keys).most_common(1)), (None, 0))
    if times > 1:
        raise ValueError(f"a {what} is there {times} times: {key}")


def check_written(written: str | None) -> None:
    """Raises ValueError for what is neither a month nor two."""
    if written is not None and not _WRITTEN.fullmatch(written):
        raise ValueError(f"{written!r} is neither YYYY-MM nor YYYY-MM/YYYY-MM")
