"""Several decoders as one, in the simplest way: one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt


class Decoder(Protocol):
    """Words -> symbols."""

    def decode(self, frequencies: npt.NDArray[np.integer]) -> npt.NDArray[np.int32] | None:
        """The next N symbols, given their tables [N, n]; None where the words cannot have come from
        them.
        """
        ...


class Decoders:
    """Decoders of several sequences of words."""

    def __init__(self, decoders: Sequence[Decoder]) -> None:
        self._decoders = decoders

    def decode(
        self, parts: Sequence[slice], frequencies: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int32], list[int]]:
        """The next symbols [N], given their tables [N, n], of which each decoder has a part; and
        the numbers of those whose words cannot have come from them. Theirs, and what lies between
        the parts, are zeros.
        """
        symbols = np.zeros(len(frequencies), np.int32)
        failed = []
        for number, (decoder, part) in enumerate(zip(self._decoders, parts, strict=True)):
            found = decoder.decode(frequencies[part])
            if found is None:
                failed.append(number)
            else:
                symbols[part] = found
        return symbols, failed
