"""How text is cut into words before byte-pair encoding, by the name that GGUF files give the rule
(`tokenizer.ggml.pre`); the file itself does not say it.

The rules are those of the tokenizers that the names stand for, as their tokenizer.json has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
_CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"

GPT2: dict[str, Any] = {**_BYTE_LEVEL, "use_regex": True}

_SINGLE_DIGITS = {
    "type": "Sequence",
    "pretokenizers": [{"type": "Digits", "individual_digits": True}, GPT2],
}


def _split_then_bytes(pattern: str) -> dict[str, Any]:
    split = {
        "type": "Split",
        "pattern": {"Regex": pattern},
        "behavior": "Isolated",
        "invert": False,
    }
    return {"type": "Sequence", "pretokenizers": [split, {**_BYTE_LEVEL, "use_regex": False}]}


def _words(digits: str) -> dict[str, Any]:
    """Letters behind at most one other character, digits, punctuation with the lines' ends."""
    return _split_then_bytes(
        rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*" + _SPACES
    )


def _cased_words(digits: str, contractions: str) -> dict[str, Any]:
    """The same, and a word ends before a capital."""
    before, upper, lower = (
        r"[^\r\n\p{L}\p{N}]?",
        r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]",
        r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]",
    )
    return _split_then_bytes(
        f"{before}{upper}*{lower}+{contractions}|{before}{upper}+{lower}*{contractions}|{digits}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n/]*" + _SPACES
    )


_THREE_DIGITS, _ONE_DIGIT = _words(r"\p{N}{1,3}"), _words(r"\p{N}")

PRETOKENIZERS: Mapping[str, dict[str, Any]] = {
    **dict.fromkeys(("gpt-2", "mpt", "olmo", "phi-2"), GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r"), _SINGLE_DIGITS),
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "dbrx", "smaug-bpe"),
        _THREE_DIGITS,
    ),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen"), _ONE_DIGIT),
    "tekken": _cased_words(r"\p{N}", ""),
    **dict.fromkeys(("gpt-4o", "llama4"), _cased_words(r"\p{N}{1,3}", _CONTRACTIONS + "?")),
}
"""A name that is not here is split as GPT-2 splits: any split decodes, another may be shorter."""
