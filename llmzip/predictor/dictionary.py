"""Dictionaries: a text that both sides know, learned before the first token is coded.

It fills the mixer, and its end is what every stream has just read (docs/format.md, "Dictionaries").
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence

import numpy as np

from llmzip.buffers import flat
from llmzip.engine.base import Engine, Session
from llmzip.exclusive import new_lock
from llmzip.mixing.base import MIXING_VERSION, ContextMixer
from llmzip.model.tokenizer import Tokenizer
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

_CHUNK = 64


class PreparedDictionary:
    """A dictionary as one engine knows it. Made once, used for any number of messages."""

    def __init__(
        self,
        content: bytes,
        engine: Engine,
        rules: str | None = None,
        progress: DictionaryProgress | None = None,
    ) -> None:
        """Read the dictionary. Takes the model's time for it when first used. rules: instead of the
        model's own.
        """
        self._engine = engine
        self._progress = progress
        if progress:
            progress(0, None)
        words = engine.model.vocabulary
        tokenizer = (
            engine.model.tokenizer
            if rules is None
            else Tokenizer(dataclasses.replace(words, rules=rules))
        )
        self._tokens = tokenizer.encode(content)
        self._mixers: dict[tuple[int, int], ContextMixer] = {}
        self._session: Session | None = None
        self._lock = new_lock()
        ids = self._tokens.ids
        read = min(len(ids), CONTEXT_TOKENS, engine.model.spec.max_positions // 2)
        self.context = ids[len(ids) - read :]
        """The tokens that each stream has read: [at most CONTEXT_TOKENS]."""
        digest = hashlib.sha256(b"llmzip prime 1")
        for part in (engine.model.fingerprint, ids.astype("<i4").tobytes(), self._tokens.literals):
            digest.update(len(part).to_bytes(8, "little") + part)
        self.digest = digest.digest()[:DIGEST_BYTES]

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
        self._prepared: tuple[Engine, PreparedDictionary] | None = None
        self._split_by_others: tuple[Engine, PreparedDictionary] | None = None

    def __reduce__(self) -> tuple[type[Dictionary], tuple[bytes]]:
        """A copy or pickle is the text: what an engine has read stays here."""
        return Dictionary, (self.content,)

    def on(self, engine: Engine) -> PreparedDictionary:
        """The dictionary as this engine knows it; the last engine's is kept."""
        kept = self._prepared
        if kept is None or kept[0] is not engine:
            kept = self._prepared = (
                engine,
                PreparedDictionary(self.content, engine, progress=self._progress),
            )
        return kept[1]

    def split_otherwise(
        self, engine: Engine, digest: bytes, rules_of: Callable[[bytes], Sequence[str]]
    ) -> PreparedDictionary | None:
        """The dictionary split so that it has this digest, by other rules for the same weights; the
        last one is kept.

        rules_of: fingerprint -> the rules to try.
        """
        kept = self._split_by_others
        if kept and kept[0] is engine and kept[1].digest == digest:
            return kept[1]
        for prepared in (
            PreparedDictionary(self.content, engine, text, self._progress)
            for text in rules_of(engine.model.fingerprint)
        ):
            if prepared.digest == digest:
                self._split_by_others = engine, prepared
                return prepared
        return None
