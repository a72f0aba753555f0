"""Random frames: header, blocks, checks, index."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator

from tests.golden import TEXT
from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.dictionary import Dictionary, read_dictionary
from tests.reference_decoder.frame import (
    LLM,
    MAGIC,
    MATCHES,
    MODEL_CODECS,
    SHORT,
    VERSIONS,
    Block,
    block_check,
    content_check,
    index_of,
    varint,
)
from tests.reference_decoder.llm import context_of, read_layout
from tests.reference_decoder.meta_tokens import read_counts
from tests.reference_decoder.model import Model
from tests.reference_decoder.working_memory import (
    block_bytes,
    code_for,
    llm_bytes,
    meta_token_bytes,
)
from tests.tools.random_frames.payloads import MAKERS, Coded, Frame, matches

DICTIONARY = TEXT[:90] + b"\x04 caf\xe9 " + TEXT[90:160]
"""What frames with a dictionary need."""
MAX_EXPANSION = 64


@dataclasses.dataclass(frozen=True)
class Made:
    """A block as it will be written."""

    codec: int
    size: int
    payload: bytes
    need: int
    """Of memory, as the format counts it."""
    needs_model: bool
    text: bytes

    def body(self) -> bytes:
        """All but the check."""
        sizes = varint(self.size) + varint(len(self.payload))
        return bytes([self.codec]) + sizes + self.payload


def random_files(count: int, seed: int, model: Model) -> Iterator[tuple[bytes, bytes]]:
    """Files of one frame or a few, each with its bytes; file i is always the same."""
    dictionary = read_dictionary(DICTIONARY, model)
    for number in range(count):
        rng = random.Random(f"{seed}:{number}")
        frames = [
            random_frame(rng, model, dictionary) for _ in range(rng.choice((1, 1, 1, 1, 2, 3)))
        ]
        yield b"".join(data for data, _ in frames), b"".join(text for _, text in frames)


def random_frame(rng: random.Random, model: Model, dictionary: Dictionary) -> tuple[bytes, bytes]:
    """A frame and its bytes."""
    single, solid = rng.random() < 0.5, rng.random() < 0.3
    names_model = rng.random() < 0.8
    given = dictionary if names_model and rng.random() < 0.3 else None
    before = given.text if given else b""
    version = rng.choice((*VERSIONS, VERSIONS[-1]))
    frame = Frame(model, version, given, solid, rng.choice((8, 8, 9, 12)), before)
    count = 1 if single else rng.choice((0, 1, 2, 3, 4))
    blocks = [random_block(rng, frame, names_model) for _ in range(count)]
    header = header_bytes(rng, model, frame, blocks, single, names_model)
    content = b"".join(block.text for block in blocks)
    is_short = single and len(content) < SHORT
    out, placed = header, list[Block]()
    for block in blocks:
        body = block.body()
        body += block_check((b"" if placed else header) + body, is_short)
        placed.append(Block(block.codec, block.size, block.payload, len(body)))
        out += body
    out += (b"" if single else b"\0") + content_check(content, is_short)
    return out + (index_of(placed) if len(placed) > 1 else b""), content


def header_bytes(
    rng: random.Random,
    model: Model,
    frame: Frame,
    blocks: list[Made],
    single: bool,
    names_model: bool,
) -> bytes:
    """The header, which states at least what the blocks need."""
    version = frame.version
    if not blocks:
        return MAGIC + bytes([version << 2, 0])
    flags = version << 2 | single | names_model << 1 | bool(frame.dictionary) << 6
    code = code_for(max(block.need for block in blocks)) + rng.choice((0, 0, 1, 9))
    if version == 3:
        code = rng.randrange(1, 120)
    header = MAGIC + bytes([flags | frame.solid << 7, code])
    if names_model:
        is_needed = frame.dictionary or any(block.needs_model for block in blocks)
        fingerprint = model.fingerprint if is_needed else rng.randbytes(8)  # any will do
        header += fingerprint[: 8 >> single + bool(frame.dictionary)]
    return header + (frame.dictionary.digest(model) if frame.dictionary else b"")


def random_block(rng: random.Random, frame: Frame, names_model: bool) -> Made:
    """A block, after which the frame goes on."""
    codecs = [codec for codec in MAKERS if names_model or codec not in MODEL_CODECS]
    if names_model and rng.random() < 0.4:
        codecs = [LLM]
    inner: Coded | None = MAKERS[rng.choice(codecs)](rng, frame)
    assert inner is not None
    codec, payload, text = inner.codec, inner.payload, inner.text
    if rng.random() < 0.3:
        if frame.before and inner.codec != LLM and rng.random() < 0.3:
            inner = None
        codec = MATCHES
        payload, text = matches(rng, frame, inner)
    need = block_bytes(len(text), frame.solid) + (model_bytes(frame, inner) if inner else 0)
    needs_model = inner is not None and inner.codec in MODEL_CODECS
    if len(payload) > len(text) + MAX_EXPANSION:
        raise RuntimeError("a payload is longer than the format allows")
    if frame.solid:
        frame.before += text
    return Made(codec, len(text), payload, need, needs_model, text)


def model_bytes(frame: Frame, coded: Coded) -> int:
    """What the model's codecs need."""
    reader, size, spec = ByteReader(coded.payload), len(coded.text), frame.model.spec
    if coded.codec == LLM:
        tokens = frame.dictionary_tokens
        context = len(context_of(tokens, spec))
        layout = read_layout(reader, size, spec, context, len(tokens), frame.solid)
        return llm_bytes(layout, spec, context, frame.dictionary is not None, frame.mixing_version)
    if coded.codec in MODEL_CODECS:
        return meta_token_bytes(*read_counts(reader, size), spec.vocab)
    return 0
