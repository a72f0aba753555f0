"""Which source converts to which cached model: a folder of files, `<SHA-256 of the source>` with a
folder's name in it.
"""

from __future__ import annotations

import contextlib
import pathlib
import stat

from llmzip.errors import LLMZipError, ModelError
from llmzip.model.files import read_whole

_MAX_NAME = 100


def is_own_folder(path: pathlib.Path) -> bool:
    """Whether there is a folder here, and not a link to one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


class SourceIndex:
    """See the module. A link in the place of the folder or of a file in it is never followed."""

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder

    def get(self, sha256: str) -> str | None:
        """The name of the model's folder, or None."""
        return _content(self._folder / sha256) if is_own_folder(self._folder) else None

    def put(self, sha256: str, name: str, scratch: pathlib.Path) -> None:
        """Note a model's folder, in one step; scratch: a folder of the caller's own on the same
        disk.

        Raises ModelError where a link or a file stands in the place of the index.
        """
        staged = scratch / "index"
        staged.write_text(name, "ascii")
        with contextlib.suppress(FileExistsError):
            self._folder.mkdir()
        if not is_own_folder(self._folder):
            raise ModelError(
                f"{self._folder}: a link or a file where the store has a folder of its own; "
                "remove it"
            )
        staged.replace(self._folder / sha256)

    def forget(self, name: str) -> None:
        """Delete what points to a model's folder."""
        for index in self._folder.iterdir() if is_own_folder(self._folder) else ():
            if _content(index) == name:
                index.unlink(missing_ok=True)


def _content(path: pathlib.Path) -> str | None:
    try:
        return read_whole(path, _MAX_NAME, follow=False).decode("ascii")
    except (LLMZipError, OSError, ValueError):
        return None
