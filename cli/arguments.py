"""Everything that the command line can ask for, in one value."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llmzip.cli.files import SUFFIX
from llmzip.cli.spans import Span
from llmzip.runtime import DEFAULT_RUNTIME, Runtime

if TYPE_CHECKING:
    from llmzip.blocks.options import CompressionOptions


class Action(enum.Enum):
    """What is done with the files."""

    COMPRESS = "compress"
    DECOMPRESS = "decompress"
    TEST = "test"
    LIST = "list"


@dataclass(frozen=True)
class Arguments:
    """The options with their defaults; sizes are in bytes."""

    action: Action
    files: tuple[str, ...] = ()
    stdout: bool = False
    output: str | None = None
    output_dir_flat: str | None = None
    output_dir_mirror: str | None = None
    suffix: str = SUFFIX
    force: bool = False
    remove: bool = False
    recursive: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    json: bool = False
    compression: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `CompressionOptions`, from the table `options.COMPRESSION`."""
    target_time: float | None = None
    """Seconds that compression and decompression may take each: they choose the level."""
    target_memory: int | None = None
    """Bytes that decoding may take: they choose the level."""
    model: str | None = None
    dictionary: str | None = None
    runtime: Runtime = DEFAULT_RUNTIME
    ray: str | None = None
    """The address of the cluster that codes blocks."""
    max_memory: int | None = None
    max_output: int | None = None
    keep_going: bool = False
    join: bool = False
    sparse: bool = True
    resume: bool = False
    lines: Span | None = None
    bytes: Span | None = None
    lines_per_block: int | None = None

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The suffixes of compressed files; the first one is that of new ones."""
        return tuple(dict.fromkeys((self.suffix, SUFFIX)))

    @property
    def options(self) -> CompressionOptions:
        """What decides the bytes. Raises ValueError for options that exclude each other or are out
        of range.
        """
        from llmzip.blocks.options import CompressionOptions  # decompression does without

        return CompressionOptions(**self.compression)

    @property
    def has_target(self) -> bool:
        """Whether the level is to be chosen for each file."""
        return self.target_time is not None or self.target_memory is not None

    @property
    def has_span(self) -> bool:
        """Whether only some lines or bytes of the content are asked for."""
        return self.lines is not None or self.bytes is not None

    @property
    def output_dir(self) -> str | None:
        """The folder for outputs whose names are made from those of their inputs, if one was
        given.
        """
        return self.output_dir_flat or self.output_dir_mirror

    @property
    def copies_others(self) -> bool:
        """Whether what is not compressed is copied, as by `zcat -f`."""
        return (
            self.action is Action.DECOMPRESS and self.stdout and self.force and not self.keep_going
        )

    @property
    def writes_beside(self) -> bool:
        """Whether the output of a file is a new file, named as it is."""
        return (
            self.action in (Action.COMPRESS, Action.DECOMPRESS)
            and not self.stdout
            and self.output is None
        )
