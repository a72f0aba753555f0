"""Records <-> payloads on one engine: what archives and single messages have in common
(docs/format.md, "Records").
"""

from __future__ import annotations

from collections.abc import Sequence

import xxhash

from llmzip.accounting import machine_bytes
from llmzip.buffers import whole_number
from llmzip.container.header import MAGIC
from llmzip.engine.base import Engine
from llmzip.errors import IntegrityError, LimitError, LLMZipError
from llmzip.model.tokenizer import Tokens
from llmzip.one_shot import compress, decompress
from llmzip.predictor import records as side_by_side
from llmzip.predictor.record_dictionary import PreparedRecordDictionary
from llmzip.runtime import Runtime
from llmzip.types import Progress

CHECK_SIZES = (0, 1, 2, 4)
"""How many bytes a record's check may have."""
MAX_RECORD_BYTES = 1 << 26


class RecordCoder:
    """Codes records side by side: their payloads have check and all."""

    def __init__(
        self,
        engine: Engine,
        known: PreparedRecordDictionary,
        check: int = 0,
        runtime: Runtime | None = None,
        max_memory: int | None = None,
    ) -> None:
        """max_memory: as of `llmzip.decompress`; the caches of records side by side take at most
        half of it.

        Raises LimitError where one record needs more.
        """
        if whole_number(check, "check") not in CHECK_SIZES:
            raise ValueError(f"check {check}: a record's check has 0, 1, 2 or 4 bytes")
        if max_memory is not None:
            whole_number(max_memory, "max_memory")
        self._engine, self._known, self._check = engine, known, check
        self._runtime, self._max_memory = runtime, max_memory
        limit = machine_bytes() if max_memory is None else max_memory
        need = side_by_side.dictionary_bytes(engine, known) + side_by_side.row_bytes(
            engine, known, side_by_side.most_tokens(engine, known)
        )
        if need > limit:
            raise LimitError(
                f"a record and its dictionary may need {need} bytes of memory, the limit is "
                f"{limit}; raise the limit (--max-memory, or max_memory in Python)"
            )
        self._memory = min(side_by_side.CACHE_BYTES, limit // 2)

    def encode(self, records: Sequence[bytes], progress: Progress | None = None) -> list[bytes]:
        """The payload of each record, its check behind it."""
        for record in records:
            if len(record) > MAX_RECORD_BYTES:
                raise LimitError(f"a record of {len(record)} bytes: {MAX_RECORD_BYTES} at most")
        split = [self._known.words.split(record) for record in records]
        most = side_by_side.most_tokens(self._engine, self._known)
        coded = [i for i, tokens in enumerate(split) if len(tokens.ids) <= most]
        size, count = sum(map(len, records)), sum(len(split[i].ids) for i in coded)

        def report(done: int) -> None:
            if progress:
                progress(size * done // count, done)

        payloads = dict(
            zip(
                coded,
                side_by_side.encode_records(
                    self._engine, self._known, [split[i] for i in coded], self._memory, report
                ),
                strict=True,
            )
        )
        return [
            self._payload(record, payloads.get(i)) + self._check_of(record)
            for i, record in enumerate(records)
        ]

    def decode(
        self, payloads: Sequence[bytes], progress: Progress | None = None
    ) -> list[bytes | LLMZipError]:
        """The inverse of `encode`; for a damaged record the error, without harm to the others."""
        bodies = [payload[: len(payload) - self._check] for payload in payloads]
        coded = [i for i, body in enumerate(bodies) if not body.startswith(MAGIC)]

        def report(done: int) -> None:
            if progress:
                progress(0, done)

        tokens = dict(
            zip(
                coded,
                side_by_side.decode_records(
                    self._engine, self._known, [bodies[i] for i in coded], self._memory, report
                ),
                strict=True,
            )
        )
        return [
            self._checked(payload, body, tokens.get(i))
            for i, (payload, body) in enumerate(zip(payloads, bodies, strict=True))
        ]

    def _payload(self, record: bytes, coded: bytes | None) -> bytes:
        """What the model has coded, or a frame: where that is shorter, where nothing is coded, and
        where a decoder would take what is for a frame.
        """
        if coded is not None and coded.startswith(MAGIC):
            coded = None
        if coded is not None and len(coded) <= len(record):
            return coded
        frame = compress(record, model=self._engine.model, runtime=self._runtime)
        return frame if coded is None or len(frame) < len(coded) else coded

    def _checked(
        self, payload: bytes, body: bytes, tokens: Tokens | IntegrityError | None
    ) -> bytes | LLMZipError:
        if len(payload) < self._check:
            return IntegrityError(f"{len(payload)} bytes are too few for a record and its check")
        try:
            if tokens is None:
                record = decompress(
                    body,
                    model=self._engine.model,
                    max_memory=self._max_memory,
                    max_output=MAX_RECORD_BYTES,
                    runtime=self._runtime,
                )
            elif isinstance(tokens, IntegrityError):
                return tokens
            else:
                record = self._known.words.join(tokens)
        except LLMZipError as error:
            return error
        if self._check_of(record) != payload[len(body) :]:
            return IntegrityError("its check differs: it is damaged; get it again")
        return record

    def _check_of(self, record: bytes) -> bytes:
        return xxhash.xxh3_64(record).intdigest().to_bytes(8, "little")[: self._check]
