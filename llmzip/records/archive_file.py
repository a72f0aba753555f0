"""The file of a records archive: one that was opened here is closed here, one that was given stays
open.
"""

from __future__ import annotations

import os
from typing import BinaryIO, Literal, cast

from llmzip.buffers import check_file
from llmzip.file import PathOrFile
from llmzip.file_options import opened


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
            file = opened(file, mode)  # type: ignore[arg-type]
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
