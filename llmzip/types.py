"""Type aliases that several modules share: each shape is defined here once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Progress = Callable[[int, int], None]
"""Called with the uncompressed bytes and the tokens that are done; inside a block, bytes go by the
time that they take.
"""

TokenProgress = Callable[[int], None]
"""Called with the number of tokens that are done."""

DownloadProgress = Callable[[str, int, int], None]
"""Called with a stage (`download` in bytes, `convert` in layers), how much of it is done, and its
total.
"""

DictionaryProgress = Callable[[int, int | None], None]
"""Called with the tokens of a dictionary that have been read, and how many it has, where that is
known.
"""

TransferProgress = Callable[[int, int | None], None]
"""Called with the bytes that have been transferred, and the total where it is known."""

IdArray = npt.NDArray[np.int32]
"""Token ids, and other small integers."""

Int64Array = npt.NDArray[np.int64]
"""Weights, sums, and ids that leave a vocabulary."""

BoolArray = npt.NDArray[np.bool_]
"""Masks."""

Float32Array = npt.NDArray[np.float32]
"""Numbers of the exact arithmetic, and float weights."""

Float64Array = npt.NDArray[np.float64]
"""Measured numbers, which no coded byte depends on."""

IntArray = npt.NDArray[np.integer]
"""Integers of any width."""
