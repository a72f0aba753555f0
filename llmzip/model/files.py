"""Files of unknown origin: sizes and kinds are checked before anything is read or parsed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import reprlib
import stat
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from llmzip.errors import ModelError, UnsupportedModelError

MAX_ELEMENTS = 1 << 62
"""The product of an array's dimensions, at most: numpy's own limit, also where one of them is 0."""

MAX_CONFIG, MAX_TOKENIZER = 1 << 22, 1 << 28
"""Bytes of a config.json and of a tokenizer.json, at most: published ones have some kilobytes, and
up to 40 megabytes.
"""

_CAUTIOUS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_POINTER = b"version https://git-lfs."
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: pathlib.Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading. What is no regular file is refused and never waited for, as
    a pipe would be.

    follow: whether a symbolic link may stand for the file.

    Raises UnsupportedModelError for another kind of file and for a git-LFS pointer, OSError as
    `open` does.
    """
    descriptor = os.open(path, os.O_RDONLY | _CAUTIOUS | (0 if follow else _NO_LINK))
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsupportedModelError(f"{path}: not a regular file")
        if os.pread(descriptor, len(_POINTER), 0) == _POINTER:
            raise UnsupportedModelError(
                f"{path}: only a git-LFS pointer to the file: run `git lfs pull` there"
            )
        stack.pop_all()
    return os.fdopen(descriptor, "rb")


def digest_of(path: pathlib.Path, limit: int | None = None) -> bytes:
    """SHA-256 of a regular file, of at most `limit` bytes. Raises what `open_regular` raises."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        if limit is not None and file_size(file) > limit:
            raise UnsupportedModelError(f"{path}: larger than {limit:,} bytes")
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.digest()


def file_size(file: BinaryIO) -> int:
    """Bytes of an open regular file."""
    return os.fstat(file.fileno()).st_size


def read_whole(path: pathlib.Path, limit: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises what `open_regular` raises."""
    with open_regular(path, follow=follow) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnsupportedModelError(f"{path}: larger than {limit:,} bytes")
    return data


def read_array(
    file: BinaryIO, first: int, kind: np.dtype[np.generic], shape: tuple[int, ...]
) -> npt.NDArray[np.generic]:
    """Numbers from byte `first` of an open file on, whose header has been checked against its size.

    Raises UnsupportedModelError where the file has become shorter since then.
    """
    array = np.empty(shape, kind)
    file.seek(first)
    if file.readinto(array.reshape(-1).view(np.uint8)) != array.nbytes:  # type: ignore[attr-defined]
        raise UnsupportedModelError(f"{file.name}: the file has become shorter")
    return array


def parse_object(data: bytes, where: object) -> dict[str, Any]:
    """The JSON object in a text. Raises UnsupportedModelError for anything else, also where it is
    nested too deeply.
    """
    try:
        value = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnsupportedModelError(f"{where}: not understood: {brief(error)}") from error
    if not isinstance(value, dict):
        raise UnsupportedModelError(
            f"{where}: not understood: {shown(value)} instead of a JSON object"
        )
    return value


def refuse_pointers(path: pathlib.Path) -> None:
    """Refuse a model file, or a folder with files, that git-LFS has not fetched: a few lines of
    text stand for each.

    Raises UnsupportedModelError with the repair.
    """
    files = (
        [p for ending in ("*.json", "*.safetensors") for p in path.glob(ending)]
        if path.is_dir()
        else [path]
    )
    for file in sorted(files):
        if file.is_file():
            open_regular(file).close()


@contextlib.contextmanager
def one_error(path: pathlib.Path, incomplete: str) -> Iterator[None]:
    """Whatever a reader stumbles over in a file that is not as expected becomes an
    UnsupportedModelError.

    What the system does not let it read becomes a ModelError. incomplete: what a file is in which
    something is missing.
    """
    try:
        yield
    except UnsupportedModelError as error:
        if str(path) in str(error):
            raise
        raise UnsupportedModelError(f"{path}: {error}") from error
    except KeyError as error:
        raise UnsupportedModelError(
            f"{path}: {shown(error.args[0])} is missing: {incomplete}"
        ) from error
    except (
        TypeError,
        ValueError,
        AttributeError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise UnsupportedModelError(f"{path}: not understood: {brief(error)}") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error}") from error


def readable(name: str) -> str:
    """A file's name as text of UTF-8, whatever the locale; bytes that are none are shown as
    escapes.
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def shown(value: object) -> str:
    """A value as an error message shows it: never long."""
    return reprlib.repr(value)


def brief(error: BaseException) -> str:
    """What an error says, which may quote much of a file, as another error repeats it."""
    text = str(error)
    return text if len(text) <= 300 else f"{text[:300]}..."
