"""What the FILE arguments stand for: standard input, a file, or with -r the files of a folder."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from llmzip.cli import paths
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.drafts import is_draft
from llmzip.cli.files import SUFFIX, Input, RefusalError, has_suffix

Complain = Callable[[str, Exception], None]
"""Reports what could not be done with something of this name, and remembers that there was an
error.
"""


@dataclass(frozen=True)
class Source:
    """One input; `path` is None for standard input."""

    path: Path | None
    named: bool = True
    """Whether the user has named it; otherwise -r came across it."""

    @property
    def label(self) -> str:
        """What messages call it."""
        return "stdin" if self.path is None else paths.shown(str(self.path))

    @property
    def path_or_descriptor(self) -> Path | int:
        """What the operating system knows it by."""
        return 0 if self.path is None else self.path


def sources(arguments: Arguments, complain: Complain) -> Iterator[Source]:
    """The inputs in the order of the arguments; standard input where there are none."""
    for name in arguments.files or ("-",):
        try:
            if name == "-":
                yield Source(None)
            elif arguments.recursive and stat.S_ISDIR(paths.from_name(name).stat().st_mode):
                yield from _walk(Path(name), arguments.action, complain)
            else:
                yield Source(paths.from_name(name))
        except OSError as error:
            complain(paths.shown(name), error)


def check(source: Source, arguments: Arguments) -> None:
    """Raise RefusalError where this input should not be touched."""
    if source.path is None:
        if arguments.action is not Action.COMPRESS and os.isatty(0) and not arguments.force:
            raise RefusalError("compressed data is not read from a terminal (llmzip --help)")
        return
    mode = source.path.lstat().st_mode
    beside = arguments.writes_beside
    if stat.S_ISLNK(mode):
        if beside and not arguments.force:
            raise RefusalError("is a symbolic link: skipped (-f follows it)")
        mode = source.path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise RefusalError("is a directory: skipped (-r works on the files in it)")
    if (beside or arguments.remove) and not stat.S_ISREG(mode):
        raise RefusalError("is not a regular file: skipped (-c or -o FILE reads it, without --rm)")
    if (
        arguments.action is Action.COMPRESS
        and beside
        and has_suffix(source.path)
        and not arguments.force
    ):
        raise RefusalError(f"already has the suffix {SUFFIX}: skipped (-f compresses it again)")


@contextlib.contextmanager
def reading(source: Source) -> Iterator[BinaryIO]:
    """The bytes of the input."""
    if source.path is None:
        stdin = Input(0, "stdin", closefd=False)
        # Fails where it is closed: who asks for its size first would call it empty.
        stdin.readinto(bytearray())
        with io.BufferedReader(stdin) as file:
            yield file
    else:
        with source.path.open("rb") as file:
            yield file


def _walk(top: Path, action: Action, complain: Complain) -> Iterator[Source]:
    """The regular files in a folder that the action is for, each folder's before those of the
    folders in it.
    """
    waiting = [top]  # not a recursion, which os.walk is: trees can be deeper than Python's stack
    while waiting:
        folders = []
        try:
            with os.scandir(folder := waiting.pop()) as found:
                entries = sorted(found, key=lambda entry: entry.name)
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False) and _suits(entry.name, action):
                    yield Source(Path(entry.path), named=False)
        except OSError as error:
            complain(paths.shown(str(folder)), error)
        waiting += reversed(folders)


def _suits(name: str, action: Action) -> bool:
    """Whether a file that -r came across is one that the action is for."""
    return has_suffix(Path(name)) is not (action is Action.COMPRESS) and not is_draft(name)
