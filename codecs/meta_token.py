"""Meta-tokens and adaptive frequencies: a model's vocabulary without the model (docs/format.md).

Some ten to a hundred times faster than the model, and smaller than Zstandard and xz on prose, though not on code.
"""

from __future__ import annotations

import io
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from llmzip.accounting import meta_token_bytes
from llmzip.coding.adaptive import (
    SEEN_WEIGHT,
    AdaptiveModel,
    decode_bytes,
    decode_symbols,
    encode_bytes,
    encode_symbols,
)
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder, has_too_many, padded
from llmzip.container.varint import ByteReader, varint
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.ltsc.inline import from_symbols, to_symbols
from llmzip.ltsc.transform import MARKERS, compress
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens, numbers_of

_RANK_SCALE, _RANK_OFFSET = 1 << 25, 200
_MARKER_WEIGHT = 20 * SEEN_WEIGHT
_MAX_SYMBOLS_PER_TOKEN = 3  # a bracket is two symbols and holds two others at least


class MetaTokenCodec:
    """Codes blocks of text with the tokenizer of a model, which is not evaluated."""

    id: ClassVar[int] = 5
    name: ClassVar[str] = "meta-token"

    def __init__(self, model: IntegerModel) -> None:
        """model: whose vocabulary the tokens are of."""
        self.model = model

    def encode(self, data: bytes) -> bytes:
        """See `BlockCodec.encode`."""
        vocabulary = self.model.spec.vocab
        tokens = self.model.tokenizer.encode(data)
        made = compress(tokens.ids, vocabulary, hierarchical=True)
        symbols = np.array(to_symbols(made), np.int64)
        coder = RangeEncoder()
        encode_symbols(coder, AdaptiveModel(_first_weights(vocabulary, len(made.entries))), symbols)
        encode_bytes(coder, tokens.literals)
        counts = (len(tokens.ids), len(symbols), len(made.entries))
        return b"".join(map(varint, counts)) + padded(coder.finish(), len(symbols))

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `BlockCodec.decode`."""
        (count, symbols, metas), coded = _counts(payload, size)
        vocabulary = self.model.spec.vocab
        coder = RangeDecoder(coded)
        decoded = decode_symbols(coder, AdaptiveModel(_first_weights(vocabulary, metas)), symbols)
        made = from_symbols(numbers_of(decoded), vocabulary, metas)
        try:
            ids = made.expand(count)
        except LimitError as error:
            raise IntegrityError(f"a block holds more than its {count} tokens: the file is damaged") from error
        literals = decode_bytes(coder, int(np.count_nonzero(ids == self.model.spec.escape_token)))
        data = self.model.tokenizer.decode(Tokens(ids, literals))
        if len(data) != size or len(made.entries) != metas:
            raise IntegrityError(f"a block decodes to {len(data)} bytes instead of {size}: the file is damaged")
        return data

    def need(self, payload: bytes, size: int) -> int:
        """The bytes that decoding takes (`accounting`). Raises FormatError for impossible parameters."""
        return meta_token_bytes(*_counts(payload, size)[0], self.model.spec.vocab)


def _counts(payload: bytes, size: int) -> tuple[tuple[int, int, int], bytes]:
    """Tokens, symbols and meta-tokens of a payload, and what is coded. Raises FormatError for impossible ones."""
    reader = ByteReader(io.BytesIO(payload))
    count, symbols, metas = (reader.varint(f"a block's {what}") for what in ("tokens", "symbols", "meta-tokens"))
    coded = payload[reader.offset :]
    if (
        not 1 <= count <= size
        or not 1 <= symbols <= _MAX_SYMBOLS_PER_TOKEN * count
        or not 0 <= 3 * metas < symbols  # a bracket is two symbols, and one more is inside than there are brackets
        or has_too_many(symbols, coded)
    ):
        raise FormatError(
            f"impossible block parameters ({count} tokens, {symbols} symbols, {metas} meta-tokens in {len(coded)} bytes): "
            "the file is damaged"
        )
    return (count, symbols, metas), coded


def _first_weights(vocabulary: int, metas: int) -> npt.NDArray[np.int64]:
    """Tokens by rank, which in vocabularies follows frequency; then the markers; then meta-tokens as if seen once."""
    ranked = _RANK_SCALE // (np.arange(vocabulary, dtype=np.int64) + _RANK_OFFSET)
    return np.concatenate([ranked, np.full(MARKERS, _MARKER_WEIGHT), np.full(metas, SEEN_WEIGHT)])
