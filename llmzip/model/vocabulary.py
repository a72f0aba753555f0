"""What a tokenizer's entries stand for, as bytes, and the rules by which text is split into them.

Decoding needs the bytes of each token and nothing else; they are part of a model's fingerprint. The
tokenizer rules (a `tokenizers` JSON) only steer the ratio: any split whose bytes add up to the
input decodes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llmzip.errors import UnsupportedModelError
from llmzip.model import chat
from llmzip.model.chat import ChatFormat
from llmzip.model.files import MAX_TOKENIZER, brief, one_error, parse_object, read_whole, shown
from llmzip.model.gguf_pretokenizers import GPT2, PRETOKENIZERS
from llmzip.model.spec import MAX_VOCAB

if TYPE_CHECKING:
    import tokenizers

NO_RULES = "{}"
"""The rules of a vocabulary that is split by the longest match."""

_PROBE = (
    "A text, \u00e9\u4e2d\U0001f600 with 42 numbers,\n"
    "\ttabs\x00 and what no token stands for: \uffff"
)

_SPACE = "\u2581"
"""SentencePiece's visible space."""

_GGUF_NORMAL, _GGUF_USER_DEFINED, _GGUF_BYTE = 1, 4, 6


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Token bytes, the two tokens with a duty of their own, and the tokenizer rules."""

    token_bytes: tuple[bytes, ...]
    """Entry i is what token i stands for; empty for control tokens, which never stand for text."""
    start_token: int
    escape_token: int
    rules: str
    """A `tokenizers` JSON without special tokens."""
    chat: ChatFormat | None = None
    """How conversations look, where the model's publisher says so."""

    def padded(self, size: int) -> Vocabulary:
        """The same with entries without bytes up to `size`: models often have more outputs than
        tokens.
        """
        if len(self.token_bytes) > size:
            raise UnsupportedModelError(
                f"the tokenizer has {len(self.token_bytes)} tokens, the model only {size}"
            )
        padding = (b"",) * (size - len(self.token_bytes))
        return dataclasses.replace(self, token_bytes=self.token_bytes + padding)


@functools.cache
def byte_level_alphabet() -> Mapping[str, int]:
    """GPT-2's printable stand-ins for the 256 bytes: character -> byte."""
    kept = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in kept]
    return {chr(b): b for b in kept} | {chr(256 + i): b for i, b in enumerate(others)}


def _byte_level_bytes(token: str) -> bytes:
    alphabet = byte_level_alphabet()
    if all(c in alphabet for c in token):
        return bytes(alphabet[c] for c in token)
    return token.encode("utf-8")


def _sentencepiece_bytes(token: str) -> bytes:
    match = re.fullmatch(r"<0x([0-9A-Fa-f]{2})>", token)
    return bytes([int(match[1], 16)]) if match else token.replace(_SPACE, " ").encode("utf-8")


def _vocabulary(
    pieces: Sequence[bytes], control: Sequence[bool], start: int | None, rules: dict[str, Any]
) -> Vocabulary:
    """Put a vocabulary together; control: which tokens never stand for text."""
    if not pieces:
        raise UnsupportedModelError("the tokenizer has no tokens")
    token_bytes = [b"" if control[i] else piece for i, piece in enumerate(pieces)]
    escape = next((i for i, is_control in enumerate(control) if is_control), 0)
    token_bytes[escape] = b""
    text = json.dumps(rules, sort_keys=True)
    RuleTokenizer(text)  # rather now than at the first text
    return Vocabulary(tuple(token_bytes), escape if start is None else start, escape, text)


class RuleTokenizer:
    """Tokenizer rules at work."""

    def __init__(self, rules: str) -> None:
        """Raises UnsupportedModelError for rules that do not work."""
        self._tokenizer: tokenizers.Tokenizer | None = None
        if rules == NO_RULES:
            return
        import tokenizers  # decoding does without

        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(rules)
            self._tokenizer.encode(_PROBE, add_special_tokens=False)
        except BaseException as error:
            # The library raises nothing more special, and panics derive from BaseException.
            if isinstance(error, Exception) or type(error).__name__ == "PanicException":
                raise UnsupportedModelError(
                    f"tokenizer rules that do not work: {brief(error)}"
                ) from error
            raise

    def split(self, text: str) -> list[int] | None:
        """Token ids, or None where there are no rules, or none for this text."""
        if self._tokenizer is None:
            return None
        try:
            ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        except Exception:  # nothing more special: some rules have no word for a character
            return None
        return ids


def from_gguf(field: Callable[..., Any]) -> Vocabulary:
    """The vocabulary in a GGUF file's metadata; `field(key[, default])` looks up a value.

    Raises UnsupportedModelError for what is of no known kind, KeyError for what is missing.
    """
    family = field("tokenizer.ggml.model")
    tokens = _texts(field("tokenizer.ggml.tokens"), "tokenizer.ggml.tokens")
    _check_size(len(tokens))
    types = field("tokenizer.ggml.token_type", [_GGUF_NORMAL] * len(tokens))
    if not isinstance(types, list) or len(types) != len(tokens):
        raise UnsupportedModelError(
            f"tokenizer.ggml.token_type is {shown(types)} for {len(tokens)} tokens"
        )
    pre = str(field("tokenizer.ggml.pre", "gpt-2"))
    if family == "gpt2":
        merges = [_pair(m) for m in _texts(field("tokenizer.ggml.merges"), "tokenizer.ggml.merges")]
        model = {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}
        rules = _rules(model, PRETOKENIZERS.get(pre, GPT2))
        # Tokens that a user added are written as they are, not in the byte alphabet.
        pieces = [
            t.encode("utf-8") if kind == _GGUF_USER_DEFINED else _byte_level_bytes(t)
            for t, kind in zip(tokens, types, strict=True)
        ]
    elif family == "llama":
        rules = {}  # no merge list: split by the longest match
        pieces = [_sentencepiece_bytes(t) for t in tokens]
    else:
        raise UnsupportedModelError(f"tokenizer family {shown(family)}; supported: 'gpt2', 'llama'")
    textual = (_GGUF_NORMAL, _GGUF_USER_DEFINED, _GGUF_BYTE)
    # As llama.cpp has it: these families begin every text with BOS unless the file says otherwise.
    begins = field("tokenizer.ggml.add_bos_token", family == "llama" or pre == "llama-bpe")
    start = field("tokenizer.ggml.bos_token_id", None) if begins else None
    words = _vocabulary(pieces, [kind not in textual for kind in types], start, rules)
    return dataclasses.replace(words, chat=chat.from_gguf(field))


def _check_size(tokens: int) -> None:
    if tokens > MAX_VOCAB:
        raise UnsupportedModelError(f"the tokenizer has {tokens:,} tokens, more than {MAX_VOCAB:,}")


def _texts(value: Any, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise UnsupportedModelError(f"{where} is {shown(value)}: a list of texts is needed")
    return value


def _pair(merge: Any) -> list[str]:
    """A merge, written as `a b` or as a pair, as a pair."""
    pair = merge.split(" ", 1) if isinstance(merge, str) else merge
    if (
        not isinstance(pair, list)
        or len(pair) != 2
        or not all(isinstance(part, str) for part in pair)
    ):
        raise UnsupportedModelError(f"the tokenizer's merge {shown(merge)} is not of two tokens")
    return pair


def _rules(model: dict[str, Any], pre_tokenizer: Any, normalizer: Any = None) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": None,
        "decoder": None,
        "model": model,
    }


def from_directory(path: pathlib.Path, config: Mapping[str, Any]) -> Vocabulary:
    """The vocabulary in a directory's tokenizer.json (BPE, byte-level or SentencePiece style).

    Raises UnsupportedModelError for any other.
    """
    file = path / "tokenizer.json"
    with one_error(file, "not a complete tokenizer"):
        try:
            described = parse_object(read_whole(file, MAX_TOKENIZER), file)
        except FileNotFoundError as error:
            raise UnsupportedModelError(f"{path}: no tokenizer.json") from error
        words = _from_tokenizer(described, config.get("bos_token_id"))
        return dataclasses.replace(words, chat=chat.from_directory(path, described, config))


def _from_tokenizer(described: dict[str, Any], bos: Any) -> Vocabulary:
    """The vocabulary that the content of a tokenizer.json describes."""
    model = described["model"]
    if model.get("type", "BPE") != "BPE":
        raise UnsupportedModelError(f"tokenizer model {shown(model.get('type'))}; only 'BPE'")
    added = {_id(t["id"]): t for t in described.get("added_tokens") or []}
    if not all(isinstance(t["content"], str) for t in added.values()):
        raise UnsupportedModelError("an added token that is no text")
    ids = {token: _id(i) for token, i in model["vocab"].items()}
    byte_level = '"ByteLevel"' in json.dumps(
        [described.get("pre_tokenizer"), described.get("decoder")]
    )
    as_bytes = _byte_level_bytes if byte_level else _sentencepiece_bytes
    pieces = [b""] * (1 + max([*ids.values(), *added]))
    for token, i in ids.items():
        pieces[i] = as_bytes(token)
    for i, t in added.items():
        pieces[i] = t["content"].encode("utf-8")
    normalizer = _exact_normalizer(described.get("normalizer"))
    merges = [_pair(merge) for merge in model["merges"]]
    settings = {
        key: value for key, value in model.items() if value is not None and value is not False
    }
    rules = _rules(
        {**settings, "merges": merges},
        _exact_pre_tokenizer(described.get("pre_tokenizer")),
        normalizer,
    )
    start = bos if type(bos) is int and bos >= 0 else None  # some configurations say -1
    return _vocabulary(
        pieces,
        [i in added and bool(added[i].get("special")) for i in range(len(pieces))],
        start,
        rules,
    )


def _id(value: Any) -> int:
    if type(value) is not int or not 0 <= value < MAX_VOCAB:
        raise UnsupportedModelError(
            f"the tokenizer has a token {shown(value)}: not from 0 to {MAX_VOCAB - 1:,}"
        )
    return value


def _exact_normalizer(step: Any) -> Any:
    """The part of a normalizer that the token bytes undo, spaces as U+2581; other steps would
    change the text.
    """
    if not isinstance(step, dict):
        return None
    if step["type"] == "Sequence":
        steps = [s for s in map(_exact_normalizer, step["normalizers"]) if s is not None]
        return {"type": "Sequence", "normalizers": steps} if steps else None
    marks_spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    return marks_spaces if step == marks_spaces else None


def _exact_pre_tokenizer(step: Any) -> Any:
    """The same rules without a space put before the text."""
    if not isinstance(step, dict):
        return None
    if step["type"] == "Sequence":
        return {**step, "pretokenizers": [_exact_pre_tokenizer(s) for s in step["pretokenizers"]]}
    if step["type"] == "ByteLevel":
        return {**step, "add_prefix_space": False}
    if step["type"] == "Metaspace":
        return {
            **{k: v for k, v in step.items() if k != "add_prefix_space"},
            "prepend_scheme": "never",
        }
    return step
