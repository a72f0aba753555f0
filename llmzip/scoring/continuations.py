"""Code lengths of continuations: the tokens that follow a context, for many pairs at once.

Pairs of which one is read on the way through another, as the choices of a question that are one
token long, share a row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from llmzip.errors import LimitError, LLMZipError
from llmzip.scoring.base import Scorer
from llmzip.scoring.spans import LITERAL_BITS
from llmzip.types import BoolArray


@dataclasses.dataclass(frozen=True)
class Continuation:
    """Tokens that are scored, and what they follow."""

    context: Sequence[int]
    """At least one token."""
    ids: Sequence[int]

    @property
    def fed(self) -> tuple[int, ...]:
        """What the model reads: nothing follows the last token."""
        return (*self.context, *self.ids[:-1])


@dataclasses.dataclass(frozen=True)
class ContinuationScore:
    """What a model makes of a continuation."""

    bits: float
    """Its code length, the literal byte behind an escape token included."""
    greedy: bool
    """Whether no token was more probable at any step."""


@dataclasses.dataclass
class _Row:
    fed: tuple[int, ...]
    members: list[int]
    """The continuations that are read on the way."""


def score_continuations(
    scorer: Scorer, continuations: Sequence[Continuation]
) -> Iterator[tuple[int, ContinuationScore]]:
    """Score each continuation: its index and its score, in the order in which they are done.

    Raises ValueError for an empty context, LimitError for more tokens than the model has positions,
    LLMZipError for a model that breaks down.
    """
    rows = _rows(continuations)
    yield from ((i, ContinuationScore(0.0, True)) for i, c in enumerate(continuations) if not c.ids)
    while rows:
        length = len(rows[0].fed)
        if length > scorer.max_positions:
            raise LimitError(
                f"{length} tokens of context and continuation are more than the model's "
                f"{scorer.max_positions} positions"
            )
        count = max(1, scorer.batch_positions // length)
        yield from _score_rows(scorer, rows[:count], continuations)
        rows = rows[count:]


def _rows(continuations: Sequence[Continuation]) -> list[_Row]:
    """What is to be read, the longest first, without what another row begins with."""
    fed = {i: c.fed for i, c in enumerate(continuations) if len(c.ids)}
    rows: list[_Row] = []
    for i in sorted(fed, key=lambda i: fed[i], reverse=True):  # extensions before what they extend
        if not continuations[i].context:
            raise ValueError("a continuation without a context: the start token is one")
        if rows and rows[-1].fed[: len(fed[i])] == fed[i]:
            rows[-1].members.append(i)
        else:
            rows.append(_Row(fed[i], [i]))
    return sorted(rows, key=lambda row: -len(row.fed))


def _score_rows(
    scorer: Scorer, rows: Sequence[_Row], continuations: Sequence[Continuation]
) -> Iterator[tuple[int, ContinuationScore]]:
    """What these rows' members cost; the first row is the longest."""
    shape = len(rows), len(rows[0].fed)
    inputs = np.zeros(shape, np.int32)
    rounds = max(len(row.members) for row in rows)  # of each row one member a round
    targets = np.zeros((rounds, *shape), np.int32)
    owners = np.full((rounds, *shape), -1)
    for s, row in enumerate(rows):
        inputs[s, : len(row.fed)] = row.fed
        for k, i in enumerate(row.members):
            begin = len(continuations[i].context) - 1
            part = slice(begin, begin + len(continuations[i].ids))
            targets[k, s, part] = continuations[i].ids
            owners[k, s, part] = i
    wanted: BoolArray = np.asarray((owners >= 0).any(axis=0), np.bool_)
    bits, greedy = np.zeros(len(continuations)), np.ones(len(continuations), np.bool_)
    escape = scorer.vocabulary.escape_token
    for columns, predictions in scorer.predict(inputs, wanted, None):
        here = wanted[:, columns]
        for target, owner in zip(targets[:, :, columns], owners[:, :, columns], strict=True):
            own = owner[here] >= 0
            if not own.any():
                continue
            costs, ranks = predictions.measure(target[here])
            whose, escaped = owner[here][own], target[here][own] == escape
            np.add.at(bits, whose, costs[own] + LITERAL_BITS * escaped)
            greedy[whose[(ranks[own] > 0) | escaped]] = False
    if not np.isfinite(bits).all():
        card = scorer.model_card
        raise LLMZipError(f"{card.name} {card.settings} gives tokens of the text no probability")
    for row in rows:
        yield from ((i, ContinuationScore(float(bits[i]), bool(greedy[i]))) for i in row.members)
