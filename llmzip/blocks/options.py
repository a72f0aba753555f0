"""The options that decide how blocks are coded."""

from __future__ import annotations

import dataclasses

from llmzip import levels
from llmzip.buffers import whole_number
from llmzip.container.codec_ids import CHOICES


@dataclasses.dataclass(frozen=True)
class CompressionOptions:
    """How blocks are coded: what decides the bytes of a file beside its model and its dictionary.

    A field that has a row of the same name in `cli/options.py`, in the table COMPRESSION, is an
    option of the command line; for Python it is a keyword wherever one can compress
    (CONTRIBUTING.md has the list). Raises ValueError for options that are out of range or
    contradict each other.
    """

    level: int = levels.DEFAULT_LEVEL
    """1 to 9; more is smaller and slower."""
    block_size: int | None = None
    """Uncompressed bytes per block; None: the level's."""
    block_lines: int | None = None
    """Lines of each block but the last; None: blocks end wherever they are full."""
    codec: str | None = None
    """The codec that all blocks get, by name (docs/format.md); None: the smallest for each."""
    mixing: bool = True
    """Whether predictions are corrected by what has been coded."""
    solid: bool = False
    """Whether the mixer is carried from block to block, and matches reach over all blocks."""

    def __post_init__(self) -> None:
        levels.level_parameters(self.level, self.block_size)
        if self.block_lines is not None and whole_number(self.block_lines, "block_lines") < 1:
            raise ValueError(f"{self.block_lines} lines of a block: it has 1 or more")
        if self.codec is not None and self.codec not in CHOICES:
            raise ValueError(f"codec {self.codec!r}: blocks can have {', '.join(CHOICES)}")
        if self.solid and not self.mixing:
            raise ValueError(
                "solid compression carries the mixer on: leave out --no-mixing, "
                "or mixing=False in Python"
            )


DEFAULT_OPTIONS = CompressionOptions()
