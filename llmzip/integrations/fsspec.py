"""fsspec: `compression="llmzip"`, inferred from ".llmz", and two file systems of contents.

Importing this module registers the compression. The package's entry point leads fsspec here for
URLs "llmzip://NAME::URL" without an import.
"""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Mapping
from typing import Any

from llmzip.errors import LLMZipError
from llmzip.extras import needing
from llmzip.integrations.files import EXTENSION, WholeFile, opener

with needing("fsspec", "llmzip.integrations.fsspec"):
    import fsspec
    import fsspec.archive
    import fsspec.compression

NAME = "llmzip"


def register(name: str = NAME, extension: str | None = EXTENSION, **options: Any) -> None:
    """Give fsspec a compression of this name, in the place of one that it has, with options of
    `LLMZipFile`; those of no use in a mode are left out.

    extension: of the files for which fsspec's `compression="infer"` takes it; None: of none. Raises
    TypeError for an option that there is not.
    """
    extensions = [] if extension is None else [extension.lstrip(".")]
    fsspec.compression.register_compression(name, opener(**options), extensions, force=True)


class LLMZipFileSystem(fsspec.archive.AbstractArchiveFileSystem):  # type: ignore[misc]
    """One compressed file, as a file system that has its content as the only file.

    >>> fsspec.open("llmzip://notes.txt::https://example.org/notes.txt.llmz")
    >>> fsspec.open("llmzip://notes.txt::file://notes.txt.llmz", "wb", llmzip={"level": 9})

    The content is called as the compressed file is, without its last suffix.
    """

    root_marker = ""
    protocol = NAME
    cachable = False  # the file may change

    def __init__(
        self,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        """fo, target_protocol, target_options: the compressed file's URL, and what opens it.
        options: of `LLMZipFile`. Raises TypeError for an option that there is not.
        """
        super().__init__()
        self.fo = str(fo)
        self._open_content = opener(**options)
        protocol = {"protocol": target_protocol} if target_protocol else {}
        self._target, self._path = fsspec.core.url_to_fs(
            self.fo, **protocol, **(target_options or {})
        )
        self.name = posixpath.splitext(posixpath.basename(self._path))[0]
        self.dir_cache: dict[str, dict[str, Any]] = {}

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path)).lstrip("/")

    def _get_dirs(self) -> None:
        with self._open(self.name) as content:
            found = {"name": self.name, "size": content.size, "type": "file"}
        self.dir_cache = {self.name: found}

    def _open(self, path: str, mode: str = "rb", **ignored: Any) -> WholeFile:
        if self._strip_protocol(path) != self.name:
            raise FileNotFoundError(f"{self.fo} has the content {self.name!r}, and no {path!r}")
        return _opened(self._target, self._path, mode, self._open_content)


class ContentFileSystem(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """The files of another file system, by its own paths, of which those whose names end with
    ".llmz" appear as their contents.
    """

    protocol = NAME
    cachable = False

    def __init__(self, fs: Any = None, **options: Any) -> None:
        """fs: an fsspec file system, by default that of local files. options: of `LLMZipFile`.
        Raises TypeError for an option that there is not.
        """
        super().__init__()
        self.fs = fsspec.filesystem("file") if fs is None else fs
        self._open_content = opener(**options)

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """As of every fsspec file system; sizes are those of contents."""
        found = self.fs.ls(self._strip_protocol(path), detail=False, **options)
        return [self.info(name) for name in found] if detail else list(found)

    def glob(self, path: str, maxdepth: int | None = None, **options: Any) -> Any:
        """As of every fsspec file system."""
        return self.fs.glob(self._strip_protocol(path), maxdepth, **options)

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """As of every fsspec file system; the size is that of the content, None where that is not
        known, as of a damaged file, which hides none of those beside it.
        """
        info: dict[str, Any] = dict(self.fs.info(self._strip_protocol(path), **options))
        if _is_compressed(path) and info["type"] == "file":
            info["size"] = None
            with contextlib.suppress(LLMZipError), self._open(path) as content:
                info["size"] = content.size
        return info

    def modified(self, path: str) -> Any:
        """As of every fsspec file system."""
        return self.fs.modified(self._strip_protocol(path))

    def _open(self, path: str, mode: str = "rb", **ignored: Any) -> Any:
        path = self._strip_protocol(path)
        if not _is_compressed(path):
            return self.fs.open(path, mode)
        return _opened(self.fs, path, mode, self._open_content)


def _is_compressed(path: str) -> bool:
    return path.endswith(f".{EXTENSION}")


def _opened(fs: Any, path: str, mode: str, opened: Any) -> WholeFile:
    """The content of a file of a file system, which it closes."""
    file = fs.open(path, mode)
    try:
        content: WholeFile = opened(file, mode)
    except BaseException:
        file.close()
        raise
    return content.owning()


register()
fsspec.register_implementation(NAME, LLMZipFileSystem, clobber=True)
