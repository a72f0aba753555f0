"""Limits on a decoder's memory and output: its caller's, or else derived from the machine and the
file's size.
"""

from __future__ import annotations

import dataclasses

from llmzip.accounting import machine_bytes
from llmzip.buffers import whole_number
from llmzip.container.block import Block
from llmzip.container.header import FrameHeader
from llmzip.errors import LimitError

FREE_OUTPUT, OUTPUT_PER_BYTE = 1 << 30, 1 << 16
"""Where the caller sets no limit, output is at most FREE_OUTPUT bytes and OUTPUT_PER_BYTE for each
byte of the blocks.

Zeros shrink to a 20,000th in blocks of 1 MiB; the limit is for what was made to fill disks.
"""

_BLOCK_OVERHEAD = 16  # bytes of a block that are not its payload, at most


@dataclasses.dataclass
class Limits:
    """The limits of one decoder, over all that it decodes."""

    memory: int | None = None
    """The largest memory in bytes, as `accounting` counts them; None: the machine's."""
    output: int | None = None
    """The longest output in bytes; None: the limit above."""
    _allowed: int = dataclasses.field(default_factory=lambda: FREE_OUTPUT)

    def __post_init__(self) -> None:
        """Raise TypeError for limits that are no whole numbers."""
        for name, value in (("max_memory", self.memory), ("max_output", self.output)):
            if value is not None:
                whole_number(value, name)

    @property
    def most_memory(self) -> int:
        """The memory in bytes that decoding may take."""
        return machine_bytes() if self.memory is None else self.memory

    def check_frame(self, header: FrameHeader) -> None:
        """Raise LimitError where a frame states more memory than the caller allows."""
        if self.memory is not None:  # a frame may state more than its blocks then need
            self._check_memory(header.memory, "the frame")

    def check_output(self, done: int, block: Block) -> None:
        """Raise LimitError where a block makes the output too long; `done` bytes precede it."""
        limit = self._allowed + _allowed_for(block) if self.output is None else self.output
        if done + block.size > limit:
            usual = "" if self.output is not None else " that is usual for so small a file"
            raise LimitError(
                f"the output exceeds the limit of {limit} bytes{usual}; "
                "raise the limit (--max-output, or max_output in Python) to decode it all"
            )

    def count(self, block: Block) -> None:
        """Count a block that has been decoded."""
        self._allowed += _allowed_for(block)

    def check_block(self, need: int, header: FrameHeader) -> None:
        """Raise LimitError where a block needs more memory than its frame states or the caller
        allows.

        need: its bytes in the account.
        """
        if header.states_all_memory and need > header.memory:
            raise LimitError(
                f"a block needs {need} bytes of memory, "
                f"more than the {header.memory} that its frame states: "
                "the file was made by a faulty encoder, or to do harm"
            )
        self._check_memory(need, "a block")

    def _check_memory(self, need: int, what: str) -> None:
        limit = self.most_memory
        if need > limit:
            has = "this machine has" if self.memory is None else "the limit is"
            raise LimitError(
                f"{what} needs {need} bytes of memory, {has} {limit}; "
                "raise the limit (--max-memory, or max_memory in Python) to decode it"
            )


def _allowed_for(block: Block) -> int:
    """Bytes of output that a block's bytes in the file allow."""
    return OUTPUT_PER_BYTE * (len(block.payload) + _BLOCK_OVERHEAD)
