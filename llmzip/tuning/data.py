"""Training text: documents as token sequences, and the sequences of a step drawn from them.

The compressor's streams begin behind the start token, at the start of a text or anywhere in it. So
do the sequences here: one part begins where a document does, the others where a shuffled grid over
all text falls.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.model.vocabulary import Vocabulary

DOCUMENT_END = b"\n\x0c\n"
"""A line that holds a form feed separates the documents of a file; it is no part of the text."""

Ids = npt.NDArray[np.int32]
Tokenize = Callable[[bytes], Ids]


def documents(path: pathlib.Path) -> list[bytes]:
    """The documents of a text file, none empty."""
    return [part for part in path.read_bytes().split(DOCUMENT_END) if part.strip()]


@dataclasses.dataclass(frozen=True)
class Corpus:
    """Documents one after another, each behind a start token."""

    ids: Ids  # [n]
    starts: npt.NDArray[np.int64]  # [documents], where the start tokens are

    @classmethod
    def of(cls, texts: Iterable[bytes], tokenize: Tokenize, start_token: int) -> Corpus:
        """Split documents into tokens."""
        parts: list[Ids] = []
        starts, total = [], 0
        for text in texts:
            ids = tokenize(text)
            starts.append(total)
            parts += [np.array([start_token], np.int32), ids.astype(np.int32)]
            total += 1 + len(ids)
        return cls(
            np.concatenate(parts) if parts else np.empty(0, np.int32), np.array(starts, np.int64)
        )


@dataclasses.dataclass(frozen=True)
class Batch:
    """What a step trains on."""

    inputs: npt.NDArray[np.int64]  # [B, T], each row begins with the start token
    targets: npt.NDArray[np.int64]  # [B, T]; NOT_SCORED where nothing is to be predicted


NOT_SCORED = -100


def sequence(ids: Ids, first: int, length: int, start_token: int) -> tuple[Ids, Ids]:
    """Inputs and targets of the `length` tokens from `first`; fewer at the end are filled up with
    what is not scored.
    """
    tokens = ids[first : first + length]
    inputs = np.full(length, start_token, np.int32)
    targets = np.full(length, NOT_SCORED, np.int32)
    inputs[1 : len(tokens)] = tokens[: len(tokens) - 1]
    targets[: len(tokens)] = np.where(tokens == start_token, NOT_SCORED, tokens)
    return inputs, targets


def batches(
    corpus: Corpus,
    size: int,
    length: int,
    start_token: int,
    from_start: float,
    seed: int,
    skip: int = 0,
) -> Iterator[Batch]:
    """Batches without end, the same for the same seed.

    size, length: sequences of a batch and their tokens. from_start: the share of sequences that
    begin with a document. skip: how many batches a run before has had already.
    """
    generator = np.random.default_rng(seed)

    def grid() -> Iterator[int]:
        while True:
            offset = int(generator.integers(length))
            firsts = np.arange(offset, max(len(corpus.ids) - 1, offset + 1), length)
            yield from generator.permutation(firsts).tolist()

    # A document's start is drawn in proportion to what a sequence shows of the document.
    lengths = np.diff(np.append(corpus.starts, len(corpus.ids)))
    chances = np.cumsum(np.minimum(lengths, length))
    anywhere = grid()

    def document() -> int:
        return (
            int(
                corpus.starts[
                    np.searchsorted(chances, generator.integers(chances[-1]), side="right")
                ]
            )
            + 1
        )

    made = 0
    while True:
        firsts = [
            document() if generator.random() < from_start else next(anywhere) for _ in range(size)
        ]
        made += 1
        if made <= skip:
            continue
        rows = [sequence(corpus.ids, first, length, start_token) for first in firsts]
        inputs, targets = (np.stack(side).astype(np.int64) for side in zip(*rows, strict=True))
        yield Batch(inputs, targets)


def held_out_batches(corpus: Corpus, size: int, length: int, start_token: int) -> Iterator[Batch]:
    """All of a corpus once, document by document, in sequences of at most `length` tokens."""
    ends = [*corpus.starts[1:].tolist(), len(corpus.ids)]
    rows: list[tuple[Ids, Ids]] = []
    for start, end in zip(corpus.starts.tolist(), ends, strict=True):
        for first in range(start + 1, end, length):
            rows.append(sequence(corpus.ids[:end], first, length, start_token))
    nothing = np.full(length, start_token, np.int32), np.full(length, NOT_SCORED, np.int32)
    rows += [nothing] * (-len(rows) % size)  # batches of one shape
    for first in range(0, len(rows), size):
        inputs, targets = (
            np.stack(side).astype(np.int64)
            for side in zip(*rows[first : first + size], strict=True)
        )
        yield Batch(inputs, targets)


def token_bytes(vocabulary: Vocabulary) -> npt.NDArray[np.int64]:
    """How many bytes each token stands for; an escape token for one: [V]."""
    sizes = np.array([len(piece) for piece in vocabulary.token_bytes], np.int64)
    sizes[vocabulary.escape_token] = 1
    return sizes


def save(path: pathlib.Path, corpora: dict[str, Corpus]) -> None:
    """Write corpora as one .npz file."""
    arrays: dict[str, Any] = {}
    for name, corpus in corpora.items():
        narrow = np.uint16 if corpus.ids.max(initial=0) < 1 << 16 else np.int32
        arrays[f"{name}.ids"], arrays[f"{name}.starts"] = corpus.ids.astype(narrow), corpus.starts
    np.savez_compressed(path, **arrays)


def load(path: pathlib.Path) -> dict[str, Corpus]:
    """The inverse of `save`."""
    with np.load(path) as arrays:
        names = [name.removesuffix(".ids") for name in arrays.files if name.endswith(".ids")]
        return {
            name: Corpus(arrays[f"{name}.ids"].astype(np.int32), arrays[f"{name}.starts"])
            for name in names
        }


def split(texts: Sequence[bytes], share: float, seed: int) -> tuple[list[bytes], list[bytes]]:
    """Documents to train on and documents held out, about `share` of the bytes; a single document
    is cut near its end.
    """
    if len(texts) == 1:
        cut = int(len(texts[0]) * (1 - share))
        return [texts[0][:cut]], [texts[0][cut:]]
    order = np.random.default_rng(seed).permutation(len(texts))
    wanted = share * sum(map(len, texts))
    held: list[bytes] = []
    while wanted > 0 and len(held) < len(texts) - 1:
        held.append(texts[order[len(held)]])
        wanted -= len(held[-1])
    return [texts[i] for i in order[len(held) :]], held
