"""What lies where in a file: frames, blocks, and the tokens, matches and other parts of its
text.
"""

from __future__ import annotations

import dataclasses
import enum
import io
from collections.abc import Collection, Iterator, Sequence

from llmzip.codecs.long_distance import parse_payload
from llmzip.codecs.match_finder import Match
from llmzip.container.block import Block
from llmzip.container.checks import check_bytes
from llmzip.container.codec_ids import CodecId
from llmzip.container.frame_reader import FrameReader, read_frames
from llmzip.container.varint import varint
from llmzip.view.recorder import CodedTokens


class Kind(enum.IntEnum):
    """What a part of the text is."""

    TOKEN = 0
    """The next token of the model."""
    REST = 1
    """More of the token before, behind a match that lies in it."""
    MATCH = 2
    """The next long-distance match."""
    OTHER = 3
    """The next run of bytes that another codec has coded."""


@dataclasses.dataclass(frozen=True)
class Copied:
    """A long-distance match."""

    start: int
    size: int
    source: int
    """Where in the text its bytes stand before; negative: in the dictionary."""
    bits: int


@dataclasses.dataclass(frozen=True)
class Run:
    """Bytes that a codec other than the model has coded, with their share of the payload."""

    start: int
    size: int
    bits: float


@dataclasses.dataclass(frozen=True)
class FrameFacts:
    """A frame, and its bytes beside the blocks."""

    start: int
    """In the text."""
    size: int
    version: int
    model: str
    solid: bool
    has_dictionary: bool
    header_bytes: int
    check_bytes: int
    index_bytes: int
    """With the end byte."""

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.header_bytes + self.check_bytes + self.index_bytes


@dataclasses.dataclass(frozen=True)
class BlockFacts:
    """A block, and where its bytes are."""

    frame: int
    start: int
    """In the text."""
    size: int
    codec: str
    head_bytes: int
    """Codec and sizes, and the parameters of the model's payload."""
    check_bytes: int
    match_bytes: int
    payload_bytes: int
    """What is left: tokens, or what another codec has made."""
    payload: int | None
    """The number of the model's payload."""

    @property
    def bytes(self) -> int:
        """All of them."""
        return self.head_bytes + self.check_bytes + self.match_bytes + self.payload_bytes


@dataclasses.dataclass
class Layout:
    """A file, taken apart."""

    frames: list[FrameFacts] = dataclasses.field(default_factory=list)
    blocks: list[BlockFacts] = dataclasses.field(default_factory=list)
    matches: list[Copied] = dataclasses.field(default_factory=list)
    runs: list[Run] = dataclasses.field(default_factory=list)
    kinds: list[int] = dataclasses.field(default_factory=list)
    """Of the parts of the text, in order."""
    sizes: list[int] = dataclasses.field(default_factory=list)
    """Bytes of the parts."""

    @property
    def bytes(self) -> int:
        """Of all frames and blocks."""
        return sum([*(f.bytes for f in self.frames), *(b.bytes for b in self.blocks)])

    def add(self, kind: Kind, size: int) -> None:
        """The next part."""
        self.kinds.append(kind)
        self.sizes.append(size)


def layout_of(
    packed: bytes, payloads: Sequence[CodedTokens], blocks: Collection[int] | None = None
) -> Layout:
    """Take a sound file apart; payloads: those of its blocks of the codec llm.

    blocks: the numbers, one behind the other, of those that count; None: all. Frames without such
    are left out.
    """
    layout = Layout()
    coded = iter(enumerate(payloads))
    start = number = 0
    for frame in read_frames(io.BytesIO(packed)):
        begin, counted = start, blocks is None
        for block in frame:
            if blocks is None or number in blocks:
                _add_block(layout, frame, block, start, begin, coded)
                start += block.size
                counted = True
            number += 1
        if counted:
            layout.frames.append(_frame_facts(frame, begin, start - begin))
    return layout


def _frame_facts(frame: FrameReader, start: int, size: int) -> FrameFacts:
    assert frame.content_check is not None
    header = frame.header
    header_bytes = frame.first_block_offset - frame.offset
    blocks = sum(size for size, _ in frame.entries)
    check = len(frame.content_check)
    return FrameFacts(
        start,
        size,
        header.version,
        header.fingerprint.hex(),
        header.solid,
        bool(header.dictionary_id),
        header_bytes,
        check,
        frame.compressed_size - header_bytes - blocks - check,
    )


def _add_block(
    layout: Layout,
    frame: FrameReader,
    block: Block,
    start: int,
    frame_start: int,
    payloads: Iterator[tuple[int, CodedTokens]],
) -> None:
    """Note a block that begins at `start`, in a frame that begins at `frame_start`."""
    matches, match_bytes = _matches_of(block)
    number, tokens = next(payloads) if block.inner == CodecId.LLM else (None, None)
    parameters = tokens.parameter_bytes if tokens else 0
    whole, check = frame.entries[-1][0], check_bytes(frame.is_short)
    coded = len(block.payload) - match_bytes - parameters
    layout.blocks.append(
        BlockFacts(
            frame=len(layout.frames),
            start=start,
            size=block.size,
            codec=_codec_name(block),
            head_bytes=whole - len(block.payload) - check + parameters,
            check_bytes=check,
            match_bytes=match_bytes,
            payload_bytes=coded,
            payload=number,
        )
    )
    literals = (
        _TokenParts(layout, tokens)
        if tokens
        else _RunParts(layout, block.size - sum(match.match_length for match in matches), coded)
    )
    earliest = frame_start if frame.header.solid else start
    position = start
    offset = 0
    for match in matches:
        literals.take(position, match.literal_length)
        position += match.literal_length
        fields = match.literal_length, match.match_length, match.offset * (match.offset != offset)
        bits = 8 * sum(len(varint(field)) for field in fields)
        offset = match.offset
        source = position - offset if position - offset >= earliest else -1
        layout.matches.append(Copied(position, match.match_length, source, bits))
        layout.add(Kind.MATCH, match.match_length)
        position += match.match_length
    literals.take(position, start + block.size - position)


class _TokenParts:
    """Lays out literals that are tokens."""

    def __init__(self, layout: Layout, tokens: CodedTokens) -> None:
        words = tokens.vocabulary
        sizes = [len(text) for text in words.token_bytes]
        self._sizes = iter(1 if i == words.escape_token else sizes[i] for i in tokens.ids.tolist())
        self._layout = layout
        self._left = 0  # of the token at hand

    def take(self, position: int, size: int) -> None:
        """The next so many literals, at this position of the text."""
        while size:
            kind = Kind.REST if self._left else Kind.TOKEN
            self._left = self._left or next(self._sizes)
            part = min(self._left, size)
            self._layout.add(kind, part)
            self._left -= part
            size -= part


class _RunParts:
    """Lays out literals of another codec, which have the mean of their bits."""

    def __init__(self, layout: Layout, size: int, coded: int) -> None:
        """size: of the literals; coded: the bytes of their payload."""
        self._bits = 8 * coded / max(1, size)
        self._layout = layout

    def take(self, position: int, size: int) -> None:
        """See `_TokenParts.take`."""
        if size:
            self._layout.add(Kind.OTHER, size)
            self._layout.runs.append(Run(position, size, size * self._bits))


def _matches_of(block: Block) -> tuple[list[Match], int]:
    """The matches of a block, and the bytes that they take in its payload."""
    if block.codec != CodecId.LONG_DISTANCE:
        return [], 0
    parsed = parse_payload(block.payload, block.size)
    return list(parsed.matches), len(block.payload) - len(parsed.inner_payload)


def _codec_name(block: Block) -> str:
    names = [
        codec.label
        for number in dict.fromkeys([block.codec, block.inner])
        if (codec := CodecId.find(number))
    ]
    return ", ".join(names)
