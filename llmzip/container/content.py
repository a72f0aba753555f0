"""The content check that ends a frame (docs/format.md, "Frame")."""

from __future__ import annotations

import xxhash

CONTENT_CHECK_NAME = "XXH3-32"
CONTENT_CHECK_BYTES = 4


def content_check(state: xxhash.xxh3_64) -> bytes:
    """The low 32 bits of XXH3-64 over a frame's uncompressed bytes, little-endian."""
    return (state.intdigest() & 0xFFFFFFFF).to_bytes(CONTENT_CHECK_BYTES, "little")
