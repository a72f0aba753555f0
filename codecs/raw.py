"""The bytes themselves, for what nothing shrinks."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from llmzip.errors import FormatError


@dataclasses.dataclass(frozen=True)
class RawCodec:
    """Stores."""

    id: ClassVar[int] = 1
    name: ClassVar[str] = "raw"

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`."""
        return data

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""
        if len(payload) != size:
            raise FormatError(f"a stored block holds {len(payload)} bytes instead of {size}: the file is damaged")
        return payload
