"""Text and tokens: every byte string comes back."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmzip.errors import IntegrityError
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokenizer, Tokens
from tests.conftest import tiny

NASTY = {
    "empty": b"",
    "NUL": b"\0",
    "all bytes": bytes(range(256)),
    "missing bytes": bytes.fromhex("0406131416 1d"),
    "invalid UTF-8": b"abc\xff\xfe\x80 caf\xc3 na\xc3\xafve \xed\xa0\x80 \xf8\x88\x80\x80\x80",
    "CRLF": b"one\r\ntwo\rthree\n\n\r\n",
    "special token": b"<|endoftext|><|im_start|>user <|endoftext|",
    "cut character": "日本語".encode()[:-1] + "𝄞".encode()[1:],
    "spaces": b"   \t \n    x" + b" " * 3000,
    "one letter": b"a" * 5000,
    "byte order mark": b"\xef\xbb\xbf" + "a\u0301\u200b\u2028\U0010ffff".encode(),
    "stand-ins": "\u0100\u0120\u2581\u0142".encode(),
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: IntegerModel) -> Tokenizer:
    return Tokenizer(tiny_model.vocabulary)


@pytest.mark.parametrize("data", NASTY.values(), ids=NASTY.keys())
def test_nasty_strings(tokenizer: Tokenizer, data: bytes) -> None:
    tokens = tokenizer.encode(data)
    assert tokenizer.decode(tokens) == data
    assert len(tokens.ids) <= len(data)


@given(
    st.binary(max_size=200)
    | st.text(max_size=100).map(lambda t: t.encode("utf-8", "surrogatepass"))
)
def test_any_bytes(data: bytes) -> None:
    tokenizer = Tokenizer(tiny().vocabulary)
    assert tokenizer.decode(tokenizer.encode(data)) == data


@given(st.binary(max_size=100))
def test_a_vocabulary_without_rules_and_with_few_bytes(data: bytes) -> None:
    vocabulary = dataclasses.replace(
        tiny().vocabulary, rules="{}", token_bytes=(b"", b"a", b"ab", b"abc", b"\xff")
    )
    tokenizer = Tokenizer(vocabulary)
    assert tokenizer.decode(tokenizer.encode(data)) == data


def test_rules_that_lose_text_are_not_trusted(tiny_model: IntegerModel) -> None:
    rules = tiny_model.vocabulary.rules.replace(
        '"normalizer": null', '"normalizer": {"type": "Lowercase"}'
    )
    assert rules != tiny_model.vocabulary.rules
    tokenizer = Tokenizer(dataclasses.replace(tiny_model.vocabulary, rules=rules))
    assert tokenizer.decode(tokenizer.encode(b"Hello World")) == b"Hello World"


def test_text_uses_the_models_own_rules(tokenizer: Tokenizer, english: bytes) -> None:
    tokens = tokenizer.encode(english)
    assert tokens.literals == b""
    assert len(tokens.ids) < len(english) / 2


def test_tokens_without_text_are_refused(tiny_model: IntegerModel) -> None:
    empty = dataclasses.replace(tiny_model.vocabulary, token_bytes=(b"", b""))
    with pytest.raises(IntegrityError, match="stands for no text"):
        Tokenizer(empty).decode(Tokens(np.array([1], np.int32), b""))
