"""What the FILE arguments stand for: standard input, a file, or with -r the files of a folder."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llmzip.cli import files, paths
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.files import PARTIAL, PARTIAL_STATE, Input, RefusalError, has_suffix
from llmzip.container.header import MAGIC
from llmzip.drafts import is_draft

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

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
    for name in arguments.files:
        try:
            if name == "-":
                yield Source(None)
            elif arguments.recursive and stat.S_ISDIR(paths.from_name(name).stat().st_mode):
                yield from _walk(Path(name), arguments, complain)
            else:
                yield Source(_found(paths.from_name(name), arguments))
        except OSError as error:
            complain(paths.shown(name), error)


def _found(path: Path, arguments: Arguments) -> Path:
    """The file of that name; to decode, the one with the suffix where there is none without."""
    if (
        arguments.action is not Action.COMPRESS
        and not os.path.lexists(path)
        and not has_suffix(path.name, arguments.suffixes)
    ):
        for suffix in arguments.suffixes:
            if os.path.lexists(with_suffix := files.compressed_name(path, suffix)):
                return with_suffix
    return path


FOLDER = "-r works on the files in it"
"""What can be done where a folder is named."""


def check(source: Source, arguments: Arguments, folder: str = FOLDER) -> None:
    """Raise RefusalError where this input should not be touched; folder: what can be done where it
    is one.
    """
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
        raise RefusalError(f"is a directory: skipped ({folder})")
    if (beside or arguments.remove) and not stat.S_ISREG(mode):
        raise RefusalError("is not a regular file: skipped (-c or -o FILE reads it, without --rm)")
    if (
        arguments.action is Action.COMPRESS
        and beside
        and (suffix := has_suffix(source.path.name, arguments.suffixes))
        and not arguments.force
    ):
        raise RefusalError(f"already has the suffix {suffix}: skipped (-f compresses it again)")


@contextlib.contextmanager
def reading(source: Source) -> Iterator[io.BufferedReader]:
    """The bytes of the input."""
    if source.path is None:
        stdin = Input(0, "stdin", closefd=False)
        # Fails where it is closed: who asks for its size first would call it empty.
        stdin.readinto(bytearray())
        file: io.BufferedReader = io.BufferedReader(stdin)
        with file:
            yield file
    else:
        with source.path.open("rb") as opened:
            yield opened


def is_compressed(reader: io.BufferedReader) -> tuple[bool, io.BufferedReader]:
    """Whether a file goes on like a compressed one; and the file, of which nothing has been read,
    or another one with the same content.
    """
    head = reader.read(len(MAGIC))
    if not reader.seekable():
        return head == MAGIC, io.BufferedReader(_Rest(head, reader))
    reader.seek(-len(head), os.SEEK_CUR)
    return head == MAGIC, reader


class _Rest(io.RawIOBase):
    """A file of which the first bytes have been read."""

    def __init__(self, head: bytes, file: io.BufferedReader) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """The descriptor of the file."""
        return self._file.fileno()

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 only at the end."""
        target = memoryview(buffer).cast("B")
        data = self._head[: len(target)] or self._file.read1(len(target))
        self._head = self._head[len(data) :]
        target[: len(data)] = data
        return len(data)


def _walk(top: Path, arguments: Arguments, complain: Complain) -> Iterator[Source]:
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
                elif entry.is_file(follow_symlinks=False) and _suits(entry.name, arguments):
                    yield Source(Path(entry.path), named=False)
        except OSError as error:
            complain(paths.shown(str(folder)), error)
        waiting += reversed(folders)


def _suits(name: str, arguments: Arguments) -> bool:
    """Whether a file that -r came across is one that the action is for."""
    for partial in (PARTIAL, PARTIAL_STATE):
        if name.endswith(partial) and has_suffix(name.removesuffix(partial), arguments.suffixes):
            return False
    is_compressed = has_suffix(name, arguments.suffixes) is not None
    return is_compressed is not (arguments.action is Action.COMPRESS) and not is_draft(name)
