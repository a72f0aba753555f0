"""The codecs by name, each framed so that its output is safe by itself.

>>> codec = get_codec("xz", preset=6)
>>> codec.decode(codec.encode(b"some bytes"))
b'some bytes'
>>> codec.get_config()
{'id': 'xz', 'preset': 6}
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import io
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from llmzip.buffers import Buffer, flat, whole_number
from llmzip.codecs.base import PayloadCodec
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, TruncatedError

_CODECS: dict[str, str | type[PayloadCodec]] = {
    "raw": "llmzip.codecs.raw:RawCodec",
    "ldm": "llmzip.codecs.long_distance:LongDistanceCodec",
    "zstd": "llmzip.codecs.zstd:ZstdCodec",
    "llm": "llmzip.codecs.llm:LLMCodec",
    "xz": "llmzip.codecs.xz:XzCodec",
    "meta-token": "llmzip.codecs.meta_token:MetaTokenCodec",
    "equal-info": "llmzip.codecs.equal_info:EqualInfoCodec",
    "rank": "llmzip.codecs.rank:RankCodec",
    "zlib": "llmzip.codecs.standard:ZlibCodec",
    "bzip2": "llmzip.codecs.standard:Bzip2Codec",
    "brotli": "llmzip.codecs.extra:BrotliCodec",
    "ppmd": "llmzip.codecs.extra:PpmdCodec",
}
"""Name -> class, or where it is: a module is imported when its codec is first asked for. A new
codec gets a line here.
"""

_CHECK_BYTES = 4
_MAX_SIZE = 1 << 40  # of anything framed: far from where sizes overflow


def register_codec(codec: type[PayloadCodec]) -> None:
    """Make a codec of another package known by its name. Raises ValueError where another one has
    that name.
    """
    if _CODECS.setdefault(codec.name, codec) is not codec:
        raise ValueError(f"codec {codec.name!r}: another codec has that name")


def codec_names() -> tuple[str, ...]:
    """The names that `get_codec` knows."""
    return tuple(_CODECS)


def find_codec(name: str) -> type[PayloadCodec]:
    """The class of that name. Raises ValueError for an unknown one."""
    if name not in _CODECS:
        raise ValueError(f"codec {name!r}: codecs are {', '.join(_CODECS)}")
    codec = _CODECS[name]
    if isinstance(codec, str):
        module, class_name = codec.split(":")
        codec = _CODECS[name] = getattr(importlib.import_module(module), class_name)
    return codec


def payload_codec(name: str, **parameters: Any) -> PayloadCodec:
    """The payload codec of that name; parameters and errors as of `get_codec`."""
    kind = find_codec(name)
    for makes in (kind, kind.create):
        for key, parameter in inspect.signature(makes).parameters.items():
            if key in parameters and parameter.annotation in (int, "int"):
                whole_number(parameters[key], f"{name}: {key}")
    return kind.create(**parameters)


@dataclasses.dataclass(frozen=True)
class FramedCodec:
    """A payload codec whose output says by itself how long the data is, and whether it is sound:
    numcodecs' contract.

    What it writes is `varint(size) payload CRC-32`, the check little-endian over all that precedes
    it; no bytes at all have no payload. Two framed codecs with the same configuration read each
    other's output.
    """

    payload_codec: PayloadCodec
    """What makes the payloads: use it where neither size nor check is to be counted."""

    @property
    def name(self) -> str:
        """The registry's name."""
        return self.payload_codec.name

    def encode(self, data: Buffer) -> bytes:
        """Compress. Raises TypeError for a str, LimitError for more than it takes at once."""
        data = bytes(flat(data, "encode"))
        body = varint(len(data)) + (self.payload_codec.encode(data) if data else b"")
        return body + zlib.crc32(body).to_bytes(_CHECK_BYTES, "little")

    def decode(self, data: Buffer) -> bytes:
        """Decompress. Raises IntegrityError or FormatError for anything that `encode` has not
        made.
        """
        data = bytes(flat(data, "decode"))
        if len(data) <= _CHECK_BYTES:
            raise TruncatedError(
                f"{len(data)} bytes are too few for anything that {self.name} has made"
            )
        body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
        if zlib.crc32(body).to_bytes(_CHECK_BYTES, "little") != check:
            raise IntegrityError(
                f"checksum mismatch: the data is damaged, cut short, or not made by {self.name}"
            )
        reader = ByteReader(io.BytesIO(body))
        size = reader.varint("the size")
        payload = body[reader.offset :]
        if size > _MAX_SIZE:
            raise FormatError(
                f"data of impossible size ({size} bytes): damaged, or not made by {self.name}"
            )
        if not size:
            if payload:
                raise IntegrityError("data of no bytes has a payload: damaged")
            return b""
        try:
            return self.payload_codec.decode(payload, size)
        except OverflowError as error:
            raise FormatError(
                f"{size} bytes are more than {self.name} can have made: the data is damaged"
            ) from error

    def get_config(self) -> dict[str, Any]:
        """The configuration as JSON has it, of which `registry.from_config` makes an equal codec:
        `id` and the parameters.
        """
        return {"id": self.name, **self.payload_codec.get_config()}

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Pickle as the configuration: the reader's machine finds the model by its fingerprint."""
        return from_config, (self.get_config(),)

    def __deepcopy__(self, memo: object) -> FramedCodec:
        """Return the codec itself: nothing about it changes, so that copies may share the model."""
        return self


def get_codec(name: str, **parameters: Any) -> FramedCodec:
    """The codec of that name; docs/codecs.md lists the parameters.

    Raises ValueError for an unknown name or a parameter out of range, TypeError for an unknown
    parameter, LLMZipError where a package or a model is missing.
    """
    return FramedCodec(payload_codec(name, **parameters))


def from_config(config: Mapping[str, Any]) -> FramedCodec:
    """The codec that `FramedCodec.get_config` describes; errors as for `get_codec`."""
    parameters = {key: value for key, value in config.items() if key != "id"}
    return get_codec(config["id"], **parameters)
