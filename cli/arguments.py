"""Everything that the command line can ask for, in one value."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from llmzip.levels import DEFAULT_LEVEL
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
    level: int = DEFAULT_LEVEL
    no_mixing: bool = False
    solid: bool = False
    model: str | None = None
    dictionary: str | None = None
    runtime: Runtime = DEFAULT_RUNTIME
    block_size: int | None = None
    codec: str | None = None
    max_memory: int | None = None
    max_output: int | None = None
    keep_going: bool = False
    join: bool = False

    @property
    def writes_beside(self) -> bool:
        """Whether the output of a file is a new file beside it."""
        return self.action in (Action.COMPRESS, Action.DECOMPRESS) and not self.stdout and self.output is None
