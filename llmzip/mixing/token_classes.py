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
_LETTERS = (4, 6)


def token_classes(token_bytes: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """The class of each token, [vocab]; 0 where it stands for nothing. A single space before
    another byte is skipped.
    """
    of_byte = np.full(256, _OTHER, np.uint8)
    for number, members in _OF_BYTES.items():
        of_byte[list(members)] = number
    lengths = np.array([len(text) for text in token_bytes], np.int64)  # [vocab]
    joined = np.frombuffer(b"".join(token_bytes) + bytes(2), np.uint8)
    starts = np.cumsum(lengths) - lengths
    first, second = joined[starts], joined[starts + 1]
    behind_space = (lengths > 1) & (first == 0x20) & (second != 0x20)
    classes: npt.NDArray[np.uint8] = of_byte[np.where(behind_space, second, first)]
    classes += behind_space & np.isin(classes, _LETTERS)
    classes[lengths == 0] = 0
    return classes
