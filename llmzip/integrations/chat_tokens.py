"""What stands beside a vocabulary: the names of control tokens and the chat template. Of a
published folder transformers' tokenizer has them, of an installed model its vocabulary (`chat`).
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
from llmzip.generation.chat import rendered
from llmzip.model.chat import ChatFormat
from llmzip.model.vocabulary import Vocabulary
from llmzip.scoring.load import FLOAT_PREFIX

_log = logging.getLogger("llmzip")


@dataclasses.dataclass(frozen=True)
class ChatTokens:
    """A tokenizer of transformers, or what a model keeps of it, as far as it is needed beside a
    vocabulary of ours.
    """

    tokenizer: Any = None
    """None: there is none."""
    control: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """The control tokens that a text may spell out."""
    start: str | None = None
    """The start token's name."""
    add_bos_token: bool = False
    """Whether the tokenizer puts the start token before every text."""
    kept: ChatFormat | None = None
    """What the model keeps, where there is no tokenizer."""

    @classmethod
    def of(
        cls, vocabulary: Vocabulary, model: str | None, tokenizer: str | None, download: bool
    ) -> ChatTokens:
        """From a tokenizer's folder or hub id, else from the model's folder where it is one, else
        what the vocabulary keeps.

        Raises LLMZipError where a tokenizer that is named cannot be had.
        """
        if tokenizer is not None:
            return cls._from(vocabulary, _load(tokenizer, download))
        folder = pathlib.Path((model or "").removeprefix(FLOAT_PREFIX))
        if model and (folder / "tokenizer.json").is_file():
            try:
                return cls._from(vocabulary, _load(str(folder), False))
            except LLMZipError as error:
                _log.warning("chat template and control tokens as the model keeps them: %s", error)
        return cls._kept(vocabulary)

    @classmethod
    def _kept(cls, vocabulary: Vocabulary) -> ChatTokens:
        chat, pieces = vocabulary.chat, vocabulary.token_bytes
        if chat is None:
            return cls()
        names = {token.id: token.content for token in chat.tokens if token.id < len(pieces)}
        control = {name: i for i, name in names.items() if not pieces[i]}
        return cls(kept=chat, control=control, start=names.get(vocabulary.start_token))

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
        if self.template is None:
            raise LLMZipError(
                "no chat template: name a folder with the model's tokenizer, tokenizer=FOLDER"
            )
        import jinja2

        try:
            return self._rendered(messages, prompts)
        except (jinja2.TemplateError, LLMZipError) as error:
            others = [message for message in messages if message["role"] != "system"]
            if len(others) == len(messages):
                raise LLMZipError(f"the chat template refuses the messages: {error}") from error
            return self.apply_template(others, prompts)  # as the harness does

    @property
    def template(self) -> str | None:
        """The chat template, where there is one."""
        if self.kept:
            return self.kept.template
        found: str | None = self.tokenizer.chat_template if self.tokenizer else None
        return found or None

    def _rendered(self, messages: Sequence[Mapping[str, str]], prompts: bool) -> str:
        if self.kept is None:
            text: str = self.tokenizer.apply_chat_template(
                list(messages),
                tokenize=False,
                add_generation_prompt=prompts,
                continue_final_message=not prompts,
            )
            return text
        text = rendered(self.kept, messages, prompts)
        if prompts:
            return text
        # The last message goes on: what follows it is cut as transformers does.
        last = messages[-1]["content"].lstrip()
        if last.rstrip() not in text:
            return text
        end = text.rindex(last.rstrip())
        return text[:end] + (last if text.startswith(last, end) else last.rstrip())


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
