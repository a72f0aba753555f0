"""What an encoder tells whoever measures it: an argument that runs from the compressor down to the
range encoder.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt


class CodingObserver(Protocol):
    """Is told what is coded, in the order of coding; it changes no byte.

    For each block of a file: `begin_payload`, any number of `predictions` and `symbols`,
    `end_payload`, as often as the model codes a payload that may become the block's. Of several
    payloads the last one is the block's, if the block has one of the model at all. Of the blocks
    themselves `codecs.encoded_block.BlockObserver` is told.
    """

    def begin_payload(self) -> None:
        """The model begins to code a payload."""
        ...

    def predictions(
        self,
        vectors: npt.NDArray[np.int8],
        scales: npt.NDArray[np.float32],
        targets: npt.NDArray[np.int32],
    ) -> None:
        """Head inputs [N, d] and [N], as the model gives them, and the tokens [N] that they
        predict.
        """
        ...

    def symbols(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """Symbols [N] that are coded, and the tables [N, n] that they are coded with."""
        ...

    def end_payload(self, parameters: bytes, coded: bytes) -> None:
        """The payload is complete: the block's parameters, then what the range coder has made."""
        ...
