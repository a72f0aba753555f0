"""The language-model codec: bytes -> tokens -> lockstep streams -> range coder (docs/format.md)."""

from __future__ import annotations

import io

import numpy as np

from llmzip import levels
from llmzip.codecs.base import Progress
from llmzip.container.varint import ByteReader, varint
from llmzip.engine.base import Engine
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor.lockstep import Progress as TokenProgress
from llmzip.predictor.lockstep import decode_tokens, encode_tokens

_DEFAULT_LEVEL = levels.level_parameters(levels.DEFAULT_LEVEL)


class LLMCodec:
    """Codes blocks of text with one model at one level; decoding takes its parameters from the payload."""

    id = 3
    name = "llm"

    def __init__(
        self,
        engine: Engine,
        level: levels.Level = _DEFAULT_LEVEL,
        *,
        max_cache: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        """level: what encoding follows. max_cache: the bytes of key/value cache that decoding may use at most."""
        self._engine = engine
        self._level = level
        self._max_cache = max_cache
        self._progress = progress

    @property
    def model(self) -> IntegerModel:
        """The model that codes."""
        return self._engine.model

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`. Raises LimitError for more than one block can hold: see `encode_prefix`."""
        payload, covered = self.encode_prefix(data)
        if covered < len(data):
            raise LimitError(f"{len(data)} bytes are more than one block holds ({covered}); use a smaller block size")
        return payload

    def encode_prefix(self, data: bytes) -> tuple[bytes, int]:
        """The payload of one block that holds as much of `data` as fits, and how many bytes that is."""
        spec = self.model.spec
        tokens = self.model.tokenizer.encode(data)
        most = levels.capacity(self._level, spec)
        if len(tokens.ids) > most:
            kept = tokens.ids[:most]
            escapes = int(np.count_nonzero(kept == spec.escape_token))
            tokens = Tokens(kept, tokens.literals[:escapes])
            data = self.model.tokenizer.decode(tokens)
        count = len(tokens.ids)
        layout = levels.plan(self._level, count, spec)
        coded = encode_tokens(self._engine, tokens, layout.streams, layout.window, self._reporter(count, len(data)))
        parameters = varint(count) + varint(layout.streams) + varint(layout.window // levels.WINDOW_UNIT)
        return parameters + coded, len(data)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`. Raises LimitError where the block needs more cache than allowed."""
        source = io.BytesIO(payload)
        count, streams, window = _read_parameters(source)
        spec = self.model.spec
        if (
            not 1 <= count <= size
            or not 1 <= streams <= count
            or not window
            or -(-count // streams) > spec.max_positions
        ):
            raise FormatError(f"impossible block parameters ({count} tokens, {streams} streams): the file is damaged")
        need = levels.cache_bytes(spec, count, streams, window)
        if self._max_cache is not None and need > self._max_cache:
            raise LimitError(
                f"a block needs {need} bytes of cache, more than the {self._max_cache} that its frame states"
            )
        try:
            tokens = decode_tokens(self._engine, source.read(), count, streams, window, self._reporter(count, size))
        except MemoryError as error:
            raise LimitError(
                f"decoding a block needs {need} bytes of cache, more than this machine can give"
            ) from error
        data = self.model.tokenizer.decode(tokens)
        if len(data) != size:
            raise IntegrityError(f"a block decodes to {len(data)} bytes instead of {size}: the file is damaged")
        return data

    def cache_need(self, payload: bytes) -> int:
        """The bytes of cache that decoding this payload takes."""
        return levels.cache_bytes(self.model.spec, *_read_parameters(io.BytesIO(payload)))

    def _reporter(self, tokens: int, size: int) -> TokenProgress | None:
        """Turn tokens done into bytes done, in proportion."""
        progress = self._progress
        if progress is None:
            return None
        return lambda done: progress(size * done // tokens, done)


def _read_parameters(payload: io.BytesIO) -> tuple[int, int, int]:
    """Tokens, streams and window, from the beginning of a payload."""
    reader = ByteReader(payload)
    count, streams, units = (reader.varint(f"a block's {what}") for what in ("tokens", "streams", "window"))
    return count, streams, units * levels.WINDOW_UNIT
