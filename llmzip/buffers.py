"""What callers hand in: buffers of any kind as plain bytes, binary files, whole numbers."""

from __future__ import annotations

import errno
import io
import operator
from typing import BinaryIO

Buffer = bytes | bytearray | memoryview
"""What callers may hand in: these, and in fact any object with the buffer protocol."""


def flat(data: Buffer, function: str) -> memoryview:
    """The bytes of any buffer, in the order of its elements, as `bytes` gives them.

    function: the one that the caller has called, for messages. Raises TypeError for what is no
    buffer, and for an array of Python objects, of which the buffer holds only addresses.
    """
    try:
        view = memoryview(data)
    except TypeError:
        advice = ": encode the text" if isinstance(data, str) else ""
        raise TypeError(
            f"{function}() takes bytes, or another buffer, not {type(data).__name__!r}{advice}"
        ) from None
    if view.ndim == 1 and view.c_contiguous and view.format == "B":
        return view
    if "O" in view.format:
        raise TypeError(f"{function}() takes bytes, or another buffer, not an array of objects")
    return memoryview(view.tobytes())


def check_file(file: object, method: str, function: str) -> None:
    """Raise TypeError for what is no binary file with that method: a path, for example, or a file
    that is open in text mode.

    function: the one that the caller has called, for messages.
    """
    if isinstance(file, io.TextIOBase):
        raise TypeError(f"{function}() takes a binary file, this one is open in text mode")
    if not hasattr(file, method):
        kind = type(file).__name__
        raise TypeError(f"{function}() takes an open binary file with {method}(), not {kind!r}")


def whole_number(value: object, name: str) -> int:
    """The value of a parameter that is a whole number. Raises TypeError for anything else."""
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {value!r}") from None


def can_seek(file: BinaryIO) -> bool:
    """Whether a file can seek. One that does not say so (an `mmap`) can, if it has the methods."""
    if hasattr(file, "seekable"):
        return file.seekable()
    return hasattr(file, "seek") and hasattr(file, "tell")


def write_all(sink: BinaryIO, data: bytes) -> None:
    """Write all of the data, also to a raw file, which may take less at a time; nothing, if there
    is none.

    Raises BlockingIOError where a raw file that does not block takes nothing.
    """
    size = len(data)
    while data:
        taken = sink.write(data)
        if taken is None and not isinstance(sink, io.RawIOBase):
            return  # it does not say, and has taken all
        if not taken:
            raise BlockingIOError(
                errno.EAGAIN, "the file takes no data now: give one that blocks", size - len(data)
            )
        data = data[taken:]
