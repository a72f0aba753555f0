"""Dictionaries: a text that both sides know, learned before the first token is coded.

It fills the mixer, and its end is what every stream has just read (docs/format.md, "Dictionaries").
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from llmzip.buffers import flat
from llmzip.engine.base import Engine, Session
from llmzip.exclusive import new_lock
from llmzip.mixing.base import MIXING_VERSION, ContextMixer
from llmzip.model.tokenizer import Tokenizer, Tokens
from llmzip.predictor.lockstep import encode_tokens
from llmzip.predictor.schedule import Start
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import DictionaryProgress

CONTEXT_TOKENS = 512
"""How many of the dictionary's last tokens each stream has read, at most: never more than half of
the model's positions.
"""

STREAM_TOKENS, WINDOW = 4096, 1024
"""The streams and the window with which the mixer reads the dictionary."""

DIGEST_BYTES = 4

TEXT_LABEL = b"llmzip prime 1"

_CHUNK = 64


class PreparedDictionary:
    """A dictionary as one engine knows it. Made once, used for any number of messages."""

    def __init__(
        self,
        tokens: Tokens,
        engine: Engine,
        label: bytes = TEXT_LABEL,
        context_tokens: int = CONTEXT_TOKENS,
        progress: DictionaryProgress | None = None,
    ) -> None:
        """Take the dictionary's tokens. Takes the model's time for them when first used.

        label: what is digested before them. context_tokens: how many of the last ones each stream
        has read, at most.
        """
        self._engine = engine
        self._progress = progress
        self._tokens = tokens
        self._mixers: dict[tuple[int, int], ContextMixer] = {}
        self._session: Session | None = None
        self._lock = new_lock()
        ids = tokens.ids
        read = min(len(ids), context_tokens, engine.model.spec.max_positions // 2)
        self.context = ids[len(ids) - read :]
        """The tokens that each stream has read: [at most context_tokens]."""
        digest = hashlib.sha256(label)
        for part in (engine.model.fingerprint, ids.astype("<i4").tobytes(), tokens.literals):
            digest.update(len(part).to_bytes(8, "little") + part)
        self.sha256 = digest.digest()

    @property
    def digest(self) -> bytes:
        """By which frames name it."""
        return self.sha256[:DIGEST_BYTES]

    @property
    def tokens(self) -> int:
        """How many tokens the dictionary has."""
        return len(self._tokens.ids)

    def mixer(self, capacity_bits: int, version: int = MIXING_VERSION) -> ContextMixer:
        """A mixer of its own for the caller that has learned the dictionary; see `Engine.mixer`."""
        key = capacity_bits, version
        with self._lock:
            if key not in self._mixers:
                mixer = self._engine.mixer(capacity_bits, version)
                if self.tokens:
                    longest = self._engine.model.spec.max_positions
                    streams = max(1, self.tokens // STREAM_TOKENS, -(-self.tokens // longest))
                    layout = StreamLayout(self.tokens, streams, WINDOW)
                    encode_tokens(  # only to learn
                        self._engine, self._tokens, layout, mixer, progress=self._report
                    )
                self._mixers[key] = mixer
            return self._mixers[key].copy()

    def _report(self, done: int) -> None:
        if self._progress:
            self._progress(done, self.tokens)

    def start(self) -> Start:
        """Where streams begin that have read the end of the dictionary."""
        context = self.context
        if not len(context):
            return Start(self._engine)
        with self._lock:
            if self._session is None:
                fed = np.concatenate([[self._engine.model.spec.start_token], context[:-1]]).astype(
                    np.int32
                )
                session = self._engine.session(1, len(fed) + 1, min(_CHUNK, len(fed)))
                for first in range(0, len(fed), _CHUNK):
                    session.advance(fed[None, first : first + _CHUNK])
                self._session = session
            return Start(self._engine, context, self._session)


_Prepared = TypeVar("_Prepared", bound=PreparedDictionary)

RulesOf = Callable[[bytes], Sequence[str]]
"""Fingerprint -> the tokenizer rules to try."""


class KeptPreparation(Generic[_Prepared]):
    """A dictionary as the last engine knows it, kept so that it is read only once."""

    def __init__(self, prepare: Callable[[Engine, str | None], _Prepared]) -> None:
        """prepare: for an engine, by these tokenizer rules instead of its model's own."""
        self._prepare = prepare
        self._prepared: tuple[Engine, _Prepared] | None = None
        self._split_by_others: tuple[Engine, _Prepared] | None = None

    def on(self, engine: Engine) -> _Prepared:
        """As this engine knows it."""
        kept = self._prepared
        if kept is None or kept[0] is not engine:
            kept = self._prepared = engine, self._prepare(engine, None)
        return kept[1]

    def split_otherwise(self, engine: Engine, digest: bytes, rules_of: RulesOf) -> _Prepared | None:
        """Split so that its SHA-256 begins so, by other rules for the same weights."""
        kept = self._split_by_others
        if kept and kept[0] is engine and kept[1].sha256.startswith(digest):
            return kept[1]
        for rules in rules_of(engine.model.fingerprint):
            prepared = self._prepare(engine, rules)
            if prepared.sha256.startswith(digest):
                self._split_by_others = engine, prepared
                return prepared
        return None


def tokenizer_by(engine: Engine, rules: str | None) -> Tokenizer:
    """The model's tokenizer, or with these rules instead of its own."""
    if rules is None:
        return engine.model.tokenizer
    return Tokenizer(dataclasses.replace(engine.model.vocabulary, rules=rules))


class Dictionary:
    """A dictionary for `dictionary=`: keep it, so that it is read only once.

    >>> dictionary = Dictionary(b'{"level": "info", "message": "started"}')
    """

    def __init__(
        self,
        content: bytes | bytearray | memoryview,
        *,
        progress: DictionaryProgress | None = None,
    ) -> None:
        """Take the text. progress: is told while an engine reads it, the first time that it is
        needed.
        """
        self._progress = progress
        self.content = bytes(flat(content, "Dictionary"))
        """The text itself."""
        self._kept: KeptPreparation[PreparedDictionary] = KeptPreparation(self._prepare)

    def __reduce__(self) -> tuple[type[Dictionary], tuple[bytes]]:
        """A copy or pickle is the text: what an engine has read stays here."""
        return Dictionary, (self.content,)

    def on(self, engine: Engine) -> PreparedDictionary:
        """The dictionary as this engine knows it; the last engine's is kept."""
        return self._kept.on(engine)

    def split_otherwise(
        self, engine: Engine, digest: bytes, rules_of: RulesOf
    ) -> PreparedDictionary | None:
        """The dictionary split so that it has this digest, by other rules for the same weights; the
        last one is kept.
        """
        return self._kept.split_otherwise(engine, digest, rules_of)

    def _prepare(self, engine: Engine, rules: str | None) -> PreparedDictionary:
        if self._progress:
            self._progress(0, None)
        tokens = tokenizer_by(engine, rules).encode(self.content)
        return PreparedDictionary(tokens, engine, progress=self._progress)
