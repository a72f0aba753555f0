"""Drafts: unfinished files beside their target. A draft is locked as long as its writer lives, so
that what a killed process has left is told from what another one is writing, and removed by the
next run in that folder.

Locks are those of POSIX systems: whoever also runs elsewhere imports this where it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NAME = re.compile(r"\.llmzip-([0-9a-f]{8})-[0-9a-f]{16}\.tmp")
_OLD_SECONDS = 86_400

_open: set[Path] = set()


@dataclass(frozen=True)
class Draft:
    """An unfinished file."""

    path: Path
    fd: int
    """Open for writing, and locked."""


def is_draft(name: str) -> bool:
    """Whether a file of this name is a draft of this or another process."""
    return _NAME.fullmatch(name) is not None


@contextlib.contextmanager
def draft_in(folder: Path, mode: int) -> Iterator[Draft]:
    """A new draft with these permissions, before the umask; when the block ends, nothing is left of
    it under its name.
    """
    _remove_abandoned(os.path.realpath(folder))
    while True:
        path = folder / f".llmzip-{_machine()}-{secrets.token_hex(8)}.tmp"
        process = os.getpid()
        _open.add(path)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            try:
                if not take(path, fd):
                    continue
                yield Draft(path, fd)
            finally:
                os.close(fd)
            return
        finally:
            if os.getpid() == process:  # else it is that of the parent, which has forked this one
                path.unlink(missing_ok=True)
            _open.discard(path)


def copy_permissions(fd: int, like: os.stat_result) -> None:
    """Give a file the owner and the permissions of another, as far as that is allowed."""
    mode = like.st_mode & 0o777
    try:
        os.chown(fd, -1, like.st_gid)
    except OSError:
        # The new file's group is another one: it may do no more than everybody may.
        common = (mode >> 3) & mode & 0o007
        mode = (mode & 0o700) | (common << 3) | common
    with contextlib.suppress(OSError):
        os.chown(fd, like.st_uid, -1)
    with contextlib.suppress(OSError):  # some file systems have none; the new file is private then
        os.fchmod(fd, mode)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, too, where that can be asked for."""
    with contextlib.suppress(OSError):  # some file systems cannot; the file itself is complete
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def remove_all() -> None:
    """Remove every draft of this process now."""
    for path in list(_open):
        path.unlink(missing_ok=True)


@functools.cache  # once for each folder of a run: folders can be long
def _remove_abandoned(folder: str) -> None:
    """Remove the drafts in `folder` that no living process writes, as far as that is allowed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [
            (entry.path, match[1]) for entry in entries if (match := _NAME.fullmatch(entry.name))
        ]
        for path, machine in found:
            with contextlib.suppress(OSError):
                _remove_if_abandoned(Path(path), machine)


def _remove_if_abandoned(path: Path, machine: str) -> None:
    fd = _open_planted(path)
    try:
        status = os.fstat(fd)
        # Some network file systems keep locks to the machine that has them: drafts of others must
        # be old, too.
        near = machine == _machine() or time.time() - status.st_mtime > _OLD_SECONDS
        if near and stat.S_ISREG(status.st_mode) and _lock(fd) and _is_at(path, fd):
            path.unlink()
    finally:
        os.close(fd)


def _open_planted(path: Path) -> int:
    """Open what anybody may have put there: a link is not followed, a pipe not waited for."""
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, os.O_RDWR | flags)  # locks over NFS ask for writing
    except PermissionError:
        return os.open(path, os.O_RDONLY | flags)


def take(path: Path, fd: int) -> bool:
    """Lock a file of this name until it is closed; False where another process has locked it, or
    has given the name to another file.
    """
    try:
        return _lock(fd) and _is_at(path, fd)
    except OSError:  # no locks here: nobody else gets one either
        return True


def _lock(fd: int) -> bool:
    """Lock a file; False where another process has locked it. Raises OSError where the file system
    cannot.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


@functools.cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()[:8]
