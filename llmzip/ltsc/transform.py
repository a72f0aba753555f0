"""The reversible transform: token ids -> fewer ids with a dictionary in front -> the same ids.

Layout, with V the size of the vocabulary: `<Dict>` is V, `</Dict>` is V + 1, meta-token k is V + 2
+ k.

    <Dict> META0 t1 ... tN META1 ... </Dict> BODY

Entries come in the order of their numbers, so the next unused number ends one and begins another;
an entry of the hierarchical mode may hold earlier meta-tokens, and needs no length. Without entries
there is only the body.
"""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.errors import FormatError, LimitError
from llmzip.ltsc.discovery import choose, saving_tokens
from llmzip.types import Int64Array

MARKERS = 2
"""`<Dict>` and `</Dict>`: the ids between the vocabulary and the meta-tokens."""


@dataclasses.dataclass(frozen=True)
class MetaTokens:
    """A sequence with its dictionary."""

    body: list[int]
    entries: list[list[int]]
    """What each meta-token stands for: at least two ids, all of the vocabulary or of earlier
    meta-tokens.
    """
    vocabulary: int

    def to_ids(self) -> Int64Array:
        """The wire form."""
        if not self.entries:
            return np.array(self.body, np.int64)
        ids = [self.vocabulary]
        for k, entry in enumerate(self.entries):
            ids += [self.vocabulary + MARKERS + k, *entry]
        return np.array([*ids, self.vocabulary + 1, *self.body], np.int64)

    @classmethod
    def from_ids(cls, ids: npt.NDArray[np.integer], vocabulary: int) -> MetaTokens:
        """Parse the wire form. Raises FormatError for what `to_ids` cannot have written."""
        given = ids.tolist()
        entries: list[list[int]] = []
        start = 0
        if given and given[0] == vocabulary:
            start = next((i + 1 for i, token in enumerate(given) if token == vocabulary + 1), 0)
            if not start:
                raise FormatError("the dictionary of meta-tokens has no end")
            for token in given[1 : start - 1]:
                if token == vocabulary + MARKERS + len(entries):
                    entries.append([])
                elif entries:
                    _check(token, vocabulary, len(entries) - 1)
                    entries[-1].append(token)
                else:
                    raise FormatError(
                        f"the dictionary begins with token {token} instead of a meta-token"
                    )
            if not entries or min(map(len, entries)) < 2:
                raise FormatError("the dictionary has an entry of fewer than two tokens")
        body = given[start:]
        for token in body:
            _check(token, vocabulary, len(entries))
        return cls(body, entries, vocabulary)

    def expand(self, max_tokens: int | None = None) -> npt.NDArray[np.int32]:
        """The original ids. Raises LimitError where they are more than `max_tokens`."""
        base = self.vocabulary + MARKERS
        out = array.array("i")  # 4 bytes a token, where a list takes 8 and its numbers more
        stack: list[Iterator[int]] = [iter(self.body)]
        while stack:
            for token in stack[-1]:
                if token >= base:
                    stack.append(iter(self.entries[token - base]))
                    break
                out.append(token)
            else:
                stack.pop()
            if max_tokens is not None and len(out) > max_tokens:
                raise LimitError(f"the meta-tokens stand for more than {max_tokens} tokens")
        return np.array(out, np.int32)  # independent of the array


def _check(token: int, vocabulary: int, entries: int) -> None:
    if not (0 <= token < vocabulary or 0 <= token - vocabulary - MARKERS < entries):
        raise FormatError(
            f"token {token} is neither of the vocabulary nor a meta-token known at this position"
        )


def compress(
    ids: npt.NDArray[np.integer], vocabulary: int, *, hierarchical: bool = False
) -> MetaTokens:
    """Find repeats in ids [n], all below `vocabulary`, and replace them.

    hierarchical: whether entries may hold other meta-tokens, which is shorter but not the paper's
    plain layout. Raises ValueError for an id outside the vocabulary.
    """
    if len(ids) and not 0 <= ids.min() <= ids.max() < vocabulary:
        raise ValueError(
            f"token ids from {ids.min()} to {ids.max()}: the vocabulary has {vocabulary}"
        )
    sequence = ids.astype(np.int64)
    entries: list[list[int]] = []
    while chosen := choose(sequence if hierarchical else _apart(sequence, vocabulary)):
        pieces: list[tuple[int, int, int]] = []
        for length, positions in chosen:
            pieces += [
                (position, length, vocabulary + MARKERS + len(entries)) for position in positions
            ]
            entries.append(sequence[positions[0] : positions[0] + length].tolist())
        sequence = _replaced(sequence, sorted(pieces))
    made = _without_losses(MetaTokens(sequence.tolist(), entries, vocabulary))
    pays = len(made.to_ids()) < len(ids)  # the markers count too
    return made if pays else MetaTokens(ids.tolist(), [], vocabulary)


def reduction(before: int, after: int) -> float:
    """The share of tokens saved, dictionary included."""
    return 1 - after / before if before else 0.0


def attention_saving(share: float) -> float:
    """The share of an encoder's attention that a token reduction saves: 1 − (1 − r)² (arXiv
    2506.00307).
    """
    return 1 - (1 - share) ** 2


def _apart(sequence: Int64Array, vocabulary: int) -> Int64Array:
    """The same with all meta-tokens made different, so that no repeat holds one."""
    metas = np.flatnonzero(sequence >= vocabulary)
    unlike = sequence.copy()
    unlike[metas] = sequence.max(initial=0) + 1 + np.arange(len(metas))
    return unlike


def _replaced(sequence: Int64Array, pieces: Sequence[tuple[int, int, int]]) -> Int64Array:
    """The sequence with each piece (position, length, id; in order) replaced by its id."""
    kept = np.ones(len(sequence), bool)
    changed = sequence.copy()
    for position, length, meta in pieces:
        changed[position] = meta
        kept[position + 1 : position + length] = False
    return changed[kept]


def _without_losses(made: MetaTokens) -> MetaTokens:
    """The same without entries that later ones have made useless, and numbered anew."""
    base = made.vocabulary + MARKERS
    uses = [0] * len(made.entries)
    for ids in (made.body, *made.entries):
        for token in ids:
            if token >= base:
                uses[token - base] += 1
    inlined: list[list[int] | None] = []
    numbers: dict[int, int] = {}
    entries: list[list[int]] = []

    def rewritten(ids: list[int]) -> list[int]:
        out: list[int] = []
        for token in ids:
            held = inlined[token - base] if token >= base else None
            if held is not None:
                out += held
            else:
                out.append(numbers[token] if token >= base else token)
        return out

    for k, entry in enumerate(made.entries):
        content = rewritten(entry)
        if saving_tokens(len(content), uses[k]) <= 0:
            inlined.append(content)
        else:
            inlined.append(None)
            numbers[base + k] = base + len(entries)
            entries.append(content)
    return MetaTokens(rewritten(made.body), entries, made.vocabulary)
