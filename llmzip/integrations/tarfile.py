"""tarfile: a TarFile that reads and writes .tar.llmz as the standard one does .tar.xz."""

from __future__ import annotations

import tarfile
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

from llmzip.errors import FormatError
from llmzip.file import PathOrFile
from llmzip.integrations.files import WholeFile, opener, split_options


class TarFile(tarfile.TarFile):
    """Modes "r:llmz", "w:llmz" and "x:llmz" besides the standard ones; "r" finds out.

    >>> with TarFile.open("notes.tar.llmz", "w:llmz", level=9) as archive:
    ...     archive.add("notes")

    Reading one member decodes the blocks that it is in, and of those before it the ones that hold
    headers. An archive that was left by an exception is not complete, and readers say so.
    """

    OPEN_METH: ClassVar[dict[str, str]] = {**tarfile.TarFile.OPEN_METH, "llmz": "llmzopen"}

    if TYPE_CHECKING:  # the types of tarfile's `open` know its own modes only

        @classmethod
        def open(cls, *args: Any, **options: Any) -> TarFile:
            """As of tarfile."""

    @classmethod
    def llmzopen(
        cls, name: Any, mode: str = "r", fileobj: PathOrFile | None = None, **options: Any
    ) -> TarFile:
        """Open a compressed archive; `open` calls it. options: of `LLMZipFile` and of TarFile."""
        if mode not in ("r", "w", "x"):
            raise ValueError(f"mode {mode!r}: modes are 'r', 'w' and 'x'")
        ours, others = split_options(options)
        file = opener(**ours)(name if fileobj is None else fileobj, mode)
        try:
            archive = cls.taropen(name, mode, file, **others)  # type: ignore[arg-type]
        except FormatError as error:
            file.abandon()
            raise tarfile.ReadError(f"not an llmzip file: {error}") from error
        except BaseException:
            file.abandon()
            raise
        archive._extfileobj = False  # type: ignore[attr-defined]  # `close` closes it, too
        return archive

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; after an exception while writing, do not pretend that the archive is complete."""
        if kind is not None and isinstance(self.fileobj, WholeFile):
            self.fileobj.abandon()
        super().__exit__(kind, error, traceback)
