"""Stored bytes, for data that nothing shrinks."""

from __future__ import annotations

import dataclasses

from llmzip.codecs.base import PayloadCodec
from llmzip.container.codec_ids import CodecId
from llmzip.errors import FormatError


@dataclasses.dataclass(frozen=True)
class RawCodec(PayloadCodec):
    """Stores the bytes as they are."""

    id = CodecId.RAW
    name = id.label

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        return data

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        if len(payload) != size:
            raise FormatError(
                f"a stored block holds {len(payload)} bytes instead of {size}: the file is damaged"
            )
        return payload
