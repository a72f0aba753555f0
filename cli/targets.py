"""The level of one input, chosen by --target-time and --target-memory."""

from __future__ import annotations

import dataclasses
from typing import BinaryIO

from llmzip.cli.arguments import Arguments
from llmzip.cli.durations import format_duration
from llmzip.cli.files import RefusalError
from llmzip.cli.messages import say
from llmzip.cli.progress import FileProgress
from llmzip.cli.restore import dictionary, file_bytes
from llmzip.cli.sizes import format_size

_CODECS = (None, "llm")
"""Those whose blocks a level changes."""


def with_level(
    reader: BinaryIO, label: str, arguments: Arguments, progress: FileProgress
) -> Arguments:
    """The arguments with the level that suits this input, where one is to be chosen. Raises
    RefusalError where nobody knows how long the input is, LimitError as `choose_level`.
    """
    if not arguments.has_target or arguments.compression["codec"] not in _CODECS:
        return arguments
    from llmzip.blocks.options import CompressionOptions
    from llmzip.choosing.choose import choose
    from llmzip.engine_loader import EngineLoader

    regular = file_bytes(reader) is not None
    if arguments.target_time is not None and not regular:
        raise RefusalError(
            "--target-time needs to know how long the input is: name a regular file, or a level"
        )
    runtime = dataclasses.replace(arguments.runtime, download_progress=progress.download)
    chosen = choose(
        reader if regular else None,
        EngineLoader.of(arguments.model, dictionary(arguments), runtime),
        CompressionOptions(**arguments.compression),
        arguments.target_time,
        arguments.target_memory,
    )
    takes = f"decoding needs {format_size(chosen.memory)}"
    if arguments.target_time is not None:
        takes = (
            f"about {format_duration(chosen.compression_seconds)} to compress, "
            f"{format_duration(chosen.decompression_seconds)} to decompress, {takes}"
        )
    if not (chosen.in_time or arguments.quiet):
        say(f"{label}: no level is that quick; the quickest, level {chosen.level}: {takes}")
    elif arguments.verbose:
        say(f"{label}: level {chosen.level}: {takes}")
    return dataclasses.replace(
        arguments, compression={**arguments.compression, "level": chosen.level}
    )
