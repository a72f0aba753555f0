"""The different tokens of a page, numbered."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from llmzip.model.vocabulary import Vocabulary
from llmzip.types import IdArray
from llmzip.view.recorder import CodedTokens


class Words:
    """The bytes of every token that occurs, of whichever model; number 0 stands for none, and an
    escape token's are empty.
    """

    def __init__(self, payloads: Iterable[CodedTokens]) -> None:
        self.texts: list[bytes] = [b""]
        self._numbers: dict[int, IdArray] = {}
        known = {b"": 0}
        for tokens in payloads:
            words = tokens.vocabulary
            used = np.union1d(tokens.ids, tokens.alternatives)
            numbers = self._numbers.get(id(words), np.zeros(len(words.token_bytes), np.int32))
            # A model may have more outputs than its tokenizer has tokens.
            numbers = np.pad(numbers, (0, max(0, int(used[-1]) + 1 - len(numbers))))
            self._numbers[id(words)] = numbers
            for i in used[used >= 0].tolist():
                text = b"" if i >= len(words.token_bytes) else words.token_bytes[i]
                if i != words.escape_token and text not in known:
                    known[text] = len(self.texts)
                    self.texts.append(text)
                numbers[i] = 0 if i == words.escape_token else known[text]

    def __len__(self) -> int:
        return len(self.texts)

    def numbers(self, vocabulary: Vocabulary, ids: IdArray) -> IdArray:
        """The numbers of tokens of a vocabulary; 0 for negative ones."""
        found: IdArray = self._numbers[id(vocabulary)][ids] * (ids >= 0)
        return found
