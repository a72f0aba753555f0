"""What an integer model forgets of its tokenizer: the names of control tokens and the chat
template.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmzip.errors import LLMZipError
from llmzip.extras import needing
from llmzip.model.vocabulary import Vocabulary
from llmzip.scoring.load import FLOAT_PREFIX

_log = logging.getLogger("llmzip")


@dataclasses.dataclass(frozen=True)
class ChatTokens:
    """A tokenizer of transformers, as far as it is needed beside a vocabulary of ours."""

    tokenizer: Any = None
    """None: there is none."""
    control: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The control tokens that a text may spell out."""
    start: str | None = None
    """The start token's name."""
    add_bos_token: bool = False
    """Whether the tokenizer puts the start token before every text."""

    @classmethod
    def of(
        cls, vocabulary: Vocabulary, model: str | None, tokenizer: str | None, download: bool
    ) -> ChatTokens:
        """From a tokenizer's folder or hub id, else from the model's folder where it is one.

        Raises LLMZipError where a tokenizer that is named cannot be had.
        """
        if tokenizer is not None:
            return cls._from(vocabulary, _load(tokenizer, download))
        folder = pathlib.Path((model or "").removeprefix(FLOAT_PREFIX))
        if not model or not (folder / "tokenizer.json").is_file():
            return cls()
        try:
            return cls._from(vocabulary, _load(str(folder), False))
        except LLMZipError as error:
            _log.warning("no chat template, no control tokens: %s", error)
            return cls()

    @classmethod
    def _from(cls, vocabulary: Vocabulary, tokenizer: Any) -> ChatTokens:
        pieces = vocabulary.token_bytes
        names = {i: str(token) for i, token in tokenizer.added_tokens_decoder.items()}
        control = {name: i for i, name in names.items() if i < len(pieces) and not pieces[i]}
        begins = list(tokenizer("").input_ids[:1]) == [vocabulary.start_token]
        return cls(tokenizer, control, names.get(vocabulary.start_token), begins)

    def begins(self, text: str) -> bool:
        """Whether a text spells out the start token at its beginning."""
        return self.start is not None and text.startswith(self.start)

    def split(self, text: str) -> Iterator[str | int]:
        """The text between control tokens, and these."""
        if not self.control:
            yield text
            return
        names = sorted(self.control, key=len, reverse=True)
        for part in re.split(f"({'|'.join(map(re.escape, names))})", text):
            if part:
                yield self.control.get(part, part)

    def apply_template(self, messages: Sequence[Mapping[str, str]], prompts: bool) -> str:
        """Messages with `role` and `content` as one text, which asks for an answer if it prompts.

        Raises LLMZipError where there is no chat template, or it refuses the messages.
        """
        if self.tokenizer is None or not self.tokenizer.chat_template:
            raise LLMZipError(
                "no chat template: name a folder with the model's tokenizer, tokenizer=FOLDER"
            )
        import jinja2

        try:
            text: str = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=prompts,
                continue_final_message=not prompts,
            )
        except jinja2.TemplateError as error:
            others = [message for message in messages if message["role"] != "system"]
            if len(others) == len(messages):
                raise LLMZipError(f"the chat template refuses the messages: {error}") from error
            return self.apply_template(others, prompts)  # as the harness does
        return text


def _load(name: str, download: bool) -> Any:
    with needing("eval", "a tokenizer of transformers"):
        import transformers
    try:
        return transformers.AutoTokenizer.from_pretrained(
            name, local_files_only=not download, trust_remote_code=False
        )
    except Exception as error:  # of any type: each tokenizer reads its files in its own way
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise LLMZipError(f"{name}: no tokenizer that transformers can load: {reason}") from error
