"""Blocks that a pool codes: submitted before it is their turn, taken in their order.

At most `Pool.pieces` of them are under way, which bounds the memory; each is coded as it would be
here.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet  # in Python 3.10 not the built-in one
from typing import TypeVar

from llmzip.accounting import machine_bytes
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.container.block import Block
from llmzip.runtime import Job, Pool

_Result = TypeVar("_Result")

_REPORT_SECONDS = 0.5
"""How often it is looked how many blocks are done, while the next one is awaited."""


@dataclasses.dataclass
class _Submitted:
    """A block to be encoded."""

    data: bytes
    job: Job[bytes, EncodedBlock]
    size: int
    """How many bytes it presumably holds."""
    coded: Future[EncodedBlock]


class EncoderElsewhere:
    """The next blocks of a frame, in a pool. Where a block begins is known only when the one before
    is coded; until then it is presumed.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._next: deque[_Submitted] = deque()
        self._most_bytes = machine_bytes() // 4
        self.surprised = False
        """Whether a block has held less than was presumed: presume with more care."""

    def wants(self, size: int, kept: int) -> bool:
        """Whether one more block should be submitted, and `size` pending bytes hold one; the last
        `kept` of them do not count.
        """
        return self._has_room and size - self.size > kept

    @property
    def size(self) -> int:
        """The bytes that the blocks under way presumably hold."""
        return sum(block.size for block in self._next)

    @property
    def waits(self) -> bool:
        """Whether with more data at hand more blocks would be under way."""
        return bool(self._next) and self._has_room

    @property
    def _has_room(self) -> bool:
        return len(self._next) < self._pool.pieces and self.size < self._most_bytes

    def add(self, data: bytes, size: int, job: Job[bytes, EncodedBlock]) -> None:
        """Submit the block behind those under way.

        data: what is at hand for it. size: how many bytes of that it presumably holds.
        """
        self._next.append(_Submitted(data, job, size, self._pool.submit(job, data)))

    def take(
        self, data: bytes, job: Job[bytes, EncodedBlock], progress: Callable[[int], None]
    ) -> EncodedBlock:
        """The next block, which is submitted now where the one that was is of other data or made
        otherwise. Raises what the job gives for it.

        progress: called with the bytes of the blocks that are done, while this one is awaited.
        """
        if not self._next or (self._next[0].data, self._next[0].job) != (data, job):
            self.drop()
            self.add(data, len(data), job)
        first = self._next[0]
        block = _result(first.coded, lambda: progress(self._done))
        self._next.popleft()
        self.surprised |= block.size < first.size
        return block

    def drop(self) -> None:
        """Forget the blocks under way: what has not been begun will not be."""
        for block in self._next:
            block.coded.cancel()
        self._next.clear()

    @property
    def _done(self) -> int:
        return sum(block.size for block in self._next if block.coded.done())


class DecoderElsewhere:
    """The next blocks of a frame, which a pool decodes. What it gives is the content, and how many
    tokens that is.
    """

    def __init__(self, pool: Pool, job: Job[Block, tuple[bytes, int]]) -> None:
        self._pool = pool
        self._job = job
        self._next: deque[tuple[Block, Future[tuple[bytes, int]]]] = deque()

    def has_room(self, blocks: int) -> bool:
        """Whether another one beside so many would be worked on."""
        return blocks < self._pool.pieces

    def submit(self, block: Block) -> None:
        """Have it decoded, behind those under way."""
        self._next.append((block, self._pool.submit(self._job, block)))

    @property
    def count(self) -> int:
        """How many are under way."""
        return len(self._next)

    def take(self, block: Block, progress: Callable[[int], None]) -> tuple[bytes, int]:
        """The content of the next block, and its tokens; those under way are dropped where it is
        not the first of them. Raises what the job gives for it.

        progress: as of `EncoderElsewhere.take`.
        """
        if not self._next or self._next[0][0] is not block:
            self.drop()
            self.submit(block)
        found = _result(self._next[0][1], lambda: progress(self._done))
        self._next.popleft()
        return found

    def drop(self) -> None:
        """Forget the blocks under way: what has not been begun will not be."""
        for _, content in self._next:
            content.cancel()
        self._next.clear()

    @property
    def _done(self) -> int:
        return sum(block.size for block, content in self._next if content.done())


def _result(future: Future[_Result], report: Callable[[], None]) -> _Result:
    """What the future gives; meanwhile it is reported now and then."""
    while True:
        try:
            return future.result(_REPORT_SECONDS)
        except NotYet:
            if future.done():
                return future.result()  # or the work's own timeout
            report()
