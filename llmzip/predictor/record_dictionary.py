"""Records' dictionaries: samples that both sides have, and the byte that ends each record
(docs/format.md, "Records").
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from llmzip.buffers import Buffer, flat, whole_number
from llmzip.engine.base import Engine
from llmzip.errors import LimitError, UnsupportedModelError
from llmzip.mixing.base import ContextMixer, capacity_bits_for
from llmzip.model.tokenizer import Tokenizer, Tokens
from llmzip.model.vocabulary import Vocabulary
from llmzip.predictor.dictionary import (
    CONTEXT_TOKENS,
    KeptPreparation,
    PreparedDictionary,
    RulesOf,
    tokenizer_by,
)

MAX_DICTIONARY_BYTES = 1 << 20
"""The most that samples may hold together, with what an archive writes beside each: the model reads
all of it before the first record.
"""
MAX_CONTEXT_TOKENS = 1 << 15

RECORDS_VERSION = 2
"""The version of docs/format.md, "Records", that is written."""
MIXING_VERSIONS = {1: 2, 2: 3}
"""Each version's mixing."""

_END_BYTES: tuple[int, ...] = (0x0A, 0x00, *range(1, 10), *range(11, 256))
"""The bytes that may end records, the first choice first."""


class RecordTokens:
    """Splits records into tokens, and joins them; the last token of each is the end."""

    def __init__(self, vocabulary: Vocabulary, tokenizer: Tokenizer, end_byte: int) -> None:
        """end_byte: what the end token stands for elsewhere."""
        self._tokenizer = tokenizer
        self._escape = vocabulary.escape_token
        self._end_byte = end_byte
        self.end: int = vocabulary.token_bytes.index(bytes([end_byte]))

    def split(self, record: bytes) -> Tokens:
        """The tokens of a record. Where one of them is the end token, an escape token takes its
        place.
        """
        tokens = self._tokenizer.encode(record)
        ids, literals = tokens.ids, tokens.literals
        if (ids == self.end).any():
            rest = iter(literals)
            literals = bytes(
                self._end_byte if token == self.end else next(rest)
                for token in ids[(ids == self.end) | (ids == self._escape)]
            )
            ids = np.where(ids == self.end, np.int32(self._escape), ids)
        return Tokens(np.append(ids, np.int32(self.end)), literals)

    def join(self, tokens: Tokens) -> bytes:
        """The inverse of `split`. Raises IntegrityError for what it never makes."""
        return self._tokenizer.decode(Tokens(tokens.ids[:-1], tokens.literals))


class PreparedRecordDictionary(PreparedDictionary):
    """A records' dictionary as one engine knows it."""

    def __init__(
        self,
        samples: Sequence[bytes],
        engine: Engine,
        context_tokens: int,
        rules: str | None,
        version: int,
    ) -> None:
        words = engine.model.vocabulary
        self.words = RecordTokens(words, tokenizer_by(engine, rules), _end_byte(words, samples))
        """How records are split."""
        parts = [self.words.split(sample) for sample in samples]
        ids = np.concatenate([np.empty(0, np.int32), *(part.ids for part in parts)])
        tokens = Tokens(ids, b"".join(part.literals for part in parts))
        self._mixing_version = MIXING_VERSIONS[version]
        super().__init__(tokens, engine, b"llmzip records %d" % version, context_tokens)

    @property
    def capacity_bits(self) -> int:
        """The capacity of the mixer that has learned all samples; 0 where there are none."""
        return capacity_bits_for(self.tokens) if self.tokens else 0

    def frozen_mixer(self) -> ContextMixer | None:
        """A mixer that has learned the samples; None where there are none."""
        if not self.capacity_bits:
            return None
        return self.mixer(self.capacity_bits, self._mixing_version)


class RecordDictionary:
    """Samples of the records to come, which both sides have: keep it, so that it is read only once.

    The order counts: all records are read behind the last samples.

    >>> dictionary = RecordDictionary([b'{"level": "info"}', b'{"level": "warning"}'])
    """

    def __init__(self, samples: Sequence[Buffer] = (), *, context: int = CONTEXT_TOKENS) -> None:
        """context: how many tokens of the last samples each record is read behind, at most.

        Raises LimitError for more than `MAX_DICTIONARY_BYTES`.
        """
        self.samples = tuple(bytes(flat(sample, "RecordDictionary")) for sample in samples)
        """The samples."""
        self.context = context
        """How many tokens each record is read behind, at most."""
        if not 0 <= whole_number(context, "context") <= MAX_CONTEXT_TOKENS:
            raise ValueError(f"a context of {context} tokens: 0 to {MAX_CONTEXT_TOKENS}")
        size = sum(len(sample) + 1 for sample in self.samples)
        if size > MAX_DICTIONARY_BYTES:
            raise LimitError(
                f"a dictionary of {size} bytes: {MAX_DICTIONARY_BYTES} are the most; "
                "`llmzip dictionary train` chooses the samples that save most"
            )
        self._kept: dict[int, KeptPreparation[PreparedRecordDictionary]] = {
            version: KeptPreparation(functools.partial(self._prepare, version))
            for version in MIXING_VERSIONS
        }

    def __reduce__(self) -> tuple[object, ...]:
        """A copy or pickle is the samples: what an engine has read stays here."""
        return _restored, (self.samples, self.context)

    def on(self, engine: Engine, version: int = RECORDS_VERSION) -> PreparedRecordDictionary:
        """The dictionary as this engine knows it, for a version of records; the last engine's is
        kept.
        """
        return self._kept[version].on(engine)

    def split_otherwise(
        self, engine: Engine, digest: bytes, rules_of: RulesOf, version: int
    ) -> PreparedRecordDictionary | None:
        """The dictionary split so that it has this digest, by other rules for the same weights."""
        return self._kept[version].split_otherwise(engine, digest, rules_of)

    def _prepare(self, version: int, engine: Engine, rules: str | None) -> PreparedRecordDictionary:
        return PreparedRecordDictionary(self.samples, engine, self.context, rules, version)


def _restored(samples: Sequence[bytes], context: int) -> RecordDictionary:
    return RecordDictionary(samples, context=context)


def _end_byte(words: Vocabulary, samples: Sequence[bytes]) -> int:
    """What ends records: the first byte that has a token and that no sample has, else the first
    that has a token.
    """
    pieces, used = set(words.token_bytes), set(b"".join(samples))
    known: list[int] = [byte for byte in _END_BYTES if bytes([byte]) in pieces]
    if not known:
        raise UnsupportedModelError(
            "no token of the model stands for a single byte, so that none can end records: "
            "take another model"
        )
    return next((byte for byte in known if byte not in used), known[0])
