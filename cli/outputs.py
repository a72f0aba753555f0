"""The output of a sub-command: a new file, or standard output."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from llmzip.cli.files import RefusalError, writing
from llmzip.cli.paths import identity_of


def refuse_same(source: str, target: str) -> None:
    """Raise RefusalError where the output is the input; `-` is none of both."""
    if source == "-" or target == "-":
        return
    if identity_of(source, regular=True) == identity_of(target, regular=True) is not None:
        raise RefusalError(f"{target}: is also the input")


@contextlib.contextmanager
def open_output(name: str, force: bool) -> Iterator[BinaryIO]:
    """A file that appears when the block ends well, or for `-` standard output."""
    if name == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    else:
        with writing(Path(name), force=force, like=None) as sink:
            yield sink
