"""Compressed files as other libraries want them."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from llmzip.compressor import LLMZipCompressor
from llmzip.decompressor import LLMZipDecompressor
from llmzip.errors import LLMZipError
from llmzip.file import LLMZipFile, PathOrFile

EXTENSION = "llmz"


class WholeFile(LLMZipFile):
    """A file whose `flush` ends no block. Libraries flush before they close, which would cost
    bytes: so a file that is written has the bytes that `llmzip.compress` makes.
    """

    @functools.cached_property
    def size(self) -> int | None:
        """The content's bytes, which fsspec asks for, or sets; None where they are not known, as of
        a damaged file.
        """
        with contextlib.suppress(LLMZipError):
            if self.seekable():
                position = self.tell()
                size = self.seek(0, 2)
                self.seek(position)
                return size
        return None

    def flush(self) -> None:
        """Raise ValueError where the file is closed, and else do nothing, as in bz2 and lzma."""
        self._check_open()

    def owning(self) -> WholeFile:
        """The same, which closes the file below with itself."""
        self._owned = self._file
        if self._writer is not None:
            self._writer.owned = self._file
        return self


def opener(**options: Any) -> Callable[..., WholeFile]:
    """A function of a file (or path) and a mode that opens it with those of the options which are
    `useful` in that mode. It takes further ones, which go first.

    options: as of `LLMZipFile`. Raises TypeError for an option that there is not.
    """
    useful(options, "r")

    def opened(file: PathOrFile, mode: str = "rb", **further: Any) -> WholeFile:
        return WholeFile(file, mode, **useful(options | further, mode))

    return opened


def useful(options: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """Those of the options of `LLMZipFile` that reading or writing has a use for. A model is for
    writing: a file that is read names its own.

    Raises TypeError for an option that there is not.
    """
    if unknown := sorted(options.keys() - _known()):
        raise TypeError(
            f"llmzip has no option {unknown[0]!r}; there are {', '.join(sorted(_known()))}"
        )
    reading = _names(LLMZipDecompressor)
    if mode.startswith("r"):
        used = reading - {"model"}
    else:
        used = _known() - (reading - _names(LLMZipCompressor))
    return {name: value for name, value in options.items() if name in used}


def split_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Those that are llmzip's, and the others."""
    ours = {name: value for name, value in options.items() if name in _known()}
    return ours, {name: value for name, value in options.items() if name not in ours}


def _known() -> frozenset[str]:
    return _names(LLMZipFile) - {"file", "mode"}


@functools.cache
def _names(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
