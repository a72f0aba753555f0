"""Files: what the output is called, and a new file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llmzip.errors import IntegrityError

SUFFIX = ".llmz"

_drafts: set[Path] = set()


class RefusalError(Exception):
    """The command line does not do what was asked for this file; the message says why and what would make it."""


class Sink(io.FileIO):
    """An unbuffered file for writing whose errors carry `label`, so that a full disk is blamed on the right file.

    `draft` is where what was written so far can be read, if anywhere.
    """

    def __init__(self, fd: int, label: str, *, draft: Path | None = None, closefd: bool = True) -> None:
        super().__init__(fd, "wb", closefd=closefd)
        self.label = label
        self.draft = draft

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        done = 0
        with blaming(self.label):
            while done < len(view):
                done += os.write(self.fileno(), view[done:])
        return done


class Comparison(io.FileIO):
    """A sink that keeps nothing: what is written to it has to be the bytes of `original`."""

    def __init__(self, original: BinaryIO) -> None:
        super().__init__(os.devnull, "wb")
        self.original = original

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Compare the next bytes."""
        if self.original.read(len(data)) != data:
            raise IntegrityError("what was written does not decode to this file: nothing is kept of it")
        return len(data)

    def finish(self) -> None:
        """Compare the ends."""
        if self.original.read(1):
            raise IntegrityError("what was written decodes to only a part of this file: nothing is kept of it")


@contextlib.contextmanager
def blaming(label: str) -> Iterator[None]:
    """Put `label` into the operating system's errors as the name of the file."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = label, None
        raise


def compressed_name(source: Path) -> Path:
    """Where `source` is compressed to."""
    return source.with_name(source.name + SUFFIX)


def restored_name(source: Path) -> Path:
    """Where `source` is decompressed to."""
    if not has_suffix(source):
        raise RefusalError(f"unknown suffix ({SUFFIX} expected); name the output with -o FILE, or use -c")
    return source.with_name(source.name.removesuffix(SUFFIX))


def has_suffix(path: Path) -> bool:
    """Whether the name is a compressed file's, with something left when the suffix goes."""
    return path.name.endswith(SUFFIX) and path.name != SUFFIX


@contextlib.contextmanager
def writing(target: Path, *, force: bool, like: os.stat_result | None) -> Iterator[Sink]:
    """A sink whose bytes become `target` when the block ends well; when it does not, nothing is left.

    `like` gives the new file its permissions, owner (where allowed) and modification time. An existing target is
    replaced only with `force`. A target that is a device or a pipe is written directly.
    """
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        with blaming(str(target)):
            fd = os.open(target, os.O_WRONLY)
        with Sink(fd, str(target)) as sink:
            yield sink
        return
    if not force and os.path.lexists(target):
        raise _exists(target)

    draft = target.with_name(f".llmzip-{secrets.token_hex(8)}.tmp")
    _drafts.add(draft)
    try:
        with blaming(str(target)):
            # A copy of a private file is private from its first byte; other files follow the umask.
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if like is None else 0o600)
        with Sink(fd, str(target), draft=draft) as sink:
            yield sink
            with blaming(str(target)):
                if like is not None:
                    _copy_attributes(fd, like)
                os.fsync(fd)
        _publish(draft, target, force)
    finally:
        draft.unlink(missing_ok=True)
        _drafts.discard(draft)


def remove_drafts() -> None:
    """Remove every unfinished file now."""
    for draft in _drafts:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, target: Path, force: bool) -> None:
    with blaming(str(target)):
        if force:
            draft.replace(target)
        else:
            # Unlike a rename, a link never takes the place of a file that appeared in the meantime.
            try:
                target.hardlink_to(draft)
            except FileExistsError:
                raise _exists(target) from None
            except OSError:  # a file system without hard links
                draft.replace(target)
    with contextlib.suppress(OSError):  # some file systems cannot; the file itself is complete
        directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _copy_attributes(fd: int, like: os.stat_result) -> None:
    mode = like.st_mode & 0o777
    try:
        os.chown(fd, -1, like.st_gid)
    except OSError:
        # The new file's group is another one: it may do no more than everybody may.
        common = (mode >> 3) & mode & 0o007
        mode = (mode & 0o700) | (common << 3) | common
    with contextlib.suppress(OSError):
        os.chown(fd, like.st_uid, -1)
    os.fchmod(fd, mode)
    os.utime(fd, ns=(like.st_atime_ns, like.st_mtime_ns))


def _exists(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, "already exists; -f overwrites it", str(target))
