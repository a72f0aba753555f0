"""Opening compressed files, and text on them."""

from __future__ import annotations

import io
from typing import Any, Literal, overload

from llmzip.buffers import Buffer, can_seek
from llmzip.container.frame_writer import EMPTY_FRAME_BYTES
from llmzip.engine_loader import DictionaryLike, ModelLike
from llmzip.file import LLMZipFile, PathOrFile
from llmzip.runtime import Runtime
from llmzip.types import Progress


class _TextBuffer(LLMZipFile):
    """The compressed file below a text: it knows when the text begins and when it ends.

    A TextIOWrapper writes a byte-order mark only where it is told that the file can seek and stands
    at its beginning. And it flushes before it closes, which would end a block, where the end of the
    file is to end it.
    """

    begins = ends = False

    def seekable(self) -> bool:
        """See `LLMZipFile.seekable`."""
        return self.begins or super().seekable()

    def tell(self) -> int:
        """See `LLMZipFile.tell`; while the text begins, whether something precedes it."""
        return int(self._has_text_before()) if self.begins else super().tell()

    def write(self, data: Buffer) -> int:  # type: ignore[override]
        """See `LLMZipFile.write`."""
        writer = self._writer
        if type(data) is bytes and writer is not None and writer.gathers(data):
            return len(data)
        return super().write(data)

    def _has_text_before(self) -> bool:
        return self._kind == "a" and (
            not can_seek(self._file) or self._file.tell() > EMPTY_FRAME_BYTES
        )

    def flush(self) -> None:
        """See `LLMZipFile.flush`."""
        if not self.ends:
            super().flush()


class TextFile(io.TextIOWrapper):
    """Text on a compressed file."""

    def __init__(
        self, binary: _TextBuffer, encoding: str, errors: str | None, newline: str | None
    ) -> None:
        self._binary = binary
        self._is_detached = False
        binary.begins = binary.writable()
        # Nothing stays here, where it would be lost if the file below is finished first, and before
        # Python 3.12.5 what one thread writes while another one waits for a block.
        super().__init__(binary, encoding, errors, newline, write_through=True)
        binary.begins = False

    def seek(self, cookie: int, whence: int = io.SEEK_SET) -> int:
        """As of `io.TextIOWrapper`. Raises UnsupportedOperation where `LLMZipFile.seek` does."""
        self._check_seekable()
        return super().seek(cookie, whence)

    def tell(self) -> int:
        """As of `io.TextIOWrapper`. Raises UnsupportedOperation where `seek` does."""
        self._check_seekable()
        return super().tell()

    def _check_seekable(self) -> None:
        if not self.seekable():
            raise io.UnsupportedOperation("the file below the text cannot seek")

    def detach(self) -> Any:
        """As of `io.TextIOWrapper`: the LLMZipFile."""
        binary = super().detach()
        self._is_detached = True
        return binary

    def close(self) -> None:
        """Write what is left, and close the file below."""
        self._binary.ends = True
        super().close()

    def __exit__(self, kind: Any, error: BaseException | None, *rest: Any) -> None:
        """As of `LLMZipFile`."""
        self._binary.abandon_after(error)
        super().__exit__(kind, error, *rest)

    def __del__(self) -> None:
        """As of `LLMZipFile`, unless that was detached."""
        if not self._is_detached:
            self._binary.__del__()


BinaryMode = Literal["r", "w", "x", "a", "rb", "wb", "xb", "ab"]
TextMode = Literal["rt", "wt", "xt", "at"]


@overload
def open(
    file: PathOrFile,
    mode: BinaryMode = ...,
    *,
    encoding: None = ...,
    errors: None = ...,
    newline: None = ...,
    level: int | None = ...,
    compresslevel: int | None = ...,
    model: ModelLike | None = ...,
    dictionary: DictionaryLike | None = ...,
    block_size: int | None = ...,
    block_lines: int | None = ...,
    codec: str | None = ...,
    mixing: bool = ...,
    solid: bool = ...,
    max_memory: int | None = ...,
    max_output: int | None = ...,
    runtime: Runtime | None = ...,
    progress: Progress | None = ...,
) -> LLMZipFile: ...


@overload
def open(
    file: PathOrFile,
    mode: TextMode,
    *,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    level: int | None = ...,
    compresslevel: int | None = ...,
    model: ModelLike | None = ...,
    dictionary: DictionaryLike | None = ...,
    block_size: int | None = ...,
    block_lines: int | None = ...,
    codec: str | None = ...,
    mixing: bool = ...,
    solid: bool = ...,
    max_memory: int | None = ...,
    max_output: int | None = ...,
    runtime: Runtime | None = ...,
    progress: Progress | None = ...,
) -> io.TextIOWrapper: ...


@overload
def open(
    file: PathOrFile,
    mode: str,
    *,
    encoding: str | None = ...,
    errors: str | None = ...,
    newline: str | None = ...,
    level: int | None = ...,
    compresslevel: int | None = ...,
    model: ModelLike | None = ...,
    dictionary: DictionaryLike | None = ...,
    block_size: int | None = ...,
    block_lines: int | None = ...,
    codec: str | None = ...,
    mixing: bool = ...,
    solid: bool = ...,
    max_memory: int | None = ...,
    max_output: int | None = ...,
    runtime: Runtime | None = ...,
    progress: Progress | None = ...,
) -> LLMZipFile | io.TextIOWrapper: ...


def open(
    file: PathOrFile,
    mode: str = "rb",
    *,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    level: int | None = None,
    compresslevel: int | None = None,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    block_lines: int | None = None,
    codec: str | None = None,
    mixing: bool = True,
    solid: bool = False,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
    progress: Progress | None = None,
) -> LLMZipFile | io.TextIOWrapper:
    """Open a compressed file in binary or text mode, as `gzip.open` does.

    mode: one of `LLMZipFile`, which is the result, or "rt", "wt", "xt", "at" for text. encoding
    ("utf-8" where it is None), errors, newline: of the text, as for the built-in `open`. The
    others: as for `LLMZipFile`.

    Raises what `LLMZipFile` does, and in text mode LookupError for an unknown encoding.
    """
    is_text = isinstance(mode, str) and "t" in mode
    if is_text and "b" in mode:
        raise ValueError(f"mode {mode!r}: binary mode or text mode, not both")
    if not is_text and (encoding, errors, newline) != (None, None, None):
        raise ValueError("encoding, errors and newline are for text mode only")
    encoding = encoding or "utf-8"
    # What goes wrong goes wrong before there is a file.
    io.TextIOWrapper(io.BytesIO(), encoding, errors, newline)
    kind = _TextBuffer if is_text else LLMZipFile
    binary = kind(
        file,
        mode.replace("t", "", 1) if is_text else mode,
        level=level,
        compresslevel=compresslevel,
        model=model,
        dictionary=dictionary,
        block_size=block_size,
        block_lines=block_lines,
        codec=codec,
        mixing=mixing,
        solid=solid,
        max_memory=max_memory,
        max_output=max_output,
        runtime=runtime,
        progress=progress,
    )
    return (
        TextFile(binary, encoding, errors, newline) if isinstance(binary, _TextBuffer) else binary
    )
