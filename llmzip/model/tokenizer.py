"""Text <-> tokens, by token bytes: lossless for every byte string.

Splitting follows the model's own rules where their result adds up to the input, else the longest
match. A byte that no token stands for is an escape token and a literal byte beside the token
sequence.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from llmzip.errors import IntegrityError
from llmzip.model.vocabulary import RuleTokenizer, Vocabulary

_AT_ONCE = 1 << 16


@dataclasses.dataclass(frozen=True)
class Tokens:
    """A token sequence, and the bytes that its escape tokens stand for, in order."""

    ids: npt.NDArray[np.int32]  # [n]
    literals: bytes


class Tokenizer:
    """Splits byte strings into a vocabulary's tokens and joins them again."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary

    @functools.cached_property
    def _ids(self) -> dict[bytes, int]:
        """Bytes -> the first token that stands for them."""
        return {
            piece: i
            for i, piece in reversed(list(enumerate(self._vocabulary.token_bytes)))
            if piece
        }

    @functools.cached_property
    def _longest(self) -> int:
        return max(map(len, self._ids), default=0)

    @functools.cached_property
    def _unclean(self) -> re.Pattern[str]:
        """What the rules never see: bytes outside UTF-8, as lone surrogates, and ASCII that no
        token stands for.
        """
        unsayable = "".join(re.escape(chr(b)) for b in range(128) if bytes([b]) not in self._ids)
        return re.compile(f"([{unsayable}\udc80-\udcff]+)")

    @functools.cached_property
    def _rule_tokenizer(self) -> RuleTokenizer:
        return RuleTokenizer(self._vocabulary.rules)

    def encode(self, data: bytes) -> Tokens:
        """Split a byte string. Every token stands for at least one byte."""
        ids: list[int] = []
        literals = bytearray()
        # Bytes that are not UTF-8 become lone surrogates; they and what the vocabulary cannot say
        # are split bytewise.
        for part in self._unclean.split(data.decode("utf-8", "surrogateescape")):
            raw = part.encode("utf-8", "surrogateescape")
            split = None if self._unclean.fullmatch(part) else self._split_by_rules(part, raw)
            ids += self._split_greedily(raw, literals) if split is None else split
        return Tokens(np.array(ids, np.int32), bytes(literals))

    def _split_by_rules(self, text: str, raw: bytes) -> list[int] | None:
        """The model's own split, or None where it loses or changes bytes."""
        if not raw:
            return []
        ids = self._rule_tokenizer.split(text)
        if ids is None:
            return None
        token_bytes = self._vocabulary.token_bytes
        pieces = [token_bytes[i] if i < len(token_bytes) else b"" for i in ids]
        return ids if all(pieces) and b"".join(pieces) == raw else None

    def _split_greedily(self, raw: bytes, literals: bytearray) -> list[int]:
        """The longest match at each position; escapes where there is none."""
        ids = []
        position = 0
        while position < len(raw):
            for length in range(min(self._longest, len(raw) - position), 0, -1):
                found = self._ids.get(raw[position : position + length])
                if found is not None:
                    ids.append(found)
                    position += length
                    break
            else:
                ids.append(self._vocabulary.escape_token)
                literals.append(raw[position])
                position += 1
        return ids

    def decode(self, tokens: Tokens) -> bytes:
        """Join tokens. Raises IntegrityError if they are not what `encode` can produce."""
        known, literals = self._vocabulary.token_bytes, iter(tokens.literals)
        out = bytearray()
        for part in _parts(tokens.ids):
            are_known = max(part) < len(known)
            pieces = list(map(known.__getitem__, part)) if are_known else [b""] * len(part)
            if not all(pieces):
                for i, piece in enumerate(pieces):
                    pieces[i] = piece or self._piece(part[i], literals)
            out += b"".join(pieces)
        return bytes(out)

    def _piece(self, token: int, literals: Iterator[int]) -> bytes:
        """What a token stands for: an escape token for the next literal."""
        if token == self._vocabulary.escape_token:
            return bytes([next(literals)])
        known = self._vocabulary.token_bytes
        piece = known[token] if token < len(known) else b""
        if not piece:
            raise IntegrityError(f"token {token} stands for no text; the block is damaged")
        return piece


def numbers_of(ids: npt.NDArray[np.integer]) -> Iterator[int]:
    """Ids [n] as Python's numbers, which are ten times as large, not all at once."""
    return itertools.chain.from_iterable(_parts(ids))


def _parts(ids: npt.NDArray[np.integer]) -> Iterator[list[int]]:
    return (ids[start : start + _AT_ONCE].tolist() for start in range(0, len(ids), _AT_ONCE))
