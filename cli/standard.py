"""The three standard streams of the process, whatever it was started with."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TextIO

from llmzip.cli.files import Input, Sink


class _Text(Sink):
    """Standard output for text: it fails once, and what is still buffered then fails no more."""

    failed = False

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        if self.failed:
            return len(data)
        try:
            return super().write(data)
        except OSError:
            self.failed = True
            raise


class _Messages(Sink):
    """Standard error: that nobody can read a message is no reason to fail."""

    def write(self, data: bytes | bytearray | memoryview) -> int:  # type: ignore[override]
        with contextlib.suppress(OSError):
            super().write(data)
        return len(data)


def prepare() -> None:
    """Put something behind descriptors 0 to 2, and streams that can write every name.

    A file that was opened as one of these numbers would get the messages of this program and its
    libraries, and Python prints to standard output what should go to a standard error that is
    closed.
    """
    # What the caller has closed cannot be read or written. Messages alone are dropped.
    for fd, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, mode)  # the lowest free number: this one
            os.set_inheritable(opened, True)
    sys.stdin = io.TextIOWrapper(
        io.BufferedReader(Input(0, "stdin", closefd=False)), _encoding(sys.stdin), "surrogateescape"
    )
    output, messages = _Text(1, "stdout", closefd=False), _Messages(2, "stderr", closefd=False)
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output),
        _encoding(sys.stdout),
        "backslashreplace",
        line_buffering=output.isatty(),
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(messages), _encoding(sys.stderr), "backslashreplace", line_buffering=True
    )


def _encoding(stream: TextIO | None) -> str | None:
    """What Python has chosen; None for its choice from the locale."""
    return None if stream is None else stream.encoding
