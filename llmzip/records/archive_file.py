"""The file of a records archive: one that was opened here is closed here, one that was given stays
open.
"""

from __future__ import annotations

import builtins
import os
from typing import BinaryIO, Literal, cast

from llmzip.buffers import check_file
from llmzip.file import PathOrFile


class ArchiveFile:
    """The file, and who closes it."""

    def __init__(
        self, file: PathOrFile, mode: Literal["rb", "xb"], method: str, function: str
    ) -> None:
        """file: a path, which is opened in this mode, or a binary file with this method.

        function: what the caller has called, for messages. Raises TypeError for anything else.
        """
        self._owns = isinstance(file, (str, bytes, os.PathLike))
        if self._owns:
            buffering = -1 if mode == "rb" else 0  # what is buffered a fork would write, too
            file = builtins.open(file, mode, buffering)  # type: ignore[arg-type]  # noqa: PTH123, SIM115
        else:
            check_file(file, method, function)
        self.file = cast("BinaryIO", file)
        """The file."""

    @property
    def name(self) -> object:
        """The path, where the file has one."""
        return getattr(self.file, "name", None)

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._owns:
            self.file.close()
