"""Random payloads of each codec, with the bytes that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import lzma
import random
from collections.abc import Sequence
from typing import Any

import zstandard

from tests.golden import TEXT
from tests.reference_decoder.dictionary import Dictionary
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.frame import (
    LLM,
    META_TOKEN,
    RAW,
    XZ,
    ZSTD,
    mixing_version,
    varint,
)
from tests.reference_decoder.llm import (
    MIN_CAPACITY_BITS,
    StreamLayout,
    context_of,
    decode_streams,
    mixing_that_read,
    usual_layout,
)
from tests.reference_decoder.long_distance_matches import MIN_MATCH, NOTHING_LEFT
from tests.reference_decoder.meta_tokens import decode_counted
from tests.reference_decoder.mixing import Mixing
from tests.reference_decoder.model import Model
from tests.reference_decoder.range_decoder import BUCKET
from tests.tools.random_frames.symbols import Chooser

TRIES = 50
"""A drawn token may be one that stands for no text; then another payload is drawn."""


@dataclasses.dataclass
class Frame:
    """What the blocks of a frame share."""

    model: Model
    version: int
    dictionary: Dictionary | None
    solid: bool
    capacity_bits: int
    """Of the mixing that the blocks of a solid frame share."""
    before: bytes
    """What long-distance matches reach in front of the next block."""
    mixing: Mixing | None = None
    """What the blocks before have taught, in a solid frame."""

    @property
    def mixing_version(self) -> int:
        return mixing_version(self.version)

    @property
    def dictionary_tokens(self) -> tuple[int, ...]:
        return self.dictionary.tokens if self.dictionary else ()


@dataclasses.dataclass(frozen=True)
class Coded:
    """A payload, and its bytes."""

    codec: int
    payload: bytes
    text: bytes


def some_bytes(rng: random.Random) -> bytes:
    """Text, noise, zeros, repeats, or a bit of each."""
    size = rng.choice((1, 2, 15, 16, 17, 100, rng.randrange(1, 400)))
    start = rng.randrange(len(TEXT))
    kinds = (
        lambda: TEXT[start : start + size] or b"x",
        lambda: rng.randbytes(size),
        lambda: bytes(size),
        lambda: (rng.randbytes(rng.randrange(1, 9)) * size)[:size],
        lambda: b"\x7fELF" + b"\xe8\x10\x00\x00\x00\x90" * size,
    )
    return b"".join(rng.choice(kinds)() for _ in range(rng.choice((1, 1, 2, 3))))


def raw(rng: random.Random, frame: Frame) -> Coded:
    """Stored bytes."""
    text = some_bytes(rng)
    return Coded(RAW, text, text)


def zstd(rng: random.Random, frame: Frame) -> Coded:
    """A Zstandard frame with or without its own check and size."""
    text = some_bytes(rng)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        rng.choice((-5, 1, 3, 19, 22)),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        window_log=max(10, (len(text) - 1).bit_length()),
        write_checksum=rng.random() < 0.5,
        write_content_size=rng.random() < 0.5,
    )
    packed = zstandard.ZstdCompressor(compression_params=parameters).compress(text)
    return Coded(ZSTD, packed, text)


def xz(rng: random.Random, frame: Frame) -> Coded:
    """An LZMA2 stream with any parameters, with or without the x86 filter."""
    text = some_bytes(rng)
    lc, lp = rng.choice(((3, 0), (0, 2), (1, 3), (4, 0)))
    lzma2: dict[str, Any] = {"id": lzma.FILTER_LZMA2, "preset": rng.randrange(10)}
    lzma2 |= {"dict_size": 1 << 12, "lc": lc, "lp": lp, "pb": rng.randrange(5)}
    kind = rng.randrange(2)
    filters = [{"id": lzma.FILTER_X86}] * kind + [lzma2]
    packed = lzma.compress(text, lzma.FORMAT_RAW, filters=filters)
    return Coded(XZ, bytes([kind]) + packed, text)


def llm(rng: random.Random, frame: Frame) -> Coded:
    """Random tokens in random streams, mostly such as the model expects."""
    model, tokens = frame.model, rng.choice((1, 2, 5, rng.randrange(1, 40), rng.randrange(1, 90)))
    context = context_of(frame.dictionary_tokens, model.spec)
    head, layout = random_layout(rng, frame, tokens, len(context))
    for _ in range(TRIES):
        chooser, mixing = Chooser.drawing(rng), first_mixing(frame, layout.capacity_bits)
        try:
            text = decode_streams(chooser, model, layout, mixing, context)
        except DecodeError:
            continue
        if frame.solid and mixing:
            frame.mixing = mixing
        return Coded(LLM, head + chooser.finish(tokens, rng), text)
    raise RuntimeError("no tokens that stand for text are found")


def random_layout(
    rng: random.Random, frame: Frame, tokens: int, context: int
) -> tuple[bytes, StreamLayout]:
    """The beginning of a payload, and what it says."""
    usual = usual_layout(tokens, context, len(frame.dictionary_tokens))
    bits = frame.capacity_bits if frame.solid else MIN_CAPACITY_BITS
    if rng.random() < 0.3 and (not frame.solid or usual.capacity_bits == bits):
        return varint(tokens) + varint(0), usual
    positions = frame.model.spec.max_positions
    fewest = -(-tokens // (positions - context))
    streams = min(tokens, max(fewest, rng.choice((1, 1, 2, 3, 8, tokens))))
    smallest = max(1, -(-context // 64))
    window = rng.choice((smallest, smallest, -(-positions // 64)))
    layout = StreamLayout(tokens, streams, 64 * window, rng.choice((0, bits, bits)))
    numbers = (tokens, streams, window, layout.capacity_bits)
    return b"".join(map(varint, numbers)), layout


def first_mixing(frame: Frame, capacity_bits: int) -> Mixing | None:
    """What a block begins with, to be changed."""
    if not capacity_bits:
        return None
    if frame.mixing:
        return copy.deepcopy(frame.mixing)
    tokens, model, version = frame.dictionary_tokens, frame.model, frame.mixing_version
    return kept_mixing(tokens, capacity_bits, model, version)


def kept_mixing(tokens: Sequence[int], capacity_bits: int, model: Model, version: int) -> Mixing:
    """As `mixing_that_read`, which takes long, but each is learned once and copied."""
    key = (model.fingerprint, tuple(tokens), capacity_bits, version)
    if key not in _read:
        _read[key] = mixing_that_read(tokens, capacity_bits, model, version)
    return copy.deepcopy(_read[key])


_read: dict[tuple[bytes, tuple[int, ...], int, int], Mixing] = {}


def meta_token(rng: random.Random, frame: Frame) -> Coded:
    """Random tokens in random brackets."""
    spec = frame.model.spec
    sound = [t for t, text in enumerate(frame.model.token_bytes) if text] + [spec.escape_token]
    symbols, metas, tokens = random_symbols(rng, sound, spec.vocab)
    planned: list[int] = []
    done = 0
    while done < len(symbols):
        group = symbols[done : done + max(16, min(256, done // 8))]
        planned += [symbol // BUCKET for symbol in group] + [symbol % BUCKET for symbol in group]
        done += len(group)
    chooser, counts = Chooser.drawing(rng, planned), (tokens, len(symbols), metas)
    text = decode_counted(chooser, counts, frame.model)
    head = b"".join(map(varint, counts))
    return Coded(META_TOKEN, head + chooser.finish(len(symbols), rng), text)


def random_symbols(rng: random.Random, sound: list[int], vocab: int) -> tuple[list[int], int, int]:
    """Symbols, how many brackets are among them, and how many tokens they stand for."""
    sizes: list[int] = []

    def item(depth: int) -> tuple[list[int], int]:
        kind = rng.random()
        if kind < 0.15 and depth < 3:
            inner = [item(depth + 1) for _ in range(rng.choice((2, 2, 3, 5)))]
            size = sum(count for _, count in inner)
            sizes.append(size)
            return [vocab, *(s for part, _ in inner for s in part), vocab + 1], size
        if kind < 0.3 and sizes and min(sizes) < 200:
            k = rng.choice([k for k, size in enumerate(sizes) if size < 200])
            return [vocab + 2 + k], sizes[k]
        return [rng.choice(sound) if rng.random() < 0.5 else rng.choice(sound[:100])], 1

    items = [item(0) for _ in range(rng.choice((1, 3, rng.randrange(1, 60), 300)))]
    return [s for part, _ in items for s in part], len(sizes), sum(size for _, size in items)


def matches(rng: random.Random, frame: Frame, inner: Coded | None) -> tuple[bytes, bytes]:
    """The payload and the bytes of long-distance matches around literals, or, without those, of
    matches alone."""
    literals = inner.text if inner else b""
    out, numbers, last, used = bytearray(frame.before), [], 0, 0
    count = rng.randrange(0 if literals else 1, 5)
    for _ in range(count):
        run = rng.choice((0, min(1, len(literals) - used), rng.randrange(len(literals) - used + 1)))
        run = run if out or run else min(1, len(literals) - used)
        out += literals[used : used + run]
        used += run
        offset = rng.choice((1, len(out), last or 1, rng.randrange(1, len(out) + 1)))
        length = rng.choice((MIN_MATCH, MIN_MATCH + 1, rng.randrange(MIN_MATCH, 300)))
        numbers += [run, length, 0 if offset == last and rng.random() < 0.7 else offset]
        last = offset
        for _ in range(length):
            out.append(out[-offset])
    out += literals[used:]
    head = bytes([inner.codec if inner else NOTHING_LEFT])
    head += b"".join(map(varint, [count, *numbers]))
    return head + (inner.payload if inner else b""), bytes(out[len(frame.before) :])


MAKERS = {RAW: raw, ZSTD: zstd, XZ: xz, LLM: llm, META_TOKEN: meta_token}
"""By codec."""
