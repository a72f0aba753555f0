"""Classical codecs on the same bytes, for the same table."""

from __future__ import annotations

import re
from typing import Any

from llmzip.codecs.registry import FramedCodec, get_codec
from llmzip.errors import LLMZipError
from llmzip.evaluation.rows import CodecMeasures
from llmzip.metrics.code_length import characters

DEFAULT_CODECS = (
    "zlib:level=9",
    "bzip2:level=9",
    "xz:preset=9",
    "zstd:level=22",
    "brotli:quality=11",
    "ppmd",
)

_INTEGER = re.compile(r"-?[0-9]{1,18}")


def parse_codec(text: str) -> tuple[str, dict[str, Any]]:
    """`name` or `name:key=value,key=value` -> name and parameters. Raises ValueError for anything
    else.

    >>> parse_codec("xz:preset=6")
    ('xz', {'preset': 6})
    """
    name, _, rest = text.partition(":")
    parameters: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise ValueError(f"codec {text!r}: parameters are key=value")
        parameters[key] = int(value) if _INTEGER.fullmatch(value) else value
    return name, parameters


def make_codec(text: str) -> FramedCodec:
    """The codec that `parse_codec` names. Raises LLMZipError for an unknown one, a wrong parameter,
    a missing package.
    """
    try:
        name, parameters = parse_codec(text)
        return get_codec(name, **parameters)
    except (ValueError, TypeError) as error:
        raise LLMZipError(f"codec {text}: {error}") from error


def measure_codec(text: str, data: bytes) -> CodecMeasures:
    """Measure the payload alone, after a verified round trip; size and check are not counted."""
    codec = make_codec(text)
    payload = codec.payload_codec.encode(data)
    if codec.payload_codec.decode(payload, len(data)) != data:
        raise LLMZipError(f"{text}: the round trip failed")
    return CodecMeasures(
        config=codec.get_config(),
        file_bytes=len(payload),
        bits_per_byte=8 * len(payload) / len(data),
        bits_per_char=8 * len(payload) / max(1, characters(data)),
        raw_rate=len(payload) / len(data),
    )
