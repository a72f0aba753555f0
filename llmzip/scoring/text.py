"""A vocabulary's view of a text, the same for all scorers."""

from __future__ import annotations

import functools

import numpy as np

from llmzip.model.tokenizer import Tokenizer
from llmzip.model.vocabulary import Vocabulary
from llmzip.scoring.base import Tokenized


class TextTokenizer:
    """Tokenizes texts, with each token's bytes and characters."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._tokenizer = Tokenizer(vocabulary)

    @functools.cached_property
    def _sizes(self) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array([len(piece) for piece in self._vocabulary.token_bytes], np.int32)

    @functools.cached_property
    def _characters(self) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.array(
            [sum(b & 0xC0 != 0x80 for b in piece) for piece in self._vocabulary.token_bytes],
            np.int32,
        )

    def __call__(self, data: bytes) -> Tokenized:
        """See `Scorer.tokenize`."""
        tokens = self._tokenizer.encode(data)
        sizes, characters = self._sizes[tokens.ids], self._characters[tokens.ids]
        escaped = tokens.ids == self._vocabulary.escape_token
        literals = np.frombuffer(tokens.literals, np.uint8)
        sizes[escaped] = 1
        characters[escaped] = (literals & 0xC0) != 0x80
        return Tokenized(tokens.ids, sizes, characters, escaped)
