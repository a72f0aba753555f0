"""What a scorer is: text in, log probabilities of its tokens out, whatever computes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from llmzip.metrics.capacity import Shape
from llmzip.model.vocabulary import Vocabulary
from llmzip.types import BoolArray, Float64Array, IdArray, Int64Array

DTYPES = ("float32", "bfloat16", "float16")
"""The number types that float models may compute in."""

CHUNK_ROWS = 512
"""A scorer feeds this many tokens at once, over all rows."""


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """The model that a result was made with."""

    name: str
    kind: Literal["integer", "float"]
    """`integer` (the exact engine) or `float` (transformers)."""
    digest: str
    """Hex: an integer model's fingerprint, or SHA-256 of a float model's files."""
    parameters: int
    model_bytes: int
    """The size of the model as it is stored: integer tensors, or parameters at the dtype's size."""
    shape: Shape
    settings: dict[str, Any]
    """What else decides the numbers: dtype, device, engine."""


@dataclasses.dataclass(frozen=True)
class Tokenized:
    """A text as tokens; an escape token stands for one byte that the vocabulary cannot say and
    costs 8 bits more.
    """

    ids: IdArray  # [n]
    sizes: IdArray  # [n] bytes
    characters: IdArray  # [n], counted where a character's first byte is
    escaped: BoolArray  # [n]

    def __getitem__(self, part: slice) -> Tokenized:
        """Some of the tokens."""
        return Tokenized(
            self.ids[part], self.sizes[part], self.characters[part], self.escaped[part]
        )


class Predictions(Protocol):
    """A model's predictions of N next tokens."""

    def measure(self, targets: IdArray) -> tuple[Float64Array, IdArray]:
        """targets [N] -> code lengths -log2 p [N] bits, and ranks [N]: how many tokens are more
        probable.
        """
        ...

    def log2_probabilities(self) -> npt.NDArray[np.float32]:
        """The log2 probabilities of all tokens: [N, V]."""
        ...


class Reader(Protocol):
    """Texts that a model reads side by side, to be told what may follow."""

    def advance(self, tokens: IdArray) -> Int64Array:
        """Feed tokens [S, T], one row to each text; weights [S, V] of what follows the last ones,
        in proportion to their probabilities.
        """
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these texts only, in this order."""
        ...


class Scorer(Protocol):
    """A model that predicts the tokens of a text."""

    model_card: ModelCard
    vocabulary: Vocabulary
    max_positions: int
    end_token: int | None
    """The token that ends a text, where the model names one."""
    batch_positions: int
    """How many tokens a batch of rows may have, so that its key/value cache fits."""

    def tokenize(self, data: bytes) -> Tokenized:
        """Tokenize a text; every byte belongs to exactly one token."""
        ...

    def predict(
        self, inputs: IdArray, wanted: BoolArray, window: int | None
    ) -> Iterator[tuple[slice, Predictions]]:
        """Feed inputs [S, T] to S independent streams; yield, per chunk of columns, what follows
        the `wanted` [S, T] ones.

        The predictions are those of `wanted[:, columns]` in row-major order. Chunks without any are
        not yielded. window: attention sees that many last tokens; None: all.
        """
        ...

    def reader(self, texts: int, length: int) -> Reader:
        """A reader of so many texts, of at most `length` tokens each."""
        ...


def joined(texts: Sequence[Tokenized]) -> Tokenized:
    """Texts one after the other, each tokenized by itself."""
    return Tokenized(
        np.concatenate([text.ids for text in texts]),
        np.concatenate([text.sizes for text in texts]),
        np.concatenate([text.characters for text in texts]),
        np.concatenate([text.escaped for text in texts]),
    )


def chunks(streams: int, length: int) -> Iterator[slice]:
    """Slices of columns, each as many as are fed at once."""
    size = max(1, CHUNK_ROWS // streams)
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
