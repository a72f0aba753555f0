"""Hashes of the last tokens (docs/arithmetic.md, section 6.2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.types import IdArray

HASH_FACTOR = 0x9E3779B97F4A7C15
HASH_SHIFT = 29


def extended(key: npt.NDArray[np.uint64], tokens: IdArray) -> npt.NDArray[np.uint64]:
    """The hashes [A] of contexts that have one more token each, [A]; 0 is that of nothing."""
    product = (key ^ (tokens + 1).astype(np.uint64)) * np.uint64(HASH_FACTOR)
    return product ^ (product >> np.uint64(HASH_SHIFT))
