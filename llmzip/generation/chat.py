"""A conversation as a model's chat template writes it, and as its tokens.

The template is rendered as transformers does, in Jinja's sandbox: it came with the model. What it
cannot ask for is today's date, which would make another text of the same seed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from llmzip.errors import LLMZipError, UnsupportedModelError
from llmzip.extras import needing
from llmzip.model.chat import ChatFormat
from llmzip.model.integer_model import IntegerModel

if TYPE_CHECKING:
    import jinja2

Message = Mapping[str, str]
"""Of a conversation: `role` ("system", "user", "assistant") and `content`."""


def chat_format(model: IntegerModel) -> ChatFormat:
    """The model's. Raises UnsupportedModelError where it has none."""
    found = model.vocabulary.chat
    if found is None:
        raise UnsupportedModelError(
            "the model has no chat template: take one that was tuned for conversations. If this "
            "one was and was installed by an older llmzip, `llmzip models remove` and `llmzip "
            "models pull` bring its template"
        )
    return found


def rendered(format: ChatFormat, messages: Sequence[Message], prompts: bool = True) -> str:
    """The conversation up to where the answer begins, or where it does not prompt, as it is. Raises
    LLMZipError where the template fails.
    """
    environment = _environment()
    try:
        return environment.from_string(format.template).render(
            messages=[dict(message) for message in messages],
            add_generation_prompt=prompts,
            bos_token=format.begin,
            eos_token=format.end,
            tools=None,
            documents=None,
        )
    except Exception as error:  # whatever a stranger's program comes to
        raise LLMZipError(f"the model's chat template fails: {error}") from error


def chat_ids(model: IntegerModel, messages: Sequence[Message]) -> list[int]:
    """The tokens of a conversation up to where the answer begins. Raises LLMZipError where the
    model has no template, or it fails.
    """
    format = chat_format(model)
    by_name = {token.content: token.id for token in format.tokens}
    longest_first = sorted(format.tokens, key=lambda token: -len(token.content))
    names = "|".join(token.pattern for token in longest_first)
    text = rendered(format, messages)
    parts = re.split(f"({names})", text) if names else [text]
    ids: list[int] = []
    for number, part in enumerate(parts):
        if number % 2:  # what is a token by itself stands between two parts of text
            ids.append(by_name[part] if part in by_name else by_name[part.strip()])
        else:
            ids += model.tokenizer.encode(part.encode("utf-8", "surrogatepass")).ids.tolist()
    if not ids:
        raise LLMZipError("the model's chat template makes no text of this conversation")
    return ids


def _environment() -> jinja2.Environment:
    with needing("chat", "a chat template"):
        import jinja2.ext
        import jinja2.sandbox

    class Generation(jinja2.ext.Extension):
        """`{% generation %}`, which marks answers for training, changes nothing here."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> NoReturn:
    raise LLMZipError(message)
