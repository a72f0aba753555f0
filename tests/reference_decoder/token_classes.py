"""Classes of tokens by their bytes (docs/arithmetic.md, 6.1)."""

from __future__ import annotations

from collections.abc import Sequence


def token_classes(token_bytes: Sequence[bytes]) -> list[int]:
    """The class of each token."""
    return [_class_of(text) for text in token_bytes]


def _class_of(text: bytes) -> int:
    if not text:
        return 0
    is_second = len(text) >= 2 and text[:1] == b" " and text[1:2] != b" "
    byte = text[1:2] if is_second else text[:1]
    if byte.isdigit():
        return 1
    if byte in b" \t":
        return 2
    if byte in b"\n\r":
        return 3
    if byte.islower():
        return 5 if is_second else 4
    if byte.isupper():
        return 7 if is_second else 6
    if byte[0] >= 0x80:
        return 8
    if byte in b".,;:!?":
        return 9
    if byte in b"()[]{}<>":
        return 10
    return 11 if byte in b"\"'`" else 12
