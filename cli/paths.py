"""What a path is: which file it names, whether it is one of this process's descriptors, how it is
shown.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

Identity = tuple[int, int]
"""Device and inode: the same for all names of a file."""

_URL = re.compile("[a-zA-Z][a-zA-Z0-9+.-]*://")
_MAX_LINKS = 40  # as Linux follows
_DESCRIPTORS = re.compile(r"/dev/fd|/proc/(\d+)(?:/task/\d+)?/fd")


def from_name(name: str) -> Path:
    """The path that a user has named. Raises FileNotFoundError for an empty name, which pathlib
    takes for the current folder.
    """
    if not name:
        raise FileNotFoundError(
            errno.ENOENT, "No such file or directory (an empty name: is a variable unset?)", "''"
        )
    return Path(name)


def identity_of(path: str | os.PathLike[str] | int, *, regular: bool = False) -> Identity | None:
    """The file that a path (through its links) or descriptor leads to; None where there is none
    that could be examined.

    regular: None, too, for what is not a regular file.
    """
    try:
        status = os.stat(path)  # noqa: PTH116 (a descriptor has no Path)
    except (OSError, ValueError):
        return None
    return None if regular and not stat.S_ISREG(status.st_mode) else (status.st_dev, status.st_ino)


def folders_above(path: Path) -> Iterator[Identity]:
    """Every folder that the file behind `path` lies in, the nearest first."""
    for folder in Path(os.path.realpath(path)).parents:
        if (identity := identity_of(folder)) is not None:
            yield identity


def descriptor_of(path: Path) -> tuple[int | None, int] | None:
    """Whose descriptor, and which, a path such as /dev/stdout or /proc/self/fd/1 names, itself or
    by links; None if it does not.

    The process is None for this one.
    """
    current = os.fspath(path)
    for _ in range(_MAX_LINKS):
        folder, name = os.path.split(current)
        if name.isdecimal() and (match := _DESCRIPTORS.fullmatch(os.path.realpath(folder))):
            process = int(match[1] or os.getpid())
            return None if process == os.getpid() else process, int(name)
        if not os.path.islink(current):  # noqa: PTH114
            return None
        current = os.path.join(os.path.realpath(folder), os.readlink(current))  # noqa: PTH115, PTH118
    return None


def is_url(name: str) -> bool:
    """Whether a name is that of something on the net or in a store, and of no file here."""
    return _URL.match(name) is not None and not os.path.lexists(name)


def shown(name: str) -> str:
    """A name as text of one line: bytes that are not text, and characters that could steer a
    terminal, are written \\x1b.
    """
    return "".join(char if char.isprintable() else _escaped(char) for char in name)


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # how Python carries a byte that is not text
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char.encode("unicode_escape").decode()
