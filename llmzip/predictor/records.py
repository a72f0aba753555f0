"""Records side by side: each is coded by itself, behind what its dictionary has taught, and many of
them advance together (docs/format.md, "Records").

Nothing passes from one record to another: they share the frozen mixer, and begin at the same
context. An encoder knows how long they are and takes the longest first. A decoder finds out:
streams that have ended are left behind when they are many, and the cache grows with the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from llmzip import accounting
from llmzip.arithmetic.constants import BUCKET_BITS, BUCKET_SIZE, FREQUENCY_TOTAL
from llmzip.coding.range_coder import MOST_PER_BYTE, RangeDecoder, RangeEncoder, padded
from llmzip.engine.base import Engine, Session
from llmzip.errors import IntegrityError
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.correction import Corrections
from llmzip.predictor.record_dictionary import PreparedRecordDictionary
from llmzip.types import TokenProgress

ROWS = 64
"""Records that advance together, where memory allows."""
CACHE_BYTES = 1 << 30
"""What their caches may take together."""

_ROOM = 128
"""Positions behind the context that the cache has room for at first."""
_MOST_ENDED = 0.25
"""Which part of the streams may have ended before they are left behind."""

_LITERAL_TABLE = np.full((1, 256), FREQUENCY_TOTAL // 256, np.int64)


def most_tokens(engine: Engine, known: PreparedRecordDictionary) -> int:
    """How many tokens a record may have, its end among them."""
    return engine.model.spec.max_positions - len(known.context)


def row_bytes(engine: Engine, known: PreparedRecordDictionary, tokens: int) -> int:
    """The memory of one record of so many tokens, beside the dictionary's."""
    slots = accounting.rounded_up(len(known.context) + tokens)
    return accounting.llm_bytes(tokens, 1, slots, 0, engine.model.spec, False)


def dictionary_bytes(engine: Engine, known: PreparedRecordDictionary) -> int:
    """The memory of the dictionary's mixers and of the context."""
    return row_bytes(engine, known, 1) + accounting.llm_bytes(
        known.tokens, 1, 0, known.capacity_bits, engine.model.spec, True
    )


def encode_records(
    engine: Engine,
    known: PreparedRecordDictionary,
    records: Sequence[Tokens],
    memory: int = CACHE_BYTES,
    progress: TokenProgress | None = None,
) -> list[bytes]:
    """The coded bytes of each record, of `most_tokens` tokens at most, its end among them.

    memory: the bytes that their caches may take together.
    """
    coded: dict[int, bytes] = {}
    done = 0
    order = sorted(range(len(records)), key=lambda i: -len(records[i].ids))
    while order:
        longest = len(records[order[0]].ids)
        count = _rows(engine, known, longest, memory)
        part, order = order[:count], order[count:]
        for i, data in zip(part, _encode(engine, known, [records[i] for i in part]), strict=True):
            coded[i] = data
            done += len(records[i].ids)
        if progress:
            progress(done)
    return [coded[i] for i in range(len(records))]


def _rows(engine: Engine, known: PreparedRecordDictionary, tokens: int, memory: int) -> int:
    """How many records of so many tokens go side by side."""
    most = max(ROWS, engine.batches.rows)
    return max(1, min(most, memory // row_bytes(engine, known, tokens)))


def _encode(
    engine: Engine, known: PreparedRecordDictionary, records: Sequence[Tokens]
) -> list[bytes]:
    """The same for records side by side, the longest first."""
    lengths = np.array([len(record.ids) for record in records])
    rows, steps = len(records), int(lengths[0])
    start, mixer = known.start(), known.frozen_mixer()
    ids = np.zeros((rows, steps), np.int32)
    for row, record in enumerate(records):
        ids[row, : len(record.ids)] = record.ids
    inputs = np.concatenate(
        [np.full((rows, 1), start.last_token, np.int32), ids[:, :-1]], axis=1
    )  # each token one step later
    literals = [iter(record.literals) for record in records]
    escape = engine.model.spec.escape_token
    coders = [RangeEncoder() for _ in records]
    chunk = max(1, min(engine.batches.encode // rows, steps))
    session = start.session(rows, len(start.context) + steps, steps, chunk)
    if mixer:
        mixer.start(rows, start.context)
    corrections = Corrections([mixer])
    for origin in range(0, steps, chunk):
        width = int((lengths > origin).sum())
        span = inputs[:width, origin : origin + chunk]
        head = session.advance(np.ascontiguousarray(span))
        for t in range(origin, origin + span.shape[1]):
            active = int((lengths > t).sum())
            vectors = np.ascontiguousarray(head.vectors[:active, t - origin])
            scales = np.ascontiguousarray(head.scales[:active, t - origin])
            distributions = engine.distributions(vectors, scales)
            corrections.correct([slice(0, active)], vectors, distributions)
            if mixer:
                mixer.follow(ids[:active, t])
            buckets = ids[:active, t] >> BUCKET_BITS
            slots = ids[:active, t] & (BUCKET_SIZE - 1)
            of_buckets = distributions.bucket_frequencies()
            of_slots = distributions.token_frequencies(buckets)
            for r in range(active):
                own = slice(r, r + 1)
                coders[r].encode(buckets[own], of_buckets[own])
                coders[r].encode(slots[own], of_slots[own])
                if ids[r, t] == escape:
                    literal = np.array([next(literals[r])], np.int32)
                    coders[r].encode(literal, _LITERAL_TABLE)
    return [
        padded(coder.finish(), int(length)) for coder, length in zip(coders, lengths, strict=True)
    ]


class _Record:
    """A record that is being decoded."""

    def __init__(self, number: int, coded: bytes, end: int, most: int) -> None:
        self.number = number
        self.ids: list[int] = []
        self._literals = bytearray()
        self._coder = RangeDecoder(coded)
        self._end = end
        self._most = min(most, MOST_PER_BYTE * (1 + len(coded)))
        self.error: IntegrityError | None = None

    @property
    def has_ended(self) -> bool:
        return bool(self.error or (self.ids and self.ids[-1] == self._end))

    @property
    def result(self) -> Tokens | IntegrityError:
        return self.error or Tokens(np.array(self.ids, np.int32), bytes(self._literals))

    def bucket(self, table: np.ndarray[tuple[int, int], np.dtype[np.integer]]) -> int:
        """The bucket of the next token; 0, and `error`, where no encoder can have written it."""
        try:
            return int(self._coder.decode(table)[0])
        except IntegrityError as error:
            self.error = error
            return 0

    def token(
        self,
        bucket: int,
        table: np.ndarray[tuple[int, int], np.dtype[np.integer]],
        vocab: int,
        escape: int,
    ) -> int:
        """The next token in its bucket, and the literal behind it."""
        if self.error:
            return 0
        try:
            token = bucket << BUCKET_BITS | int(self._coder.decode(table)[0])
            if token >= vocab:
                raise IntegrityError("a decoded token lies outside the vocabulary")
            if token == escape:
                self._literals.append(int(self._coder.decode(_LITERAL_TABLE)[0]))
            self.ids.append(token)
            if len(self.ids) >= self._most and token != self._end:
                raise IntegrityError(f"it has not ended after {self._most} tokens")
        except IntegrityError as error:
            self.error = error
            return 0
        return token


def decode_records(
    engine: Engine,
    known: PreparedRecordDictionary,
    coded: Sequence[bytes],
    memory: int = CACHE_BYTES,
    progress: TokenProgress | None = None,
) -> list[Tokens | IntegrityError]:
    """The inverse of `encode_records`; for a record with symbols that no encoder writes the error,
    without harm to the others.
    """
    most = most_tokens(engine, known)
    found: dict[int, Tokens | IntegrityError] = {}
    done = 0
    # Those of about as many bytes are of about as many tokens.
    order = sorted(range(len(coded)), key=lambda i: -len(coded[i]))
    count = _rows(engine, known, min(_ROOM, most), memory)
    waiting = [order[first : first + count] for first in range(0, len(order), count)][::-1]
    while waiting:
        part = waiting.pop()
        records = [_Record(i, coded[i], known.words.end, most) for i in part]
        for record in _decode(engine, known, records, memory):
            found[record.number] = record.result
            done += len(record.ids)
        late = [i for i in part if i not in found]
        if late:  # there was no memory for all that are so long
            waiting += [half for half in (late[len(late) // 2 :], late[: len(late) // 2]) if half]
        if progress:
            progress(done)
    return [found[i] for i in range(len(coded))]


def _decode(
    engine: Engine, known: PreparedRecordDictionary, records: Sequence[_Record], memory: int
) -> Iterator[_Record]:
    """Those that have ended; some may be left out for want of memory, but not all."""
    spec = engine.model.spec
    start, mixer = known.start(), known.frozen_mixer()
    rows = list(records)
    room = min(_ROOM, most_tokens(engine, known))
    session: Session = start.session(len(rows), len(start.context) + room, room, 1)
    if mixer:
        mixer.start(len(rows), start.context)
    ids = np.full(len(rows), start.last_token, np.int32)
    step = 0
    corrections = Corrections([mixer])
    while True:
        head = session.advance(ids[:, None])
        step += 1
        vectors, scales = head.vectors[:, 0], head.scales[:, 0]
        distributions = engine.distributions(vectors, scales)
        corrections.correct([slice(0, len(rows))], vectors, distributions)
        tables = distributions.bucket_frequencies()
        live = [r for r, record in enumerate(rows) if not record.has_ended]
        buckets = np.zeros(len(rows), np.int32)
        for r in live:
            buckets[r] = rows[r].bucket(tables[r : r + 1])
        tables = distributions.token_frequencies(buckets)
        ids = np.zeros(len(rows), np.int32)
        for r in live:
            ids[r] = rows[r].token(
                int(buckets[r]), tables[r : r + 1], spec.vocab, spec.escape_token
            )
        if mixer:
            mixer.follow(ids)
        yield from (rows[r] for r in live if rows[r].has_ended)
        live = [r for r in live if not rows[r].has_ended]
        if not live:
            return
        if step == room:
            room = min(2 * room, most_tokens(engine, known))
            live = live[: _rows(engine, known, room, memory)]
        elif len(live) >= len(rows) * (1 - _MOST_ENDED):
            # Those at the end are left out without a copy.
            rows, ids = rows[: live[-1] + 1], ids[: live[-1] + 1]
            continue
        session = session.fork(live, len(start.context) + room, 1)
        if mixer:
            mixer.select(np.array(live, np.int32))
        rows, ids = [rows[r] for r in live], ids[live]
