"""The codec meta-token (docs/format.md): the model's vocabulary with adaptive frequencies, without
the model."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.llm import SYMBOLS_PER_BYTE, SymbolDecoder
from tests.reference_decoder.model import Model
from tests.reference_decoder.range_decoder import (
    BUCKET,
    BYTES,
    RangeDecoder,
    cumulative_frequencies,
    in_buckets,
)

SEEN = 1 << 16
"""What an occurrence adds to a symbol's weight."""


def read_counts(reader: ByteReader, size: int) -> tuple[int, int, int]:
    """Tokens, symbols and meta-tokens: the beginning of a payload."""
    counts = [reader.varint(f"a block's {what}") for what in ("tokens", "symbols", "meta-tokens")]
    tokens, symbols, metas = counts
    coded = len(reader.data) - reader.offset
    if not (
        1 <= tokens <= size
        and 1 <= symbols <= 3 * tokens
        and 3 * metas < symbols <= SYMBOLS_PER_BYTE * (1 + coded)
    ):
        raise DecodeError(
            f"{tokens} tokens, {symbols} symbols, {metas} meta-tokens in {coded} bytes for {size}"
        )
    return tokens, symbols, metas


def decode_meta_tokens(payload: bytes, size: int, model: Model) -> bytes:
    """The `size` bytes of a payload."""
    reader = ByteReader(payload)
    counts = read_counts(reader, size)
    text = decode_counted(RangeDecoder(reader.rest()), counts, model)
    if len(text) != size:
        raise DecodeError(f"a block's tokens stand for {len(text)} bytes instead of {size}")
    return text


def decode_counted(decoder: SymbolDecoder, counts: tuple[int, int, int], model: Model) -> bytes:
    """The bytes that so many tokens, symbols and meta-tokens stand for."""
    count, symbol_count, metas = counts
    symbols = decode_symbols(decoder, symbol_count, model.spec.vocab, metas)
    tokens = expand(symbols, model.spec.vocab, metas, count)
    text = bytearray()
    for token in tokens:
        if token == model.spec.escape_token:
            text.append(decoder.decode(BYTES))
        elif not model.token_bytes[token]:
            raise DecodeError(f"token {token}, which stands for no text")
        text += model.token_bytes[token]
    return bytes(text)


def decode_symbols(decoder: SymbolDecoder, count: int, vocab: int, metas: int) -> list[int]:
    """The symbols, in groups: after each the weights of its symbols grow."""
    weights = [2**25 // (i + 200) for i in range(vocab)] + [20 * SEEN] * 2 + [SEEN] * metas
    symbols: list[int] = []
    while len(symbols) < count:
        group_size = min(max(16, min(256, len(symbols) // 8)), count - len(symbols))
        buckets = in_buckets(weights)
        table = cumulative_frequencies([sum(bucket) for bucket in buckets])
        chosen = [decoder.decode(table) if len(buckets) > 1 else 0 for _ in range(group_size)]
        group = [b * BUCKET + decoder.decode(cumulative_frequencies(buckets[b])) for b in chosen]
        for symbol in group:
            if symbol >= len(weights):
                raise DecodeError(f"symbol {symbol} of {len(weights)}")
            weights[symbol] += SEEN
        symbols += group
    return symbols


def expand(symbols: Sequence[int], vocab: int, metas: int, count: int) -> list[int]:
    """Symbols to `count` tokens: a bracket defines the next meta-token where it closes, and stands
    for it."""
    opening, closing, first = vocab, vocab + 1, vocab + 2
    defined: list[list[int]] = []
    spans: list[tuple[list[int], int]] = [([], 0)]
    """What each open bracket holds so far: tokens, and of how many symbols."""
    for symbol in symbols:
        if symbol == opening:
            spans.append(([], 0))
            continue
        if symbol == closing:
            tokens, held = spans.pop()
            if not spans or held < 2:
                raise DecodeError("a bracket that closes nothing, or holds fewer than two symbols")
            defined.append(tokens)
            symbol = first + len(defined) - 1
        if symbol >= first + len(defined):
            raise DecodeError(f"meta-token {symbol - first} before its bracket has closed")
        tokens, held = spans.pop()
        tokens += [symbol] if symbol < vocab else defined[symbol - first]
        spans.append((tokens, held + 1))
        if len(tokens) > count:
            raise DecodeError(f"meta-tokens that stand for more than {count} tokens")
    if len(spans) != 1 or len(defined) != metas or len(spans[0][0]) != count:
        raise DecodeError("brackets and tokens are not as many as the block says")
    return spans[0][0]
