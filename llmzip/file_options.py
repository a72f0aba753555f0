"""How files are opened, and checks of what the caller gives for it."""

from __future__ import annotations

import builtins
import io
import os
from typing import BinaryIO, cast


def opened(path: str | bytes | os.PathLike[str], mode: str) -> BinaryIO:
    """The file of a path. What is written to it is not buffered: a forked process would write that,
    too.
    """
    buffering = -1 if mode == "rb" else 0
    return cast("BinaryIO", builtins.open(path, mode, buffering))  # noqa: PTH123


def check_file(file: object, method: str) -> None:
    """Raise TypeError for what is neither a path nor a binary file that has the method."""
    if isinstance(file, io.TextIOBase):
        raise TypeError("the file is open in text mode; open it in binary mode")
    if not isinstance(file, (str, bytes, os.PathLike)) and not hasattr(file, method):
        kind = type(file).__name__
        raise TypeError(f"file must be a path, or a binary file with {method}(), not {kind!r}")


def check_options(
    reading: bool, of_writing: dict[str, object], of_reading: dict[str, object]
) -> None:
    """Raise TypeError for an option that is not None and that the mode has no use for."""
    for name, value in (of_writing if reading else of_reading).items():
        if value is not None:
            uses = ("writing", "reading") if reading else ("reading", "writing")
            raise TypeError(f"{name}= is for {uses[0]} only, and the file is opened for {uses[1]}")
