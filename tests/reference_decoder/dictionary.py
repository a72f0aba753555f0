"""A dictionary: text that both sides have, read before the first block (docs/format.md,
"Dictionaries")."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Callable

from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.model import Model


@dataclasses.dataclass(frozen=True)
class Dictionary:
    """A dictionary's text, its tokens, and the bytes behind its escape tokens."""

    text: bytes = b""
    tokens: tuple[int, ...] = ()
    literals: bytes = b""

    def digest(self, model: Model) -> bytes:
        """What a frame's header has of it."""
        digest = hashlib.sha256(b"llmzip prime 1")
        ids = b"".join(token.to_bytes(4, "little") for token in self.tokens)
        for part in (model.fingerprint, ids, self.literals):
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()[:4]


def read_dictionary(text: bytes, model: Model) -> Dictionary:
    """Cut a dictionary's text into the tokens that the format prescribes."""
    ids = {piece: i for i, piece in reversed(list(enumerate(model.token_bytes))) if piece}
    cut_by_rules = rules_of(model)
    # What the published tokenizer never sees: bytes outside UTF-8, as lone surrogates, and ASCII
    # without a token.
    missing = "".join(re.escape(chr(b)) for b in range(128) if bytes([b]) not in ids)
    unclean = re.compile(f"([{missing}\udc80-\udcff]+)")
    tokens: list[int] = []
    literals = bytearray()
    for i, part in enumerate(unclean.split(text.decode("utf-8", "surrogateescape"))):
        raw = part.encode("utf-8", "surrogateescape")
        cut = cut_by_rules(part) if i % 2 == 0 and part else []
        pieces = [model.token_bytes[token] for token in cut]
        if b"".join(pieces) != raw or not all(pieces):
            cut = longest_matches(raw, ids, model.spec.escape_token, literals)
        tokens += cut
    return Dictionary(text, tuple(tokens), bytes(literals))


def longest_matches(
    raw: bytes, ids: dict[bytes, int], escape_token: int, literals: bytearray
) -> list[int]:
    """The longest token at each place; the escape token, and the byte to `literals`, where there is
    none."""
    tokens, longest, start = [], max(map(len, ids), default=0), 0
    while start < len(raw):
        stops = range(min(len(raw), start + longest), start, -1)
        stop = next((stop for stop in stops if raw[start:stop] in ids), None)
        if stop is None:
            tokens.append(escape_token)
            literals.append(raw[start])
            stop = start + 1
        else:
            tokens.append(ids[raw[start:stop]])
        start = stop
    return tokens


def rules_of(model: Model) -> Callable[[str], list[int]]:
    """What cuts text into tokens as the published tokenizer does; nothing where it has no rules."""
    if model.rules in ("", "{}"):
        return lambda _: []
    try:
        import tokenizers  # only dictionaries need it
    except ModuleNotFoundError as error:
        raise DecodeError(
            "the file was made with a dictionary, which the package tokenizers must cut: "
            "pip install tokenizers"
        ) from error
    tokenizer = tokenizers.Tokenizer.from_str(model.rules)

    def cut(text: str) -> list[int]:
        try:
            ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        except Exception:
            # The library has no kinds of errors; some rules have no token for a character.
            return []
        return ids

    return cut
