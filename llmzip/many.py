"""Short contents and streams, many at a time: the model codes their blocks side by side, as one
alone leaves a processor waiting for the memory, and a device for the host.
"""

from __future__ import annotations

import contextlib
import io
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence

from llmzip.blocks.decoder import BlockDecoder
from llmzip.blocks.encoder import BlockEncoder
from llmzip.blocks.local_decoder import KnownBlocks
from llmzip.blocks.local_encoder import KnownTexts
from llmzip.blocks.options import CompressionOptions
from llmzip.buffers import Buffer, flat
from llmzip.codecs.llm import LLMCodec
from llmzip.compressor import LLMZipCompressor
from llmzip.container.block import Block
from llmzip.container.frame_reader import read_frames
from llmzip.container.header import FrameHeader
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.errors import LimitError, LLMZipError
from llmzip.levels import chosen_level
from llmzip.runtime import Runtime
from llmzip.streams import decompress_with
from llmzip.types import Progress

SHORT_BYTES = 1 << 16
"""A content, or a compressed stream, of at most so many bytes is short."""
GROUP_STREAMS = 128
"""Short ones that are looked through at once, at most; and of so many bytes together:"""
GROUP_BYTES = 1 << 17
"""Streams: so that the first of them is not long in coming, and an interruption loses minutes of
work at most, as what is decoded ahead of its turn is nowhere yet.
"""
GROUP_CONTENT_BYTES = 1 << 20
"""Contents, for the same reason."""


def compress_many(
    contents: Iterable[Buffer],
    level: int | None = None,
    *,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    block_lines: int | None = None,
    codec: str | None = None,
    mixing: bool = True,
    solid: bool = False,
    runtime: Runtime | None = None,
) -> Iterator[bytes]:
    """Compress several contents, each into a stream of its own, the one that `llmzip.compress`
    makes of it; short ones side by side, where the engine gains by that (on a GPU). In order.

    Some contents are read ahead of what is returned. The arguments and the errors are those of
    `llmzip.compress`; an error comes behind the streams of what was before it.

    >>> list(map(llmzip.decompress, llmzip.compress_many([b"To be, ", b"or not"])))
    [b'To be, ', b'or not']
    """
    options = CompressionOptions(
        level=chosen_level(level),
        block_size=block_size,
        block_lines=block_lines,
        codec=codec,
        mixing=mixing,
        solid=solid,
    )
    loader = EngineLoader.of(model, dictionary, runtime)
    pieces = (_unchanging(flat(data, "compress_many")) for data in contents)
    return _streams(pieces, options, loader)


def _streams(
    contents: Iterator[memoryview], options: CompressionOptions, loader: EngineLoader
) -> Iterator[bytes]:
    for group in _groups(contents, GROUP_CONTENT_BYTES):
        known = encode_together(group, options, loader)
        for data in group:
            compressor = LLMZipCompressor.with_options(
                options,
                model=loader.model,
                dictionary=loader.dictionary,
                runtime=loader.runtime,
                known=known,
            )
            yield compressor.compress(data) + compressor.flush()


def encode_together(
    contents: Sequence[Buffer],
    options: CompressionOptions,
    loader: EngineLoader,
    *,
    progress: Progress | None = None,
) -> KnownTexts:
    """The blocks of short contents of one block, encoded side by side as far as the engine gains by
    that. Each is what a compressor with the same options makes of it, and may be given to one.

    Nothing where that fails, as where some need a model that is not there: a compressor tells what
    is wrong with each.
    """
    is_apart = not options.solid and options.block_lines is None and loader.runtime.pool is None
    if not is_apart or options.codec not in (None, LLMCodec.name):
        return {}
    encoder = BlockEncoder(loader, options, progress or (lambda size, tokens: None))
    most = min(SHORT_BYTES, encoder.block_size)
    short = {bytes(data) for data in contents if 0 < len(data) <= most}
    # Contents of one length end together, and leave no rows of a step empty.
    pieces = sorted(short, key=lambda data: (-len(data), data))
    if len(pieces) < 2:
        return {}
    try:
        blocks = encoder.encode_apart(pieces, reaches_back=True)
    except (LLMZipError, OSError, MemoryError):
        return {}
    whole = zip(pieces, blocks, strict=True)
    return {data: block for data, block in whole if block.size == len(data)}


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
        pieces = (_unchanging(flat(data, "decompress_many")) for data in streams)
        self._groups = _groups(pieces, GROUP_BYTES)
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


def _unchanging(data: memoryview) -> memoryview:
    """The bytes as they are now: a caller may read the next ones into the same buffer, and what is
    read ahead would change.
    """
    return data if data.readonly else memoryview(bytes(data))


def _groups(streams: Iterable[memoryview], most: int) -> Iterator[list[memoryview]]:
    """The streams in order, as many at a time as are looked through at once: of so many bytes at
    most, or one. Where the next one cannot be had, those before it come first.
    """
    group: list[memoryview] = []
    size = 0
    try:
        for data in streams:
            if group and (len(group) == GROUP_STREAMS or size + len(data) > most):
                yield group
                group, size = [], 0
            group.append(data)
            size += len(data)
    except Exception:
        if group:
            yield group
        raise
    if group:
        yield group
