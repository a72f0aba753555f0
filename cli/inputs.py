"""What the FILE arguments stand for: standard input, a file, or with -r the files of a folder."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmzip.cli.files import SUFFIX, RefusalError, has_suffix
from llmzip.cli.settings import Action, Settings


@dataclass(frozen=True)
class Source:
    """One input; `path` is None for standard input."""

    path: Path | None

    @property
    def label(self) -> str:
        """What messages call it."""
        return "stdin" if self.path is None else str(self.path)


def sources(settings: Settings, unreadable: Callable[[OSError], None]) -> Iterator[Source]:
    """The inputs in the order of the arguments; standard input where there are none.

    `unreadable` is told of folders that -r cannot enter.
    """
    for name in settings.files or ("-",):
        path = Path(name)
        if name == "-":
            yield Source(None)
        elif settings.recursive and path.is_dir():
            # The list is complete before the first file is written, so that no new file is taken for an old one.
            yield from [Source(found) for found in _walk(path, unreadable) if _suits(found, settings.action)]
        else:
            yield Source(path)


def check(source: Source, settings: Settings) -> None:
    """Raise RefusalError where this input should not be touched."""
    if source.path is None:
        if settings.action is not Action.COMPRESS and sys.stdin.isatty() and not settings.force:
            raise RefusalError("compressed data is not read from a terminal (llmzip --help)")
        return
    mode = source.path.lstat().st_mode
    beside = settings.writes_beside
    if stat.S_ISLNK(mode):
        if beside and not settings.force:
            raise RefusalError("is a symbolic link: skipped (-f follows it)")
        mode = source.path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise RefusalError("is a directory: skipped (-r works on the files in it)")
    if (beside or settings.remove) and not stat.S_ISREG(mode):
        raise RefusalError("is not a regular file: skipped (-c or -o FILE reads it, without --rm)")
    if settings.action is Action.COMPRESS and beside and has_suffix(source.path) and not settings.force:
        raise RefusalError(f"already has the suffix {SUFFIX}: skipped (-f compresses it again)")


@contextlib.contextmanager
def reading(source: Source) -> Iterator[BinaryIO]:
    """The bytes of the input."""
    if source.path is None:
        with open(0, "rb", closefd=False) as file:
            yield file
    else:
        with source.path.open("rb") as file:
            yield file


def _walk(folder: Path, unreadable: Callable[[OSError], None]) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            if stat.S_ISREG(path.lstat().st_mode):
                yield path


def _suits(path: Path, action: Action) -> bool:
    """Whether a file that -r came across is one that the action is for."""
    return has_suffix(path) is not (action is Action.COMPRESS)
