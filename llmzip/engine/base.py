"""The interface of engines: integer weights, token ids in; exact head inputs, token weights out.

Any implementation is right that returns the integers of docs/arithmetic.md; `torch_engine` is the
reference.
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from llmzip.mixing.base import MIXING_VERSION, ContextMixer
from llmzip.model.integer_model import IntegerModel

SINK_TOKENS = 4
"""The first positions of a stream stay visible for ever ("attention sinks", arXiv 2309.17453)."""


@dataclasses.dataclass(frozen=True)
class HeadInput:
    """The quantized hidden state after a token: what the head predicts the next token from.

    An engine on a device may still compute it: looking at it waits.
    """

    vectors: npt.NDArray[np.int8]  # [..., d_model]
    scales: npt.NDArray[np.float32]  # [...]

    def steps(self, first: int, stop: int) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
        """Of [A, T] tokens: vectors [n, d_model] and scales [n] of the steps `first` to `stop` - 1,
        step by step, each with all its streams.
        """
        vectors = np.ascontiguousarray(self.vectors[:, first:stop].swapaxes(0, 1))  # [steps, A, d]
        scales = np.ascontiguousarray(self.scales[:, first:stop].T).flatten()
        return vectors.reshape(scales.size, -1), scales


class Distributions(Protocol):
    """The coder's frequency tables for N tokens (docs/arithmetic.md, section 5), which a mixer may
    correct (section 6).
    """

    def top_tokens(self) -> npt.NDArray[np.int32]:
        """The most likely tokens of each row, best first: [N, TOP_TOKENS]."""
        ...

    def totals(self) -> npt.NDArray[np.int64]:
        """The sums of the rows' weights as the model gave them: [N]."""
        ...

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """The model's weights of tokens [A, C] in the rows from `first`; 0 for negative tokens."""
        ...

    def replace(
        self, first: int, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int64]
    ) -> None:
        """Give tokens [A, C] in the rows from `first` other weights; negative tokens are skipped.

        Once per row.
        """
        ...

    def bucket_frequencies(self) -> npt.NDArray[np.integer]:
        """The frequencies of the buckets: [N, B], each row summing to 2**24."""
        ...

    def token_frequencies(self, buckets: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """The tables inside bucket `buckets[i]` for each row i: [N, 256], each row summing to
        2**24.
        """
        ...


class Session(Protocol):
    """S streams in lockstep, with their key/value cache."""

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """Feed tokens [A, T] to the first A streams: vectors [A, T, d_model], scales [A, T].

        Any split over calls gives the same integers. A stream once left out is never fed again.
        """
        ...

    def rewind(self, count: int) -> None:
        """Take back the last `count` tokens of each stream, as if they had never been fed: fewer
        than the last call of `advance` has fed.

        Raises ValueError for more, and where the engine cannot (`Batches.draft_rows`).
        """
        ...

    def fork(self, streams: Sequence[int], window: int, chunk: int) -> Session:
        """An independent session whose streams continue from these of this one, each as often as it
        is named.

        No more tokens may have been fed than `window`. Raises ValueError.
        """
        ...


@dataclasses.dataclass(frozen=True)
class Batches:
    """The numbers of tokens per call that are fastest on this engine. No byte depends on them."""

    encode: int = 512
    """Tokens that an encoder feeds to a session at once, over all streams."""
    tables: int = 64
    """Head inputs that an encoder gives to `distributions` at once: enough for fast products, on a
    CPU few enough for its cache.
    """
    rows: int = 1
    """Streams that blocks side by side have together, at most; fewer than a block has: no block
    goes with another.
    """
    blocks: int = sys.maxsize
    """Blocks that go side by side, at most."""
    few_rows: int = 0
    """Streams that decoders of short blocks have together in any case, where all of these are
    wanted: a step takes little longer for them than for one.
    """
    threads: int = 1
    """How many threads work beside the model: on mixing, on what other codecs make of blocks."""
    idle: float = 0.0
    """Which part of a step's rows may have ended before they are left out: where steps are
    recorded, another number of rows costs a new recording.
    """
    lanes: int = 1
    """Into how many parts of about as many rows several blocks are divided: so that a device
    computes one's step while the host works on another's, or so that each has cores of its own.
    """
    lane_rows: int = 256
    """Fewer rows than these are no lane: a device would be idle more than it gained."""
    divided: bool = False
    """Whether each lane has its part of the processors, which is idle once the lane has ended."""
    draft_rows: int = 0
    """Up to so many rows a decoder's step is filled up with drafts of the steps that follow
    (`predictor/speculation.py`); 0: never, and sessions need not be rewound.
    """


class Engine(Protocol):
    """A model on a device."""

    model: IntegerModel
    batches: Batches

    def session(self, streams: int, window: int, chunk: int) -> Session:
        """A session at position 0 whose calls feed at most `chunk` tokens to a stream.

        Each token attends to the last `window` tokens, itself included, and to the first four of
        its stream.
        """
        ...

    def token_weights(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int32]:
        """Head inputs [N, d_model] int8, [N] float32 -> token weights [N, vocab] int32
        (docs/arithmetic.md, section 4.8).
        """
        ...

    def distributions(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> Distributions:
        """Head inputs [N, d_model] int8, [N] float32 -> the tables of the tokens that follow."""
        ...

    def lane(self, number: int, count: int) -> contextlib.AbstractContextManager[None]:
        """A context in which this thread's work need not wait for that of the other `count` lanes.
        What was begun in one must end in it.
        """
        ...

    def free_bytes(self) -> int | None:
        """The memory that is free where the engine computes; None where nobody can tell."""
        ...

    def mixer(self, capacity_bits: int, version: int = MIXING_VERSION) -> ContextMixer:
        """An empty mixer of 2**capacity_bits positions, by a version of docs/arithmetic.md,
        section 6.
        """
        ...
