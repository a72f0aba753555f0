"""Prompts of fewer tokens: text -> ids with meta-tokens -> the same text, for any tokenizer."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
from typing import Any, Protocol

import numpy as np

from llmzip.errors import FormatError, LLMZipError
from llmzip.ltsc.transform import MetaTokens, compress
from llmzip.model.store import ModelStore
from llmzip.model.tokenizer import Tokens

_TOKENIZER_FILE = "tokenizer.json"


class PromptTokenizer(Protocol):
    """Splits text and joins it again."""

    vocabulary: int
    """All ids are below this."""

    def encode(self, data: bytes) -> Tokens:
        """Split. Raises LLMZipError for bytes that the tokenizer does not take."""
        ...

    def decode(self, tokens: Tokens) -> bytes:
        """Join."""
        ...


class _FileTokenizer:
    """A `tokenizer.json` of Hugging Face, of whatever kind, with its own ideas of what may be
    lost.
    """

    def __init__(self, path: pathlib.Path) -> None:
        import tokenizers

        try:
            self._tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing more special
            raise LLMZipError(
                f"{path}: not a tokenizer that the package tokenizers reads ({error})"
            ) from error
        self.vocabulary = 1 + max(
            self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1
        )

    def encode(self, data: bytes) -> Tokens:
        """See `PromptTokenizer.encode`."""
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise LLMZipError(
                f"the text is not UTF-8 at byte {error.start}: a model's own tokenizer takes it"
            ) from error
        return Tokens(
            np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32), b""
        )

    def decode(self, tokens: Tokens) -> bytes:
        """See `PromptTokenizer.decode`."""
        text: str = self._tokenizer.decode(tokens.ids.tolist(), skip_special_tokens=False)
        return text.encode("utf-8")


class _ModelTokenizer:
    """The tokenizer of an installed model: lossless for every byte string."""

    def __init__(self, name: str | None) -> None:
        model = ModelStore().resolve(name)
        self.vocabulary = model.spec.vocab
        self.encode = model.tokenizer.encode
        self.decode = model.tokenizer.decode


def load_tokenizer(name: str | None) -> PromptTokenizer:
    """A `tokenizer.json`, a folder that holds one, or the name of an installed model (None: the
    default model).

    Raises LLMZipError where there is none.
    """
    if name is not None and (path := pathlib.Path(name)).exists() and path.suffix != ".gguf":
        file = path / _TOKENIZER_FILE if path.is_dir() else path
        if not file.is_file():
            raise LLMZipError(f"{path}: no {_TOKENIZER_FILE} there")
        return _FileTokenizer(file)
    return _ModelTokenizer(name)


@dataclasses.dataclass(frozen=True)
class ShortPrompt:
    """A prompt with meta-tokens, and what it takes to read it."""

    tokenizer: str | None
    """As for `load_tokenizer`."""
    vocabulary: int
    ids: list[int]
    """The layout of `MetaTokens.to_ids`."""
    literals: bytes = b""
    """The bytes for which a model's vocabulary has no token (`Tokens.literals`)."""

    def to_json(self) -> str:
        """One object; the literals are hexadecimal."""
        return json.dumps(dataclasses.asdict(self) | {"literals": self.literals.hex()})

    @classmethod
    def from_json(cls, text: str | bytes) -> ShortPrompt:
        """The inverse. Raises FormatError for anything else."""
        try:
            given: dict[str, Any] = json.loads(text)
            prompt = cls(
                given["tokenizer"],
                int(given["vocabulary"]),
                list(given["ids"]),
                bytes.fromhex(given["literals"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"not the output of `llmzip tokens compress` ({error})") from error
        if not all(type(token) is int for token in prompt.ids):
            raise FormatError("not the output of `llmzip tokens compress`: an id is no integer")
        return prompt

    def expand(self) -> Tokens:
        """The original tokens. Raises FormatError for a damaged layout."""
        ids = MetaTokens.from_ids(np.array(self.ids, np.int64), self.vocabulary).expand()
        return Tokens(ids, self.literals)


def shorten(
    tokens: Tokens, tokenizer: str | os.PathLike[str] | None, vocabulary: int, hierarchical: bool
) -> ShortPrompt:
    """The tokens of a prompt with meta-tokens; see `transform.compress`."""
    made = compress(tokens.ids, vocabulary, hierarchical=hierarchical)
    name = None if tokenizer is None else os.fspath(tokenizer)
    return ShortPrompt(name, vocabulary, made.to_ids().tolist(), tokens.literals)
