"""Classes of tokens by the bytes that they stand for: digits, spaces, letters, ... (docs/
arithmetic.md, section 6.1). The mixer weighs its features for each class on its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CLASSES = 13

_OTHER = 12
_LOWER, _UPPER = b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OF_BYTES = {
    1: b"0123456789",
    2: b" \t",
    3: b"\n\r",
    4: _LOWER,
    6: _UPPER,
    8: bytes(range(128, 256)),
    9: b".,;:!?",
    10: b"()[]{}<>",
    11: b"\"'`",
}
"""The classes of a token's first byte; letters behind a space have the next class."""


def token_classes(token_bytes: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """The class of each token, [vocab]; 0 where it stands for nothing."""
    of_byte = [_OTHER] * 256
    for number, members in _OF_BYTES.items():
        for byte in members:
            of_byte[byte] = number
    return np.array([_class_of(text, of_byte) for text in token_bytes], np.uint8)


def _class_of(text: bytes, of_byte: Sequence[int]) -> int:
    """A single space before another byte is skipped."""
    if not text:
        return 0
    behind_space = len(text) > 1 and text[0] == 0x20 != text[1]
    first = text[behind_space]
    return of_byte[first] + (behind_space and of_byte[first] in (4, 6))
