"""All codecs for zarr's format 3, under one name.

    {"name": "llmzip", "configuration": {"codec": {"id": "xz", ...}}}

The package's entry point leads zarr here; nothing else imports this module, as zarr is optional.
Arrays of format 2 take `numcodecs_codec.LLMZip`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import zarr.abc.codec

from llmzip.codecs.registry import FramedCodec, from_config

NAME = "llmzip"


@dataclasses.dataclass(frozen=True, init=False, eq=False)
class LLMZipCodec(zarr.abc.codec.BytesBytesCodec):  # type: ignore[misc]
    """A codec of `registry.get_codec` in zarr's interface; see `FramedCodec` for what is written.

    >>> codec = LLMZipCodec({"id": "llm", "level": 5})
    >>> zarr.create_array("notes.zarr", data=array, compressors=codec)
    """

    is_fixed_size = False  # of what it writes
    codec: FramedCodec

    def __init__(self, codec: Mapping[str, Any]) -> None:
        """codec: the configuration of one of llmzip's codecs; the defaults are filled in."""
        object.__setattr__(self, "codec", from_config(codec))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LLMZipCodec:
        """The inverse of `to_dict`. Raises ValueError for what describes no codec of this name."""
        try:
            described = data["configuration"]["codec"]
        except (KeyError, TypeError):
            described = None
        if data.get("name") != NAME or not isinstance(described, Mapping) or "id" not in described:
            raise ValueError(
                f"{data!r} is no codec of the name {NAME!r}: it needs a configuration such as "
                '{"codec": {"id": "xz"}}, '
                "with an id that llmzip.codecs.registry.codec_names() lists"
            )
        return cls(described)

    def to_dict(self) -> dict[str, Any]:
        """What an array's metadata say of the codec."""
        return {"name": NAME, "configuration": {"codec": self.codec.get_config()}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """Raise NotImplementedError, as zarr asks of codecs whose output depends on the data."""
        raise NotImplementedError

    async def _encode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        coded = await asyncio.to_thread(self.codec.encode, chunk_data.to_bytes())
        return chunk_spec.prototype.buffer.from_bytes(coded)

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        data = await asyncio.to_thread(self.codec.decode, chunk_data.to_bytes())
        return chunk_spec.prototype.buffer.from_bytes(data)

    def __eq__(self, other: object) -> bool:
        """Whether they have the same configuration, and so read each other's bytes."""
        return isinstance(other, LLMZipCodec) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        """Of the configuration."""
        return hash(json.dumps(self.to_dict(), sort_keys=True))

    def __repr__(self) -> str:
        """The call that makes an equal one."""
        return f"{type(self).__name__}({self.codec.get_config()!r})"
