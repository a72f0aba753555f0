"""What is done with a mutant: every way of reading, and the verdict."""

from __future__ import annotations

import io
import random

import xxhash

import llmzip
from llmzip.container.frame_reader import read_frames
from llmzip.errors import LLMZipError
from tests.tools.mutation.kinds import TWO_FRAMES, Kind, native
from tests.tools.mutation.mutants import parse

MAX_MEMORY = 256 << 20
MAX_OUTPUT = 1 << 17
PIECE = 700

RIGHT, ERROR, CHANCE, FAULT = "right", "error", "chance", "FAULT"


class FaultError(Exception):
    """A decoder has done what it must not."""


def examine(data: bytes, kind: Kind, source: random.Random) -> str:
    """RIGHT, ERROR, or CHANCE where a check that is too short to notice let other bytes through.
    Raises FaultError."""
    if kind.codec is not None:
        return _framed(data, kind)
    options = {**native(), **kind.needs, "max_memory": MAX_MEMORY}
    if source.random() < 0.002:
        options["runtime"] = llmzip.Runtime(engine="torch")
    try:
        out: bytes | None = llmzip.decompress(data, max_output=MAX_OUTPUT, **options)
    except LLMZipError as error:
        _must_not_be_memory(error)
        out = None
    other = source.randrange(8)
    if other < len(_OTHERS):
        _OTHERS[other](data, out, options)
    if out is None:
        return ERROR
    return RIGHT if out == kind.content else _excused(data, out, kind)


def _excused(data: bytes, out: bytes, kind: Kind) -> str:
    """Whether other bytes than the right ones are what the file really says."""
    if kind.name == TWO_FRAMES and out in _concatenations(kind):
        return RIGHT
    for frame in parse(data):
        size = sum(block.size for block in frame.blocks)
        if (
            xxhash.xxh3_64_intdigest(out[:size]).to_bytes(8, "little")[: len(frame.check)]
            != frame.check
        ):
            raise FaultError("wrong bytes, and the content check says so")
        if len(frame.check) > 2 and size:
            raise FaultError("wrong bytes with a content check of 32 bits")
        out = out[size:]
    return CHANCE


def _concatenations(kind: Kind) -> list[bytes]:
    sizes = [sum(block.size for block in frame.blocks) for frame in parse(kind.data)]
    one, two = kind.content[: sizes[0]], kind.content[sizes[0] :]
    return [one, two, two + one, one + one, two + two]


def _framed(data: bytes, kind: Kind) -> str:
    """Of a codec by itself nothing but the size is known once the CRC holds."""
    assert kind.codec is not None
    try:
        out = kind.codec.decode(data)
    except LLMZipError as error:
        _must_not_be_memory(error)
        return ERROR
    return RIGHT if out == kind.content else CHANCE


def _must_not_be_memory(error: LLMZipError) -> None:
    if isinstance(error.__cause__, MemoryError):
        raise FaultError(f"an allocation that failed: {error}") from error


# ---- other ways of reading, which have to agree
# ----------------------------------------------------------------------

Options = dict[str, object]


def _in_pieces(data: bytes, expected: bytes | None, options: Options) -> None:
    out, rest = b"", data
    try:
        while rest:
            decompressor = llmzip.LLMZipDecompressor(max_output=MAX_OUTPUT - len(out), **options)  # type: ignore[arg-type]
            while rest and not decompressor.eof:
                out += decompressor.decompress(rest[:PIECE])
                rest = rest[PIECE:]
            while not decompressor.eof and not decompressor.needs_input:
                out += decompressor.decompress(b"")
            if not decompressor.eof:
                break
            rest = decompressor.unused_data + rest
        else:
            if data and out != expected:
                raise FaultError("pieces give other bytes than the whole")
            return
    except LLMZipError as error:
        _must_not_be_memory(error)
    if expected is not None:
        raise FaultError("pieces fail where the whole does not")


def account(data: bytes, kind: Kind) -> int:
    """The bytes that decoding may take: what the frames state, as far as -M allows it."""
    if kind.codec is not None:
        return 0
    memory, _, whole = _claims(data)
    return min(memory, MAX_MEMORY) if whole else MAX_MEMORY


def _claims_little(data: bytes) -> bool:
    """Whether the blocks up to the first fault claim no more than may be decoded: file objects have
    no limit of output."""
    return _claims(data)[1] <= MAX_OUTPUT


def _claims(data: bytes) -> tuple[int, int, bool]:
    """The memory and the content that frames claim up to the first fault, and whether all headers
    could be read."""
    memory, size, whole = 0, 0, False
    try:
        frames = read_frames(io.BytesIO(data))
        while True:
            whole = False
            if (frame := next(frames, None)) is None:
                return memory, size, True
            memory, whole = (
                max(memory, frame.header.memory if frame.header.states_all_memory else MAX_MEMORY),
                True,
            )
            for block in frame:
                size += block.size
    except LLMZipError:
        pass
    return memory, size, whole


def _as_file(data: bytes, expected: bytes | None, options: Options) -> None:
    if not _claims_little(data):
        return
    try:
        with llmzip.LLMZipFile(io.BytesIO(data), **options) as file:  # type: ignore[arg-type]
            out = file.read(MAX_OUTPUT + 1)
    except LLMZipError as error:
        _must_not_be_memory(error)
        if expected is not None:
            raise FaultError("a file object fails where decompress does not") from error
        return
    if expected is not None and out != expected:
        raise FaultError("a file object gives other bytes than decompress")


def _by_seeking(data: bytes, expected: bytes | None, options: Options) -> None:
    if not _claims_little(data):
        return
    try:
        with llmzip.LLMZipFile(io.BytesIO(data), **options) as file:  # type: ignore[arg-type]
            end = file.seek(0, io.SEEK_END)
            if expected is not None and end != len(expected):
                raise FaultError("an end that is none")
            for place in (end - 10, end // 2, 0):
                place = max(place, 0)
                file.seek(place)
                out = file.read(20)
                if expected is not None and out != expected[place : place + 20]:
                    raise FaultError("other bytes after a seek")
    except LLMZipError as error:
        _must_not_be_memory(error)
        if expected is not None:
            raise FaultError("a seek fails where decompress does not") from error


def _listed(data: bytes, expected: bytes | None, options: Options) -> None:
    try:
        frames = llmzip.list_frames(io.BytesIO(data))
    except LLMZipError as error:
        if expected is not None:
            raise FaultError("a list fails where decompress does not") from error
        return
    if expected is not None and sum(frame.uncompressed_size for frame in frames) != len(expected):
        raise FaultError("a list that says another size")


def _repaired(data: bytes, expected: bytes | None, options: Options) -> None:
    sink = io.BytesIO()
    try:
        report = llmzip.repair_stream(io.BytesIO(data), sink, max_output=MAX_OUTPUT, **options)  # type: ignore[arg-type]
    except LLMZipError as error:
        _must_not_be_memory(error)
        if expected is not None:
            raise FaultError("repair fails where decompress does not") from error
        return
    if expected is not None and not (report.is_sound and sink.getvalue() == expected):
        raise FaultError("repair finds fault with what decompresses")
    if expected is None and report.is_sound and not report.damages and report.blocks:
        raise FaultError("repair finds no fault with what does not decompress")


_OTHERS = (_in_pieces, _as_file, _by_seeking, _listed, _repaired)
