"""What a published model says of conversations: its chat template, and the tokens that the template
writes by name. No bit of a compressed file depends on it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llmzip.errors import LLMZipError
from llmzip.model.files import MAX_TOKENIZER, parse_object, read_whole

MAX_TEMPLATE = 1 << 20

_GGUF_NAMED = (3, 4)  # control tokens, and those that a user added


@dataclasses.dataclass(frozen=True)
class NamedToken:
    """A token that stands in a template's text by its name."""

    content: str
    id: int
    lstrip: bool = False
    """Whether white space before it is dropped."""
    rstrip: bool = False
    """The same behind it."""

    @property
    def pattern(self) -> str:
        """What of a text is this token, as a regular expression."""
        before, behind = r"\s*" * self.lstrip, r"\s*" * self.rstrip
        return before + re.escape(self.content) + behind


@dataclasses.dataclass(frozen=True)
class ChatFormat:
    """How a model has been taught to see conversations."""

    template: str
    """In Jinja's language, as transformers renders it."""
    tokens: tuple[NamedToken, ...]
    begin: str
    """The name of the token that begins texts; empty: there is none."""
    end: str
    """Of the one that ends an answer."""
    ends: tuple[int, ...]
    """All tokens that end an answer."""

    def to_json(self) -> str:
        """The format as a model's file holds it."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ChatFormat:
        """The inverse. Raises ValueError, TypeError or KeyError for what is none."""
        found = json.loads(text)
        tokens = tuple(NamedToken(**token) for token in found.pop("tokens"))
        return cls(**{**found, "tokens": tokens, "ends": tuple(found["ends"])})


def from_directory(
    path: pathlib.Path, tokenizer: Mapping[str, Any], config: Mapping[str, Any]
) -> ChatFormat | None:
    """The format of a directory's model: chat_template.jinja, or what tokenizer_config.json says;
    None where there is none that can be read.

    tokenizer, config: the contents of tokenizer.json and config.json.
    """
    settings = _settings(path / "tokenizer_config.json")
    template = _text(path / "chat_template.jinja") or _default(settings.get("chat_template"))
    if template is None:
        return None
    tokens = [
        NamedToken(
            token["content"], token["id"], bool(token.get("lstrip")), bool(token.get("rstrip"))
        )
        for token in tokenizer.get("added_tokens") or []
    ]
    ends = config.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends]
    return _format(
        template,
        tokens,
        _name(settings.get("bos_token"), config.get("bos_token_id"), tokens),
        _name(settings.get("eos_token"), next(iter(ends), None), tokens),
        ends,
    )


def from_gguf(field: Callable[..., Any]) -> ChatFormat | None:
    """The format in a GGUF file's metadata; `field(key[, default])` looks up a value."""
    template = field("tokenizer.chat_template", None)
    texts, types = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type", None)
    if not isinstance(template, str) or not template or types is None:
        return None
    tokens = [
        NamedToken(text, i)
        for i, (text, kind) in enumerate(zip(texts, types, strict=True))
        if kind in _GGUF_NAMED and text
    ]
    begin, end, turn = (
        field(f"tokenizer.ggml.{name}_token_id", None) for name in ("bos", "eos", "eot")
    )
    return _format(
        template, tokens, _name(None, begin, tokens), _name(None, end, tokens), [end, turn]
    )


def _format(
    template: str, tokens: list[NamedToken], begin: str, end: str, ends: Iterable[Any]
) -> ChatFormat | None:
    if len(template) > MAX_TEMPLATE:
        return None
    known = {token.id for token in tokens}
    found = {token.id for token in tokens if end and token.content == end}
    found |= {one for one in ends if type(one) is int and one in known}
    return ChatFormat(template, tuple(tokens), begin, end, tuple(sorted(found)))


def _name(stated: Any, number: Any, tokens: Iterable[NamedToken]) -> str:
    """What a token is called: as is stated, by itself or as an object, or by its number."""
    if isinstance(stated, dict):
        stated = stated.get("content")
    if isinstance(stated, str):
        return stated
    return next((token.content for token in tokens if token.id == number), "")


def _default(template: Any) -> str | None:
    """Of several templates, the one for conversations."""
    if isinstance(template, list):
        named = {t.get("name"): t.get("template") for t in template if isinstance(t, dict)}
        template = named.get("default")
    return template if isinstance(template, str) and template else None


def _settings(path: pathlib.Path) -> Mapping[str, Any]:
    try:
        return parse_object(read_whole(path, MAX_TOKENIZER), path)
    except (OSError, ValueError, RecursionError, LLMZipError):
        return {}  # decoding does without


def _text(path: pathlib.Path) -> str | None:
    try:
        return read_whole(path, MAX_TEMPLATE).decode("utf-8") or None
    except (OSError, ValueError, LLMZipError):
        return None
