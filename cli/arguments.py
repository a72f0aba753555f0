"""Everything that the command line can ask for, in one value."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llmzip.runtime import DEFAULT_RUNTIME, Runtime


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
    force: bool = False
    remove: bool = False
    recursive: bool = False
    quiet: bool = False
    verbose: bool = False
    progress: bool = True
    json: bool = False
    compression: Mapping[str, Any] = field(default_factory=dict)
    """The fields of `CompressionOptions`, from the table `options.COMPRESSION`."""
    model: str | None = None
    dictionary: str | None = None
    runtime: Runtime = DEFAULT_RUNTIME
    max_memory: int | None = None
    max_output: int | None = None
    keep_going: bool = False
    join: bool = False

    @property
    def writes_beside(self) -> bool:
        """Whether the output of a file is a new file beside it."""
        return (
            self.action in (Action.COMPRESS, Action.DECOMPRESS)
            and not self.stdout
            and self.output is None
        )
