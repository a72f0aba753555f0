"""The rules of GGUF files' pre-tokenizers: words as the tokenizers of these names cut them, and all
bytes of them.
"""

from __future__ import annotations

import json

import pytest
import tokenizers

from llmzip.model.gguf_pretokenizers import PRETOKENIZERS
from llmzip.model.vocabulary import byte_level_alphabet

TEXT = "I'LL don't say HTTPServer's 12345 x=\u00e9\u00c9t\u00e9/\n  \n\ty \u0661\u06622! "
"""What the rules tell apart: contractions of both cases, capitals within words, digits (of two
scripts), punctuation before a slash and an end of line, spaces before ends of lines and words.
"""

_GPT2 = (
    *("I", "'", "LL", " don", "'t", " say", " HTTPServer", "'s", " 12345", " x", "="),
    *("\u00e9\u00c9t\u00e9", "/", "\n  \n", "\t", "y", " \u0661\u06622", "!", " "),
)
_SINGLE_DIGITS = (
    *("I", "'", "LL", " don", "'t", " say", " HTTPServer", "'s", " ", "1", "2", "3", "4", "5"),
    *(" x", "=", "\u00e9\u00c9t\u00e9", "/", "\n  \n", "\t", "y", " ", "\u0661", "\u0662", "2"),
    *("!", " "),
)
_THREE_DIGITS = (
    *("I", "'LL", " don", "'t", " say", " HTTPServer", "'s", " ", "123", "45", " x"),
    *("=\u00e9\u00c9t\u00e9", "/\n", "  \n", "\ty", " ", "\u0661\u06622", "!", " "),
)
_ONE_DIGIT = (
    *("I", "'LL", " don", "'t", " say", " HTTPServer", "'s", " ", "1", "2", "3", "4", "5", " x"),
    *("=\u00e9\u00c9t\u00e9", "/\n", "  \n", "\ty", " ", "\u0661", "\u0662", "2", "!", " "),
)
_TEKKEN = (
    *("I", "'LL", " don", "'t", " say", " HTTPServer", "'s", " ", "1", "2", "3", "4", "5", " x"),
    *("=\u00e9", "\u00c9t\u00e9", "/\n", "  \n", "\ty", " ", "\u0661", "\u0662", "2", "!", " "),
)
_GPT4O = (
    *("I'LL", " don't", " say", " HTTPServer's", " ", "123", "45", " x"),
    *("=\u00e9", "\u00c9t\u00e9", "/\n", "  \n", "\ty", " ", "\u0661\u06622", "!", " "),
)
WORDS = {
    "gpt-2": _GPT2,
    "mpt": _GPT2,
    "olmo": _GPT2,
    "phi-2": _GPT2,
    "smollm": _SINGLE_DIGITS,
    "starcoder": _SINGLE_DIGITS,
    "refact": _SINGLE_DIGITS,
    "command-r": _SINGLE_DIGITS,
    "llama-bpe": _THREE_DIGITS,
    "llama3": _THREE_DIGITS,
    "llama-v3": _THREE_DIGITS,
    "falcon3": _THREE_DIGITS,
    "pixtral": _THREE_DIGITS,
    "dbrx": _THREE_DIGITS,
    "smaug-bpe": _THREE_DIGITS,
    "qwen2": _ONE_DIGIT,
    "stablelm2": _ONE_DIGIT,
    "deepseek-r1-qwen": _ONE_DIGIT,
    "tekken": _TEKKEN,
    "gpt-4o": _GPT4O,
    "llama4": _GPT4O,
}


def words(name: str, text: str) -> list[str]:
    """What text is cut into, by the library that applies the rules."""
    alphabet = byte_level_alphabet()
    rules = {"version": "1.0", "added_tokens": [], "pre_tokenizer": PRETOKENIZERS[name]}
    model = {"type": "BPE", "vocab": {}, "merges": []}
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps({**rules, "model": model}))
    cutter = tokenizer.pre_tokenizer
    assert cutter is not None
    return [bytes(alphabet[c] for c in word).decode() for word, _ in cutter.pre_tokenize_str(text)]


@pytest.mark.parametrize("name", PRETOKENIZERS)
def test_words_are_cut_as_the_name_says(name: str) -> None:
    assert tuple(words(name, TEXT)) == WORDS[name]


@pytest.mark.parametrize("name", ["gpt-2", "smollm", "dbrx", "qwen2", "tekken", "gpt-4o"])
def test_nothing_is_lost(name: str) -> None:
    for text in (TEXT, "", " ", "\n", "\r\n\x00\x85\u2028", "\U0001f600\u0301e\u0301 ǅ\u02b0'S"):
        assert "".join(words(name, text)) == text
