"""Mutants: parts of frames are changed and the frames written anew, so that all checks but the
content's hold."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import random
import zlib
from collections.abc import Callable, Sequence

from llmzip.container.block import Block
from llmzip.container.checks import CHECK_BYTES
from llmzip.container.codec_ids import END_OF_BLOCKS, CodecId
from llmzip.container.frame_reader import read_frames
from llmzip.container.header import FrameHeader
from llmzip.container.index import Entries, index_bytes
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import LLMZipError
from tests.tools.mutation.kinds import Kind, kinds

EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    22,
    23,
    63,
    64,
    127,
    128,
    255,
    256,
    512,
    600,
    602,
    1 << 12,
    1 << 14,
    (1 << 16) - 1,
)
EDGES += (
    1 << 16,
    1 << 20,
    1 << 22,
    (1 << 26) - 1,
    1 << 26,
    (1 << 26) + 1,
    1 << 31,
    1 << 32,
    1 << 53,
    (1 << 63) - 1,
)


@dataclasses.dataclass
class Frame:
    """One frame in parts that can be changed."""

    header: FrameHeader
    blocks: list[Block]
    check: bytes
    listed: Entries | None = None
    """What the index says; None: the truth."""

    def to_bytes(self) -> bytes:
        """The frame with checks that hold, and the content check that it had."""
        entries, out = [], self.header.to_bytes()
        for i, block in enumerate(self.blocks):
            written = block.to_bytes(None if i else self.header)
            entries.append((len(written), block.size))
            out += written
        end = b"" if self.header.single_block else bytes([END_OF_BLOCKS])
        has_index = not self.header.single_block and len(self.blocks) > 1
        return out + end + self.check + (index_bytes(self.listed or entries) if has_index else b"")


def parse(data: bytes) -> list[Frame]:
    """The frames of sound data."""
    frames = []
    for frame in read_frames(io.BytesIO(data)):
        blocks = list(frame)
        assert frame.content_check is not None
        frames.append(Frame(frame.header, blocks, frame.content_check))
    return frames


def mutant(kind: Kind, source: random.Random) -> bytes:
    """Some sound data with one to three changes."""
    if kind.codec is not None:
        return _framed(kind.data, source)
    if source.random() < 0.15:
        return damaged(kind.data, source)
    frames = parse(kind.data)
    for _ in range(source.choice((1, 1, 1, 2, 3))):
        # An earlier change may have left nothing of what this one is for.
        with contextlib.suppress(LLMZipError):
            source.choices(_CHANGES, _WEIGHTS)[0](source.choice(frames), source)
    data = b"".join(frame.to_bytes() for frame in frames)
    return damaged(data, source) if source.random() < 0.03 else data


def damaged(data: bytes, source: random.Random) -> bytes:
    """The bytes changed with no regard to what they are."""
    out = bytearray(data)
    place = source.randrange(len(out) + 1)
    match source.randrange(6):
        case 0:
            out[place : place + 1] = source.randbytes(1)
        case 1:
            if place < len(out):
                out[place] ^= 1 << source.randrange(8)
        case 2:
            del out[place:]
        case 3:
            del out[place : place + source.randint(1, 9)]
        case 4:
            out[place:place] = source.randbytes(source.randint(1, 9))
        case _:
            size = source.choice((1, 2, 4, 8, 64))
            out[place : place + size] = bytes([source.choice((0, 255))]) * size
    return bytes(out)


def _framed(data: bytes, source: random.Random) -> bytes:
    """A codec's data by itself: size, payload, and a CRC-32 that holds."""
    reader = ByteReader(io.BytesIO(data))
    size = reader.varint("the size")
    payload = data[reader.offset : -CHECK_BYTES]
    if source.random() < 0.3:
        size = _number(size, source)
    else:
        payload = _payload(payload, source)
    body = varint(size) + payload
    return body + zlib.crc32(body).to_bytes(CHECK_BYTES, "little")


# ---- changes of a frame
# ----------------------------------------------------------------------------------------------


def _header(frame: Frame, source: random.Random) -> None:
    """Another value of a field, whatever fields there are."""
    field = source.choice(dataclasses.fields(frame.header))
    value = getattr(frame.header, field.name)
    if isinstance(value, bool):
        value = not value
    elif isinstance(value, int):
        values = 16 if field.name == "version" else 256  # as there are bits
        value = source.choice((0, 1, value - 1, value + 1, 255, source.randrange(256))) % values
    elif value and source.random() < 0.5:
        value = damaged(value, source)[: len(value)].ljust(len(value), b"\0")
    else:
        value = b"" if value else source.randbytes(source.choice((2, 4, 8)))
    frame.header = dataclasses.replace(frame.header, **{field.name: value})


def _block(frame: Frame, source: random.Random) -> int | None:
    return source.randrange(len(frame.blocks)) if frame.blocks else None


def _codec(frame: Frame, source: random.Random) -> None:
    if (i := _block(frame, source)) is not None:
        codec = source.choice([*CodecId, 7, 255])
        frame.blocks[i] = dataclasses.replace(frame.blocks[i], codec=codec)


def _size(frame: Frame, source: random.Random) -> None:
    if (i := _block(frame, source)) is not None:
        frame.blocks[i] = dataclasses.replace(
            frame.blocks[i], size=_number(frame.blocks[i].size, source)
        )


def _content(frame: Frame, source: random.Random) -> None:
    if (i := _block(frame, source)) is not None:
        payload = _payload(frame.blocks[i].payload, source)
        frame.blocks[i] = dataclasses.replace(frame.blocks[i], payload=payload)


def _matches(frame: Frame, source: random.Random) -> None:
    """One number of the matches; in a block without any, some that are made up."""
    if (i := _block(frame, source)) is None:
        return
    block = frame.blocks[i]
    if block.codec != CodecId.LONG_DISTANCE:
        numbers = [
            1,
            source.randrange(40),
            source.choice((16, 17, block.size, 300)),
            source.choice(EDGES),
        ]
        payload = bytes([block.codec]) + b"".join(map(varint, numbers)) + block.payload
        frame.blocks[i] = Block(CodecId.LONG_DISTANCE, block.size + numbers[2], payload)
        return
    reader = ByteReader(io.BytesIO(block.payload))
    inner, count = reader.byte("a mutant"), reader.varint("a mutant")
    numbers = [count, *(reader.varint("a mutant") for _ in range(3 * count))]
    place = source.randrange(len(numbers) + 1)
    if place == len(numbers):
        inner = source.choice([0, *CodecId])
    else:
        numbers[place] = _number(numbers[place], source)
    payload = bytes([inner]) + b"".join(map(varint, numbers)) + block.payload[reader.offset :]
    frame.blocks[i] = dataclasses.replace(block, payload=payload)


def _transplant(frame: Frame, source: random.Random) -> None:
    """A block of any other frame."""
    other = source.choice([kind for kind in kinds() if kind.codec is None])
    blocks = [block for one in parse(other.data) for block in one.blocks]
    if blocks:
        place = source.randrange(len(frame.blocks) + 1)
        frame.blocks[place : place + source.randrange(2)] = [source.choice(blocks)]


def _order(frame: Frame, source: random.Random) -> None:
    if (i := _block(frame, source)) is None:
        return
    match source.randrange(3):
        case 0:
            del frame.blocks[i]
        case 1:
            frame.blocks.insert(i, frame.blocks[i])
        case _:
            source.shuffle(frame.blocks)


def _index(frame: Frame, source: random.Random) -> None:
    """An index that lies, with a check that holds."""
    listed = [(len(block.to_bytes()), block.size) for block in frame.blocks] or [(1, 1)]
    i = source.randrange(len(listed))
    match source.randrange(4):
        case 0:
            listed[i] = (_number(listed[i][0], source), listed[i][1])
        case 1:
            listed[i] = (listed[i][0], _number(listed[i][1], source))
        case 2:
            del listed[i]
        case _:
            listed.insert(i, listed[i])
    frame.listed = listed


_CHANGES: Sequence[Callable[[Frame, random.Random], object]] = (
    _content, _matches, _size, _header, _codec, _index, _transplant, _order,
)  # fmt: skip
_WEIGHTS = (10, 4, 3, 3, 2, 2, 2, 2)


# ---- changes of a payload and of numbers
# -----------------------------------------------------------------------------


def _payload(payload: bytes, source: random.Random) -> bytes:
    """Random damage, or one of the numbers at the beginning changed."""
    if not payload or source.random() < 0.5:
        return damaged(payload, source)
    reader = ByteReader(io.BytesIO(payload))
    numbers: list[int] = []
    starts = [0]
    wanted = source.randint(1, 5)
    try:
        while len(numbers) < wanted:
            numbers.append(reader.varint("a mutant"))
            starts.append(reader.offset)
    except LLMZipError:
        pass
    if not numbers:
        return damaged(payload, source)
    i = len(numbers) - 1
    return payload[: starts[i]] + varint(_number(numbers[i], source)) + payload[starts[i + 1] :]


def _number(value: int, source: random.Random) -> int:
    return max(
        0, source.choice((value - 1, value + 1, 2 * value, value // 2, *source.sample(EDGES, 4)))
    ) % (1 << 63)
