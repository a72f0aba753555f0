"""Texts that a scorer's model writes, many side by side.

Prompts differ in length, streams that are fed in lockstep do not: texts with shorter prompts are
already being written while the longer prompts are still read. An integer model writes the same
text, whatever is beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from llmzip.errors import LimitError
from llmzip.generation.drawing import Drawing
from llmzip.generation.randomness import Randomness
from llmzip.scoring.base import Scorer
from llmzip.types import Int64Array


@dataclasses.dataclass(frozen=True)
class Prompt:
    """What a text begins with, and where it ends."""

    ids: Sequence[int]
    """At least one token."""
    count: int
    """So many tokens follow, at most."""
    drawing: Drawing
    seed: int = 0
    stops: Sequence[bytes] = ()
    """The text ends before the first of these in it."""


class _Text:
    """A text that is being read or written."""

    def __init__(self, prompt: Prompt, pieces: Sequence[bytes]) -> None:
        self._prompt = prompt
        self._pieces = pieces
        self._random = Randomness(prompt.seed)
        self._left = prompt.count
        self._longest = max(map(len, prompt.stops), default=0)
        self.written = b""
        self.ended = prompt.count < 1

    def follow(self, position: int, weights: Int64Array) -> int:
        """The token at this position: the prompt's, or one that is drawn by its weight."""
        if position < len(self._prompt.ids):
            return self._prompt.ids[position]
        if self.ended:
            return self._prompt.ids[0]  # nobody looks at what follows
        token = self._prompt.drawing.draw(weights, self._random)
        self._append(self._pieces[token])
        return token

    def _append(self, piece: bytes) -> None:
        seen = max(0, len(self.written) - self._longest)
        self.written += piece
        self._left -= 1
        found = [at for stop in self._prompt.stops if (at := self.written.find(stop, seen)) >= 0]
        if found:
            self.written = self.written[: min(found)]
        # A control token stands for no text: whichever it is, the text ends.
        self.ended = bool(found) or not piece or not self._left


def write_texts(scorer: Scorer, prompts: Sequence[Prompt]) -> Iterator[tuple[int, bytes]]:
    """What follows each prompt, up to its count of tokens, a text to stop at or a control token:
    the prompt's index and the text, in the order in which they are done.

    Raises ValueError for an empty prompt, LimitError where prompt and text exceed the model's
    positions.
    """
    for prompt in prompts:
        if not prompt.ids:
            raise ValueError("an empty prompt: the start token is one")
        if len(prompt.ids) + prompt.count > scorer.max_positions:
            raise LimitError(
                f"{len(prompt.ids)} + {prompt.count} tokens are more than "
                f"the model's {scorer.max_positions} positions"
            )
    # Prompts of about the same length go together.
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i].ids))
    while order:
        length = max(len(prompts[i].ids) + prompts[i].count for i in order)
        rows = order[: max(1, scorer.batch_positions // length)]
        order = order[len(rows) :]
        texts = _written(scorer, [prompts[i] for i in rows])
        yield from zip(rows, texts, strict=True)


def _written(scorer: Scorer, prompts: Sequence[Prompt]) -> list[bytes]:
    """The texts of one batch."""
    texts = [_Text(prompt, scorer.vocabulary.token_bytes) for prompt in prompts]
    reader = scorer.reader(len(texts), max(len(prompt.ids) + prompt.count for prompt in prompts))
    position = min(len(prompt.ids) for prompt in prompts)
    fed = np.array([prompt.ids[:position] for prompt in prompts], np.int32)
    going = texts
    while not all(text.ended for text in going):
        weights = reader.advance(fed)
        tokens = [text.follow(position, row) for text, row in zip(going, weights, strict=True)]
        left = [i for i, text in enumerate(going) if not text.ended]
        if left and 2 * len(left) <= len(going):
            reader.keep(left)
            going, tokens = [going[i] for i in left], [tokens[i] for i in left]
        fed = np.array(tokens, np.int32)[:, None]
        position += 1
    return [text.written for text in texts]
