"""Meta-tokens and adaptive frequencies: a model's vocabulary without the model (docs/format.md).

Some ten to a hundred times faster than the model, and smaller than Zstandard and xz on prose,
though not on code.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.accounting import meta_token_bytes
from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.coding.adaptive import (
    SEEN_WEIGHT,
    AdaptiveModel,
    decode_bytes,
    decode_symbols,
    encode_bytes,
    encode_symbols,
)
from llmzip.coding.range_coder import RangeDecoder, RangeEncoder, has_too_many, padded
from llmzip.container.codec_ids import CodecId
from llmzip.container.varint import ByteReader, varint
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import FormatError, IntegrityError, LimitError
from llmzip.ltsc.inline import from_symbols, to_symbols
from llmzip.ltsc.transform import MARKERS, compress
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens, numbers_of
from llmzip.runtime import Runtime

_RANK_SCALE, _RANK_OFFSET = 1 << 25, 200
_MARKER_WEIGHT = 20 * SEEN_WEIGHT
_MAX_SYMBOLS_PER_TOKEN = 3  # a bracket is two symbols and holds two others at least


class MetaTokenCodec(PayloadCodec):
    """Codes blocks of text with the tokenizer of a model, which is not evaluated."""

    id = CodecId.META_TOKEN
    name = id.label
    needs_model = id.needs_model

    def __init__(self, model: IntegerModel) -> None:
        """model: whose vocabulary the tokens are of."""
        self.model = model

    @classmethod
    def create(
        cls, *, model: ModelLike | None = None, runtime: Runtime | None = None
    ) -> MetaTokenCodec:
        """Take parameters as `llmzip.compress` does; only the vocabulary of the model serves."""
        return cls(EngineLoader.of(model, runtime=runtime).chosen_model())

    def get_config(self) -> dict[str, Any]:
        """See `PayloadCodec.get_config`."""
        return {"model": self.model.fingerprint.hex()}

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        return self.encode_block(data).payload

    def encode_block(self, data: bytes) -> EncodedBlock:
        """See `PayloadCodec.encode_block`."""
        vocabulary = self.model.spec.vocab
        tokens = self.model.tokenizer.encode(data)
        made = compress(tokens.ids, vocabulary, hierarchical=True)
        symbols = np.array(to_symbols(made), np.int64)
        coder = RangeEncoder()
        encode_symbols(coder, AdaptiveModel(_first_weights(vocabulary, len(made.entries))), symbols)
        encode_bytes(coder, tokens.literals)
        counts = (len(tokens.ids), len(symbols), len(made.entries))
        payload = b"".join(map(varint, counts)) + padded(coder.finish(), len(symbols))
        return EncodedBlock(self.id, len(data), payload, meta_token_bytes(*counts, vocabulary))

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        (count, symbols, metas), coded = _counts(payload, size)
        vocabulary = self.model.spec.vocab
        coder = RangeDecoder(coded)
        decoded = decode_symbols(coder, AdaptiveModel(_first_weights(vocabulary, metas)), symbols)
        made = from_symbols(numbers_of(decoded), vocabulary, metas)
        try:
            ids = made.expand(count)
        except LimitError as error:
            raise IntegrityError(
                f"a block holds more than its {count} tokens: the file is damaged"
            ) from error
        literals = decode_bytes(coder, int(np.count_nonzero(ids == self.model.spec.escape_token)))
        data = self.model.tokenizer.decode(Tokens(ids, literals))
        if len(data) != size or len(made.entries) != metas:
            raise IntegrityError(
                f"a block decodes to {len(data)} bytes instead of {size}: the file is damaged"
            )
        return data

    def decoder_bytes(self, payload: bytes, size: int) -> int:
        """See `PayloadCodec.decoder_bytes`."""
        return meta_token_bytes(*_counts(payload, size)[0], self.model.spec.vocab)


def _counts(payload: bytes, size: int) -> tuple[tuple[int, int, int], bytes]:
    """Tokens, symbols and meta-tokens of a payload, and what is coded. Raises FormatError for
    impossible ones.
    """
    reader = ByteReader(io.BytesIO(payload))
    count, symbols, metas = (
        reader.varint(f"a block's {what}") for what in ("tokens", "symbols", "meta-tokens")
    )
    coded = payload[reader.offset :]
    if (
        not 1 <= count <= size
        or not 1 <= symbols <= _MAX_SYMBOLS_PER_TOKEN * count
        or not 0
        <= 3 * metas
        < symbols  # a bracket is two symbols, and one more is inside than there are brackets
        or has_too_many(symbols, coded)
    ):
        raise FormatError(
            f"impossible block parameters ({count} tokens, {symbols} symbols, "
            f"{metas} meta-tokens in {len(coded)} bytes): the file is damaged"
        )
    return (count, symbols, metas), coded


def _first_weights(vocabulary: int, metas: int) -> npt.NDArray[np.int64]:
    """Tokens by rank, which in vocabularies follows frequency; then the markers; then meta-tokens
    as if seen once.
    """
    ranked = _RANK_SCALE // (np.arange(vocabulary, dtype=np.int64) + _RANK_OFFSET)
    return np.concatenate([ranked, np.full(MARKERS, _MARKER_WEIGHT), np.full(metas, SEEN_WEIGHT)])
