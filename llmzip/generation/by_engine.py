"""Texts that an engine continues, many in lockstep: each is what it would be alone."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmzip import accounting
from llmzip.buffers import Buffer, whole_number
from llmzip.engine.base import Engine, HeadInput, Session
from llmzip.errors import LimitError
from llmzip.generation.drawing import Drawing
from llmzip.generation.randomness import Randomness
from llmzip.generation.stopping import Stops

ROWS = 64
"""Texts that advance together, where memory allows."""
CACHE_BYTES = 1 << 30
"""What their caches may take together."""

_CHUNK = 256  # tokens of the prompts that are fed at once
_MOST_ENDED = 0.25  # which part of the texts may have ended before they are left behind


class Continuation:
    """A prompt, and what has been drawn behind it."""

    def __init__(
        self,
        engine: Engine,
        ids: Sequence[int],
        count: int,
        *,
        seed: int = 0,
        temperature: float | str = 1,
        top_k: int | None = None,
        stop: Sequence[Buffer] = (),
        ends: Collection[int] = (),
    ) -> None:
        """ids: the prompt's tokens, one at least. count, seed, temperature, top_k, stop: as for
        `generate_by_engine`. ends: tokens that end the text when they are drawn.

        Raises ValueError and TypeError for parameters out of range or of another kind, LimitError
        where prompt and text exceed the model's positions.
        """
        self._drawing = Drawing.of(temperature, top_k)
        if whole_number(count, "count") < 0:
            raise ValueError(f"count {count}: at least 0 tokens")
        self._stops = Stops(stop)
        self._random = Randomness(seed)
        self._ends = frozenset(ends)
        self._pieces = engine.model.vocabulary.token_bytes
        self._silent = np.array(
            [not piece and token not in self._ends for token, piece in enumerate(self._pieces)]
        )
        self.ids = [*ids]
        """The tokens of the prompt and of what was drawn."""
        self.most = len(self.ids) + count
        """How many there may be."""
        self.has_ended = count == 0
        """Whether nothing will be drawn any more."""
        positions = engine.model.spec.max_positions
        if self.most > positions:
            raise LimitError(
                f"{len(self.ids)} + {count} tokens are more than the model's {positions} positions"
            )

    def take(self, weights: npt.NDArray[np.integer]) -> bytes:
        """Draw the next token by these weights [V]; the text that this makes certain."""
        audible = weights.astype(np.int64)
        audible[self._silent] = 0
        token = self._drawing.draw(audible, self._random)
        self.ids.append(token)
        text = self._stops.take(self._pieces[token])
        self.has_ended = self._stops.is_reached or token in self._ends or len(self.ids) == self.most
        return text + self._stops.rest() if self.has_ended else text


def generate_by_engine(
    engine: Engine,
    prompt: bytes,
    count: int,
    *,
    seed: int = 0,
    temperature: float | str = 1,
    top_k: int | None = None,
    stop: Sequence[Buffer] = (),
) -> Iterator[bytes]:
    """`count` tokens that follow a prompt, each as its bytes, drawn from the weights of
    docs/arithmetic.md, section 4.8.

    temperature: a multiple of 0.1 from 0, always the likeliest token, to 5; other than 1, weights w
    become ⌊2^16 · w^(1/T)⌋. top_k: only so many tokens of the greatest weights (of equal ones the
    lower ids) may be drawn. Tokens that stand for no text are never drawn. stop: texts; what is
    drawn ends before the first one that appears in it, and bytes that may begin one wait.

    Raises ValueError for parameters out of range, LimitError where prompt and text exceed the
    model's positions.
    """
    text = Continuation(
        engine,
        prompt_ids(engine, prompt),
        count,
        seed=seed,
        temperature=temperature,
        top_k=top_k,
        stop=stop,
    )
    return continued(engine, text)


def prompt_ids(engine: Engine, prompt: bytes) -> list[int]:
    """The tokens behind which a prompt is continued."""
    model = engine.model
    return [model.spec.start_token, *model.tokenizer.encode(prompt).ids.tolist()]


def continued(engine: Engine, text: Continuation) -> Iterator[bytes]:
    """What is drawn, piece by piece."""
    return (piece for _, piece in _lockstep(engine, [text]))


def continue_all(engine: Engine, texts: Sequence[Continuation]) -> list[bytes]:
    """What is drawn behind each of the prompts, in as many steps as the longest takes."""
    found = [bytearray() for _ in texts]
    waiting = sorted(range(len(texts)), key=lambda i: -len(texts[i].ids))
    while waiting:  # prompts of about the same length together
        count = _rows(engine, max(texts[i].most for i in waiting))
        part, waiting = waiting[:count], waiting[count:]
        for row, piece in _lockstep(engine, [texts[i] for i in part]):
            found[part[row]] += piece
    return [bytes(text) for text in found]


def _rows(engine: Engine, tokens: int) -> int:
    """How many texts of so many tokens go side by side."""
    slots = accounting.rounded_up(tokens)
    each = accounting.llm_bytes(tokens, 1, slots, 0, engine.model.spec, False)
    return max(1, min(max(ROWS, engine.batches.rows), CACHE_BYTES // each))


def _lockstep(engine: Engine, texts: Sequence[Continuation]) -> Iterator[tuple[int, bytes]]:
    """Draw all texts to their ends: the number of one, and what has become certain of it, at each
    step.
    """
    live = [(row, text) for row, text in enumerate(texts) if not text.has_ended]
    if not live:
        return
    window = max(text.most for _, text in live)
    session, head, position = _fed(engine, [text.ids for _, text in live], window)
    while True:
        # The prompts of the others are not at their ends.
        due = [i for i, (_, text) in enumerate(live) if len(text.ids) == position]
        if due:
            weights = engine.token_weights(
                np.ascontiguousarray(head.vectors[due, -1]),
                np.ascontiguousarray(head.scales[due, -1]),
            )
            for i, of_text in zip(due, weights, strict=True):
                row, text = live[i]
                if not text.has_ended and (piece := text.take(of_text)):
                    yield row, piece
        going = [i for i, (_, text) in enumerate(live) if not text.has_ended]
        if not going:
            return
        if len(going) <= len(live) * (1 - _MOST_ENDED):
            session, live = session.fork(going, window, _CHUNK), [live[i] for i in going]
        # What is fed to those that have ended changes nothing.
        last = [text.ids[min(position, len(text.ids) - 1)] for _, text in live]
        head = session.advance(np.array(last, np.int32)[:, None])
        position += 1


def _fed(
    engine: Engine, prompts: Sequence[list[int]], window: int
) -> tuple[Session, HeadInput, int]:
    """A session that has read the prompts as far as all of them go, what it knows then, and how far
    that is. What all begin with is read once.
    """
    rows, shortest = len(prompts), min(map(len, prompts))
    same = _same(prompts, shortest - 1) if rows > 1 else 0
    session = engine.session(1 if same else rows, window, _CHUNK)
    if same:
        for start in range(0, same, _CHUNK):
            part = prompts[0][start : min(same, start + _CHUNK)]
            session.advance(np.array([part], np.int32))
        session = session.fork([0] * rows, window, _CHUNK)
    for start in range(same, shortest, _CHUNK):
        parts = [ids[start : min(shortest, start + _CHUNK)] for ids in prompts]
        head = session.advance(np.array(parts, np.int32))
    return session, head, shortest


def _same(prompts: Sequence[list[int]], most: int) -> int:
    """With how many same tokens all begin."""
    first, last = min(prompts), max(prompts)
    return next((i for i in range(most) if first[i] != last[i]), most)
