"""Files of unknown origin: sizes and kinds are checked before anything is read or parsed."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import reprlib
import stat
from typing import Any, BinaryIO

from llmzip.errors import UnsupportedModelError

_CAUTIOUS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_POINTER = b"version https://git-lfs."
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def open_regular(path: pathlib.Path, *, follow: bool = True) -> BinaryIO:
    """Open a regular file for reading. What is no regular file is refused and never waited for, as a pipe would be.

    follow: whether a symbolic link may stand for the file.

    Raises UnsupportedModelError for another kind of file, OSError as `open` does.
    """
    descriptor = os.open(path, os.O_RDONLY | _CAUTIOUS | (0 if follow else _NO_LINK))
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnsupportedModelError(f"{path}: not a regular file")
        stack.pop_all()
    return os.fdopen(descriptor, "rb")


def read_whole(path: pathlib.Path, limit: int, *, follow: bool = True) -> bytes:
    """The content of a regular file of at most `limit` bytes. Raises what `open_regular` raises."""
    with open_regular(path, follow=follow) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UnsupportedModelError(f"{path}: larger than {limit:,} bytes")
    return data


def parse_json(data: bytes, where: object) -> Any:
    """What JSON text says. Raises UnsupportedModelError for what is no JSON, or nested too deeply."""
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnsupportedModelError(f"{where}: not understood: {error}") from error


def parse_object(data: bytes, where: object) -> dict[str, Any]:
    """The JSON object in a text. Raises UnsupportedModelError for anything else."""
    value = parse_json(data, where)
    if not isinstance(value, dict):
        raise UnsupportedModelError(f"{where}: not understood: {shown(value)} instead of a JSON object")
    return value


def refuse_pointers(path: pathlib.Path) -> None:
    """Refuse a model file, or a folder with files, that git-LFS has not fetched: a few lines of text stand for each.

    Raises UnsupportedModelError with the repair.
    """
    files = [p for ending in ("*.json", "*.safetensors") for p in path.glob(ending)] if path.is_dir() else [path]
    for file in sorted(files):
        if file.is_file():
            with file.open("rb") as opened:
                if opened.read(len(_POINTER)) == _POINTER:
                    raise UnsupportedModelError(f"{file}: only a git-LFS pointer to the file: run `git lfs pull` there")


def shown(value: object) -> str:
    """A value as an error message shows it: never long."""
    return reprlib.repr(value)
