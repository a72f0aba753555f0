"""What an encoder or a decoder tells whoever measures it: an argument that runs from the compressor
down to the range encoder, or from the block decoder to the range decoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt


class CodingObserver(Protocol):
    """Is told what is coded, in the order of coding; it changes no byte.

    For each block of a file: `begin_payload`, any number of `predictions`, `corrections` and
    `symbols`, `end_payload`, as often as the model codes a payload that may become the block's. Of
    several payloads the last one is the block's, if the block has one of the model at all. Of the
    blocks themselves `codecs.encoded_block.BlockObserver` is told, of those that are encoded.

    Each kind comes in the order of coding: step by step, and in a step stream by stream.
    """

    def begin_payload(self, tokens: int, streams: int, mixes: bool) -> None:
        """The model begins to code a payload of so many tokens; mixes: whether there will be
        `corrections`.
        """
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

    def corrections(
        self,
        tokens: npt.NDArray[np.int32],
        weights: npt.NDArray[np.int32],
        corrected: npt.NDArray[np.int64],
        totals: npt.NDArray[np.int64],
        evidence: Callable[[], npt.NDArray[np.float32]],
    ) -> None:
        """What a mixer makes of a step's predictions: of tokens [A, C], filled up with NO_TOKEN,
        the model's weights and the corrected ones [A, C]; the sums of the model's weights of all
        tokens [A]; and, now or never, each expert's part in it (`ContextMixer.evidence`).
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
