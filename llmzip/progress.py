"""How far a job has come."""

from __future__ import annotations

from llmzip.types import Progress


class ProgressCounter:
    """Uncompressed bytes and tokens that are done, reported over all blocks of a job.

    It is an object of its own: a codec that reported to its owner would keep it, and the mixers of
    both, alive until Python looks for cycles.
    """

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self.bytes = self.tokens = 0
        """Of the blocks that count."""
        self._block_bytes = self._block_tokens = 0
        self._told = 0, 0

    def silence(self) -> None:
        """Report no more."""
        self._progress = None

    def begin_block(self) -> None:
        """A block is worked on."""
        self._block_bytes = self._block_tokens = 0

    def report(self, block_bytes: int, block_tokens: int | None = None) -> None:
        """So much of the block is done; what it reports again, because it is worked on once more,
        is no news.
        """
        if block_bytes < self._block_bytes:
            return
        self._block_bytes = block_bytes
        if block_tokens is not None:
            self._block_tokens = block_tokens
        done = self.bytes + block_bytes, self.tokens + self._block_tokens
        # Blocks that are worked on side by side are done before each of them counts.
        if self._progress and done >= self._told:
            self._told = done
            self._progress(*done)

    def end_block(self, size: int) -> None:
        """The block counts, with so many bytes."""
        self.bytes += size
        self.tokens += self._block_tokens
        self.begin_block()
