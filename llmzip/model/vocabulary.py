"""What a tokenizer's entries stand for, as bytes, and the rules by which text is cut into them.

Decoding needs the bytes of each token and nothing else; they are part of a model's fingerprint. The cutting rules
(a `tokenizers` JSON) only steer the ratio: any cutting whose bytes add up to the input decodes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llmzip.errors import UnsupportedModelError

_SPACE = "\u2581"
"""SentencePiece's visible space."""

_GGUF_NORMAL, _GGUF_USER_DEFINED, _GGUF_BYTE = 1, 4, 6

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"


def _split_then_bytes(digits: str) -> dict[str, Any]:
    pattern = (
        _CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"type": "Sequence", "pretokenizers": [split, {**_BYTE_LEVEL, "use_regex": False}]}


_GPT2 = {**_BYTE_LEVEL, "use_regex": True}
_GGUF_PRETOKENIZERS: dict[str, dict[str, Any]] = {
    "smollm": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, _GPT2]},
    "llama-bpe": _split_then_bytes(r"\p{N}{1,3}"),
    "qwen2": _split_then_bytes(r"\p{N}"),
}


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Token bytes, the two tokens with a duty of their own, and the cutting rules."""

    token_bytes: tuple[bytes, ...]
    """Entry i is what token i stands for; empty for control tokens, which never stand for text."""
    start_token: int
    escape_token: int
    rules: str
    """A `tokenizers` JSON without special tokens."""

    def padded(self, size: int) -> Vocabulary:
        """The same with entries without bytes up to `size`: models often have more outputs than tokens."""
        if len(self.token_bytes) > size:
            raise UnsupportedModelError(f"the tokenizer has {len(self.token_bytes)} tokens, the model only {size}")
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
    pieces: Sequence[bytes], control: Callable[[int], bool], start: int | None, rules: dict[str, Any]
) -> Vocabulary:
    token_bytes = tuple(b"" if control(i) else piece for i, piece in enumerate(pieces))
    controls = [i for i in range(len(pieces)) if control(i)]
    escape = controls[0] if controls else 0
    token_bytes = (*token_bytes[:escape], b"", *token_bytes[escape + 1 :])
    return Vocabulary(token_bytes, escape if start is None else start, escape, json.dumps(rules, sort_keys=True))


def from_gguf(field: Callable[..., Any]) -> Vocabulary:
    """The vocabulary in a GGUF file's metadata; `field(key[, default])` looks up a value."""
    family = field("tokenizer.ggml.model")
    tokens = [str(t) for t in field("tokenizer.ggml.tokens")]
    types = field("tokenizer.ggml.token_type", [_GGUF_NORMAL] * len(tokens))
    pre = field("tokenizer.ggml.pre", "gpt-2")
    if family == "gpt2":
        merges = [m.split(" ", 1) for m in field("tokenizer.ggml.merges")]
        model = {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}
        rules = _rules(model, _GGUF_PRETOKENIZERS.get(pre, _GPT2))
        # Tokens that a user added are written as they are, not in the byte alphabet.
        pieces = [
            t.encode("utf-8") if kind == _GGUF_USER_DEFINED else _byte_level_bytes(t)
            for t, kind in zip(tokens, types, strict=True)
        ]
    elif family == "llama":
        rules = {}  # no merge list: cut by the longest match
        pieces = [_sentencepiece_bytes(t) for t in tokens]
    else:
        raise UnsupportedModelError(f"tokenizer family {family!r}; supported: 'gpt2', 'llama'")
    textual = (_GGUF_NORMAL, _GGUF_USER_DEFINED, _GGUF_BYTE)
    # As llama.cpp has it: these families begin every text with BOS unless the file says otherwise.
    begins = field("tokenizer.ggml.add_bos_token", family == "llama" or pre == "llama-bpe")
    start = field("tokenizer.ggml.bos_token_id", None) if begins else None
    return _vocabulary(pieces, lambda i: types[i] not in textual, start, rules)


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
    """The vocabulary in a directory's tokenizer.json (BPE, byte-level or SentencePiece style)."""
    file = path / "tokenizer.json"
    if not file.is_file():
        raise UnsupportedModelError(f"{path}: no tokenizer.json")
    described: dict[str, Any] = json.loads(file.read_text("utf-8"))
    if described["model"].get("type", "BPE") != "BPE":
        raise UnsupportedModelError(f"{file}: tokenizer model {described['model'].get('type')!r}; only 'BPE'")
    ids: dict[str, int] = dict(described["model"]["vocab"])
    added = {t["id"]: t for t in described.get("added_tokens", [])}
    ids |= {t["content"]: i for i, t in added.items()}
    byte_level = '"ByteLevel"' in json.dumps([described.get("pre_tokenizer"), described.get("decoder")])
    as_bytes = _byte_level_bytes if byte_level else _sentencepiece_bytes
    pieces = [b""] * (max(ids.values()) + 1)
    for token, i in ids.items():
        pieces[i] = token.encode("utf-8") if i in added else as_bytes(token)
    normalizer = _exact_normalizer(described.get("normalizer"))
    rules = _rules(described["model"], _exact_pre_tokenizer(described.get("pre_tokenizer")), normalizer)
    bos = config.get("bos_token_id")
    start = bos if isinstance(bos, int) and bos >= 0 else None  # some configurations say -1
    return _vocabulary(pieces, lambda i: bool(i in added and added[i].get("special")), start, rules)


def _exact_normalizer(step: Any) -> Any:
    """The part of a normaliser that the token bytes undo, spaces as U+2581; other steps would change the text."""
    if not isinstance(step, dict):
        return None
    if step["type"] == "Sequence":
        steps = [s for s in map(_exact_normalizer, step["normalizers"]) if s is not None]
        return {"type": "Sequence", "normalizers": steps} if steps else None
    marks_spaces = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    return marks_spaces if step == marks_spaces else None


def _exact_pre_tokenizer(step: Any) -> Any:
    """The same cuts without a space put before the text."""
    if not isinstance(step, dict):
        return None
    if step["type"] == "Sequence":
        return {**step, "pretokenizers": [_exact_pre_tokenizer(s) for s in step["pretokenizers"]]}
    if step["type"] == "ByteLevel":
        return {**step, "add_prefix_space": False}
    if step["type"] == "Metaspace":
        return {**{k: v for k, v in step.items() if k != "add_prefix_space"}, "prepend_scheme": "never"}
    return step
