"""Short files, of which the model codes many side by side before it is their turn: a processor when
it decodes, a device also when it encodes.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from llmzip.cli import restore
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.files import RefusalError
from llmzip.cli.inputs import Source, check
from llmzip.cli.plan import output_of
from llmzip.cli.progress import FileProgress, file_progress
from llmzip.errors import LLMZipError

if TYPE_CHECKING:
    from llmzip.blocks.local_decoder import KnownBlocks
    from llmzip.blocks.local_encoder import KnownTexts

# llmzip.many is imported where it is used: it brings the engines.


def encodes_ahead(arguments: Arguments) -> bool:
    """Whether short files are encoded before it is their turn: only a device gains by it, and only
    one level for all is known before.
    """
    return arguments.runtime.device != "cpu" and not arguments.has_target


class ShortFiles:
    """What has been coded of the files whose turn comes next."""

    def __init__(self, arguments: Arguments) -> None:
        self._arguments = arguments
        self._seconds: dict[Source, float] = {}  # of the files that have been looked through
        self.known: KnownBlocks = {}
        """What has been decoded."""
        self.known_texts: KnownTexts = {}
        """What has been encoded."""

    def seconds_of(self, source: Source) -> float:
        """The part of the time spent ahead that was spent on this file."""
        return self._seconds.get(source, 0.0)

    def look_ahead(self, planned: Sequence[Source], number: int) -> None:
        """Code what the files from this number on have, which is to be coded now, if it is short
        and has not been.
        """
        arguments = self._arguments
        if planned[number] in self._seconds or number + 1 == len(planned):
            return
        if arguments.keep_going or arguments.has_span or arguments.ray:
            return
        if arguments.action is Action.COMPRESS and not encodes_ahead(arguments):
            return
        files = self._next_short(planned, number)
        if len(files) < 2:
            return
        self.known, self.known_texts = {}, {}
        begun = time.monotonic()
        bar = restore.may_show(arguments)
        with file_progress(f"{len(files)} files", None, bar=bar, quiet=arguments.quiet) as progress:
            self._code(list(files.values()), progress)
        seconds, size = time.monotonic() - begun, sum(map(len, files.values()))
        self._seconds = {
            source: seconds * len(data) / max(size, 1) for source, data in files.items()
        }

    def _code(self, contents: list[bytes], progress: FileProgress) -> None:
        """Code what the files hold. What is wrong with one of them comes to light when it is its
        turn.
        """
        arguments, loader = self._arguments, restore.loader(self._arguments)
        if arguments.action is not Action.COMPRESS:
            from llmzip.many import decode_together

            self.known = decode_together(
                contents, loader, max_memory=arguments.max_memory, progress=progress.advance
            )
            return
        from llmzip.many import encode_together

        self.known_texts = encode_together(
            contents, arguments.options, loader, progress=progress.advance
        )

    def _next_short(self, planned: Sequence[Source], number: int) -> dict[Source, bytes]:
        """The files from this number on as far as they are short, with their bytes; nothing where
        the first is not.
        """
        from llmzip.many import GROUP_BYTES, GROUP_CONTENT_BYTES, GROUP_STREAMS, SHORT_BYTES

        encodes = self._arguments.action is Action.COMPRESS
        most = GROUP_CONTENT_BYTES if encodes else GROUP_BYTES
        found: dict[Source, bytes] = {}
        size = 0
        for source in planned[number : number + GROUP_STREAMS]:
            data = self._read(source, SHORT_BYTES)
            if data is None and not found:
                return {}
            if data is not None:
                found[source] = data
                size += len(data)
                if size > most:
                    break
        return found

    def _read(self, source: Source, most: int) -> bytes | None:
        """The bytes of a regular file that has no more than `most` and will be coded."""
        if source.path is None:
            return None
        arguments = self._arguments
        try:
            check(source, arguments)
            status = source.path.stat()
            if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                return None
            if arguments.action is not Action.TEST and not arguments.force:
                target = output_of(source, arguments)
                if target is not None and os.path.lexists(target):
                    return None
            return source.path.read_bytes()
        except (LLMZipError, RefusalError, OSError):
            return None
