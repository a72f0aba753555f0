"""Files: what the output is called, and a new file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from llmzip.cli import holes
from llmzip.cli.paths import descriptor_of
from llmzip.drafts import copy_permissions, draft_in, sync_folder
from llmzip.errors import IntegrityError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

SUFFIX = ".llmz"
PARTIAL, PARTIAL_STATE = ".partial", ".partial.json"
"""Behind the name of a compressed file: its blocks so far, and what they are of (`resume`)."""


class RefusalError(Exception):
    """The command line does not do what was asked for this file; the message says why and what
    would make it.
    """


class Sink(io.FileIO):
    """An unbuffered file for writing whose errors carry `label`, so that a full disk is blamed on
    the right file.

    `draft` is where what was written so far can be read, if anywhere.
    """

    def __init__(
        self, fd: int, label: str, *, draft: Path | None = None, closefd: bool = True
    ) -> None:
        super().__init__(fd, "wb", closefd=closefd)
        self.label = label
        self.draft = draft
        self._sparse = False

    @contextlib.contextmanager
    def sparse(self) -> Iterator[None]:
        """Leave out zeros, where the file can have holes, until the block ends."""
        self._sparse = holes.can_have_holes(self.fileno())
        yield
        if self._sparse:
            with blaming(self.label):
                self.truncate()  # as long as it is with a hole at its end
        self._sparse = False

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Write all of `data`."""
        view = memoryview(data).cast("B")
        if not self._sparse:
            self._write(view)
            return len(view)
        for is_hole, part in holes.parts(view, self.tell()):
            if is_hole:
                self.seek(len(part), os.SEEK_CUR)
            else:
                self._write(part)
        return len(view)

    def _write(self, view: memoryview) -> None:
        done = 0
        with blaming(self.label):
            while done < len(view):
                try:
                    done += os.write(self.fileno(), view[done:])
                except BlockingIOError:  # the descriptor does not wait until it can take more
                    select.select([], [self], [])


class Input(io.FileIO):
    """The raw side of a file for reading, whose errors carry `label`.

    Where its descriptor does not wait for data, which whoever shares it can have asked for, this
    does: Python takes no data yet for the end.
    """

    def __init__(self, fd: int, label: str, *, closefd: bool = True) -> None:
        super().__init__(fd, "rb", closefd=closefd)
        self.label = label

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 only at the end."""
        with blaming(self.label):
            while (count := super().readinto(buffer)) is None:
                select.select([self], [], [])
        return count

    def readall(self) -> bytes:
        """Read to the end."""
        read, buffer = bytearray(), bytearray(io.DEFAULT_BUFFER_SIZE)
        while count := self.readinto(buffer):
            read += memoryview(buffer)[:count]
        return bytes(read)


class Comparison(io.FileIO):
    """A sink that keeps nothing: what is written to it has to be the bytes of `original`."""

    def __init__(self, original: BinaryIO) -> None:
        super().__init__(os.devnull, "wb")
        self.original = original

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        """Compare the next bytes."""
        if self.original.read(len(data)) != data:
            raise IntegrityError(
                "what was written does not decode to this file: nothing is kept of it"
            )
        return len(data)

    def finish(self) -> None:
        """Compare the ends."""
        if self.original.read(1):
            raise IntegrityError(
                "what was written decodes to only a part of this file: nothing is kept of it"
            )


@contextlib.contextmanager
def blaming(label: str) -> Iterator[None]:
    """Put `label` into the operating system's errors as the name of the file."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = label, None
        raise


def compressed_name(source: Path, suffix: str) -> Path:
    """Where `source` is compressed to."""
    return source.with_name(source.name + suffix)


def restored_name(source: Path, suffixes: Sequence[str]) -> Path:
    """Where `source` is decompressed to."""
    suffix = has_suffix(source.name, suffixes)
    if not suffix:
        raise RefusalError(
            f"unknown suffix ({' or '.join(suffixes)} expected); "
            "name the output with -o FILE, or use -c"
        )
    return source.with_name(source.name.removesuffix(suffix))


def has_suffix(name: str, suffixes: Sequence[str]) -> str | None:
    """The suffix of a compressed file's name, with something left when it goes; else None."""
    return next((s for s in suffixes if name.endswith(s) and name != s), None)


@contextlib.contextmanager
def writing(target: Path, *, force: bool, like: os.stat_result | None) -> Iterator[Sink]:
    """A sink whose bytes become `target` when the block ends well; else nothing is left.

    `like` gives the new file its permissions, owner (where allowed) and modification time. An
    existing target is replaced only with `force`; of a symbolic link to a file, it is the link.
    What is not a regular file, and what stands behind a descriptor (/dev/stdout), is never replaced
    but written into.
    """
    if is_written_into(target):
        with _written_into(target, force) as sink:
            yield sink
        return
    if not force and os.path.lexists(target):
        raise exists_error(target)
    with contextlib.ExitStack() as stack:
        with blaming(str(target)):
            # A copy of a private file is private from its first byte; other files follow the umask.
            draft = stack.enter_context(draft_in(target.parent, 0o666 if like is None else 0o600))
        with Sink(draft.fd, str(target), draft=draft.path, closefd=False) as sink:
            yield sink
        with blaming(str(target)):
            if like is not None:
                copy_attributes(draft.fd, like)
            os.fsync(draft.fd)
            publish(draft.path, target, force)


def is_written_into(target: Path) -> bool:
    """Whether an output of this name is written into, not replaced. Raises OSError where the name
    cannot be one.
    """
    if descriptor_of(target) is not None:
        return True
    try:
        return not stat.S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _written_into(target: Path, force: bool) -> Iterator[Sink]:
    descriptor = descriptor_of(target)
    if descriptor is not None and descriptor[0] is None:
        yield Sink(descriptor[1], str(target), closefd=False)
        return
    with blaming(str(target)):
        mode = target.stat().st_mode
        # A regular file is here one behind another process's descriptor.
        if not force and (stat.S_ISBLK(mode) or stat.S_ISREG(mode)):
            raise exists_error(target)
        fd = os.open(target, os.O_WRONLY | (os.O_TRUNC if stat.S_ISREG(mode) else 0))
    with Sink(fd, str(target)) as sink:
        yield sink


def remove_source(path: Path, read: os.stat_result) -> None:
    """Remove the file that has been read, as it was when it was opened: never another that has got
    its name meanwhile.

    Raises RefusalError where it is not that file any more.
    """
    try:
        now = path.stat()
    except FileNotFoundError:
        now = None
    if now is None or _version(now) != _version(read):
        raise RefusalError(
            "was changed, moved or replaced while it was read: it stays, beside the new file"
        )
    path.unlink()


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def publish(draft: Path, target: Path, force: bool) -> None:
    """Give a file that is complete its name. Raises FileExistsError without `force`."""
    if force:
        draft.replace(target)
    else:
        # Unlike a rename, a link never takes the place of a file that appeared in the meantime.
        try:
            target.hardlink_to(draft)
        except FileExistsError:
            raise exists_error(target) from None
        except OSError:  # a file system without hard links
            _replace_own(draft, target)
    sync_folder(target.parent)


def _replace_own(draft: Path, target: Path) -> None:
    """Rename a draft to a name that is not taken: an empty file takes it first, which only one
    process can make.
    """
    try:
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        raise exists_error(target) from None
    try:
        draft.replace(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


def copy_attributes(fd: int, like: os.stat_result) -> None:
    """Give a file the permissions, owner and times of another, as far as that is allowed."""
    copy_permissions(fd, like)
    with contextlib.suppress(OSError):
        os.utime(fd, ns=(like.st_atime_ns, like.st_mtime_ns))


def exists_error(target: Path) -> FileExistsError:
    """The error of a target that is there already."""
    return FileExistsError(errno.EEXIST, "already exists; -f overwrites it", str(target))
