"""Short compressed streams, many at a time: the model decodes their blocks side by side, as one
stream alone leaves it waiting for the memory.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

from llmzip.blocks.decoder import BlockDecoder
from llmzip.blocks.local_decoder import KnownBlocks
from llmzip.buffers import Buffer, flat
from llmzip.container.block import Block
from llmzip.container.frame_reader import read_frames
from llmzip.container.header import FrameHeader
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.errors import LimitError, LLMZipError
from llmzip.runtime import Runtime
from llmzip.streams import decompress_with
from llmzip.types import Progress

SHORT_BYTES = 1 << 16
"""A compressed stream of at most so many bytes is short."""
GROUP_STREAMS = 128
"""Short streams that are looked through at once, at most; and of `GROUP_BYTES` together."""
GROUP_BYTES = 1 << 17
"""So that the first of them is not long in coming, and an interruption loses minutes of work at
most: what is decoded ahead of its turn is nowhere yet.
"""


def decompress_many(
    streams: Iterable[Buffer],
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    max_memory: int | None = None,
    max_output: int | None = None,
    runtime: Runtime | None = None,
) -> Iterator[bytes]:
    """Decompress several streams, short ones side by side; their contents, in order.

    Some streams are read ahead of what is returned. The arguments, and the errors, which come when
    it is the stream's turn, are those of `llmzip.decompress`; after an LLMZipError `next` goes on
    with the stream behind. max_memory and max_output hold for each stream, and max_memory for those
    side by side together.

    >>> packed = [llmzip.compress(text) for text in (b"To be, ", b"or not")]
    >>> b"".join(llmzip.decompress_many(packed))
    b'To be, or not'
    """
    return _Contents(streams, EngineLoader.of(model, dictionary, runtime), max_memory, max_output)


class _Contents(Iterator[bytes]):
    """The contents of streams. No generator: that would end with the first error."""

    def __init__(
        self,
        streams: Iterable[Buffer],
        loader: EngineLoader,
        max_memory: int | None,
        max_output: int | None,
    ) -> None:
        self._groups = _groups(flat(data, "decompress_many") for data in streams)
        self._loader = loader
        self._max_memory = max_memory
        self._max_output = max_output
        self._waiting: deque[memoryview] = deque()
        self._known: KnownBlocks = {}

    def __next__(self) -> bytes:
        if not self._waiting:
            self._waiting.extend(next(self._groups))
            self._known = decode_together(
                list(self._waiting), self._loader, max_memory=self._max_memory
            )
        decoder = BlockDecoder(
            self._loader,
            max_memory=self._max_memory,
            max_output=self._max_output,
            wants_all=True,
            known=self._known,
        )
        out = io.BytesIO()
        decompress_with(decoder, io.BytesIO(self._waiting.popleft()), out)
        return out.getvalue()


def decode_together(
    streams: Sequence[Buffer],
    loader: EngineLoader,
    *,
    max_memory: int | None = None,
    progress: Progress | None = None,
) -> KnownBlocks:
    """What the model makes of the blocks of short streams, as far as it decodes them side by side.

    What is damaged, too large or of a model that is not there is left out: a decoder that is given
    the result tells what is wrong with it.
    """
    known: KnownBlocks = {}
    for found in _blocks(streams).values():
        # Streams of one length end together, and leave no rows of a step empty.
        found.sort(key=lambda pair: -pair[1].size)
        decoder = BlockDecoder(loader, max_memory=max_memory, progress=progress, wants_all=True)
        headers: list[FrameHeader] = []
        blocks: list[Block] = []
        for header, block in found:
            with contextlib.suppress(LimitError):
                decoder.open_frame(header)
                headers.append(header)
                blocks.append(block)
        known |= decoder.know(blocks, headers)
    return known


def _blocks(
    streams: Sequence[Buffer],
) -> dict[tuple[bytes, bytes, int], list[tuple[FrameHeader, Block]]]:
    """The blocks of short streams by what their frames name, as far as they can be read."""
    found: dict[tuple[bytes, bytes, int], list[tuple[FrameHeader, Block]]] = defaultdict(list)
    for data in streams:
        if len(data) > SHORT_BYTES:
            continue
        with contextlib.suppress(LLMZipError):
            for frame in read_frames(io.BytesIO(data)):
                header = frame.header
                blocks = [(header, block) for block in frame]
                if header.fingerprint and not header.solid:
                    names = header.fingerprint, header.dictionary_id, header.mixing_version
                    found[names] += blocks
    return found


def _groups(streams: Iterable[memoryview]) -> Iterator[list[memoryview]]:
    """The streams in order, as many at a time as are looked through at once."""
    group: list[memoryview] = []
    size = 0
    for data in streams:
        if group and (len(group) == GROUP_STREAMS or size + len(data) > GROUP_BYTES):
            yield group
            group, size = [], 0
        group.append(data)
        size += len(data)
    if group:
        yield group
