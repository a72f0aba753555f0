"""What every codec must do: each codec's test calls `check_codec`."""

from __future__ import annotations

import contextlib
import json
import random

import pytest

from llmzip.codecs.registry import FramedCodec, from_config
from llmzip.errors import LLMZipError
from tests.test_tokenizer import NASTY

TEXT = (
    b"The value of an expression is an object, and the type of that object says which operations "
    b"it supports. "
)


def inputs(size: int) -> dict[str, bytes]:
    """Nasty inputs of at most `size` bytes."""
    noise = random.Random(3).randbytes(size)
    made = {
        **NASTY,
        "noise": noise,
        "text": TEXT * (size // len(TEXT)),
        "zeros": bytes(size),
        "mixed": TEXT + noise + TEXT,
    }
    return {name: data[:size] for name, data in made.items()}


def check_codec(codec: FramedCodec, size: int = 3000, sweep: int = 160) -> None:
    """The whole kit; `size` bounds the inputs, `sweep` the text whose coded form is damaged at
    every byte."""
    check_round_trips(codec, size)
    check_config(codec)
    check_damage(codec, (TEXT * 2)[:sweep])


def check_round_trips(codec: FramedCodec, size: int) -> None:
    """Any bytes in any buffer come back; coding is a function of the bytes."""
    for name, data in inputs(size).items():
        coded = codec.encode(data)
        assert codec.decode(coded) == data, name
        assert codec.encode(bytearray(data)) == coded, name
    assert codec.decode(memoryview(codec.encode(TEXT))) == TEXT
    assert len(codec.encode(b"")) <= 5
    with pytest.raises(TypeError):
        codec.encode("text")  # type: ignore[arg-type]


def check_config(codec: FramedCodec) -> None:
    """The configuration survives JSON and makes a codec that reads and writes the same bytes."""
    config = codec.get_config()
    assert config["id"] == codec.name
    twin = from_config(json.loads(json.dumps(config)))
    assert twin.get_config() == config
    coded = codec.encode(TEXT)
    assert twin.encode(TEXT) == coded
    assert twin.decode(coded) == TEXT


def check_damage(codec: FramedCodec, data: bytes) -> None:
    """Cut anywhere or with any bit flipped, framed data is an LLMZipError.

    A bare payload, whose check is somebody else's, yields an LLMZipError or `size` bytes, and
    nothing else.
    """
    coded = codec.encode(data)
    generator = random.Random(4)
    for length in range(len(coded)):
        with pytest.raises(LLMZipError):
            codec.decode(coded[:length])
    for offset in range(len(coded)):
        for bit in range(8):
            with pytest.raises(LLMZipError):
                codec.decode(flipped(coded, offset, bit))
    with pytest.raises(LLMZipError):
        codec.decode(coded + b"\0")

    payload = codec.payload_codec.encode(data)
    damaged = [payload[:length] for length in range(0, len(payload), 3)]
    damaged += [flipped(payload, offset, generator.randrange(8)) for offset in range(len(payload))]
    for bad in damaged:
        with contextlib.suppress(LLMZipError):
            assert len(codec.payload_codec.decode(bad, len(data))) == len(data)


def flipped(data: bytes, offset: int, bit: int) -> bytes:
    """`data` with one bit changed."""
    return data[:offset] + bytes([data[offset] ^ 1 << bit]) + data[offset + 1 :]
