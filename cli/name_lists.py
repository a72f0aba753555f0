"""Lists of the names of files, in files of their own: of `find`, say."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click


def names_of(
    arguments: Sequence[str], lists: Sequence[str], lists0: Sequence[str]
) -> tuple[str, ...]:
    """The FILE arguments, then what the lists name, of `lists` a name a line, of `lists0` with a
    NUL behind each; without arguments and lists `-`, standard input.

    In a list, `-` is a file of that name. Raises UsageError where standard input would be read
    twice, or a name of a line has a NUL; OSError.
    """
    if not lists and not lists0:
        return tuple(arguments) or ("-",)
    if [*arguments, *lists, *lists0].count("-") > 1:
        raise click.UsageError("standard input can be read once: as a list, or as a file")
    names = [name for path in lists for name in _split(path, b"\n")]
    names += [name for path in lists0 for name in _split(path, b"\0")]
    return (*arguments, *names)


def _split(path: str, separator: bytes) -> list[str]:
    content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    if separator != b"\0" and b"\0" in content:
        raise click.UsageError(
            f"the list {path} has a NUL in it: --files0 reads names that end with NUL"
        )
    names = [os.fsdecode(name) for name in content.split(separator) if name]
    return ["./-" if name == "-" else name for name in names]
