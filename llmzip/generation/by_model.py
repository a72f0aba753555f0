"""Text that a model takes for likely: one continuation, or many at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from llmzip.buffers import Buffer, flat
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.errors import LLMZipError
from llmzip.generation.by_engine import Continuation, continue_all, continued, prompt_ids
from llmzip.generation.chat import Message, chat_format, chat_ids
from llmzip.model.integer_model import IntegerModel
from llmzip.runtime import Runtime


@overload
def generate(
    prompt: Buffer,
    count: int = ...,
    *,
    seed: int = ...,
    temperature: float | str = ...,
    top_k: int | None = ...,
    stop: Sequence[Buffer] = ...,
    chat: bool = ...,
    system: str | None = ...,
    model: ModelLike | None = ...,
    runtime: Runtime | None = ...,
) -> Iterator[bytes]: ...


@overload
def generate(
    prompt: list[Buffer] | list[bytes] | tuple[Buffer, ...],
    count: int = ...,
    *,
    seed: int = ...,
    temperature: float | str = ...,
    top_k: int | None = ...,
    stop: Sequence[Buffer] = ...,
    chat: bool = ...,
    system: str | None = ...,
    model: ModelLike | None = ...,
    runtime: Runtime | None = ...,
) -> list[bytes]: ...


def generate(
    prompt: Buffer | list[Buffer] | list[bytes] | tuple[Buffer, ...],
    count: int = 100,
    *,
    seed: int = 0,
    temperature: float | str = 1,
    top_k: int | None = None,
    stop: Sequence[Buffer] = (),
    chat: bool = False,
    system: str | None = None,
    model: ModelLike | None = None,
    runtime: Runtime | None = None,
) -> Iterator[bytes] | list[bytes]:
    """Text that a model takes for likely: `count` tokens that follow a prompt, each as its bytes;
    of a list of prompts, the list of their texts, each what it would be alone, made side by side.

    The same seed is the same text on every machine. seed, temperature, top_k, stop: as for
    `generate_by_engine`. chat: whether a prompt is what a user says in a conversation, as the
    model's chat template writes it; the answer ends where the model ends it, after `count` tokens
    at most. system: what the model is told before, for chat. model, runtime: as for
    `LLMZipCompressor`.

    Raises TypeError for a str, ValueError for parameters out of range, LimitError where prompt and
    text exceed the model's positions, ModelNotFoundError where the model is not installed,
    UnsupportedModelError where it has no chat template, LLMZipError where that fails.

    >>> b"".join(llmzip.generate(b"Once upon a time", 20, temperature=0.7))
    """
    given = prompt if isinstance(prompt, (list, tuple)) else [prompt]
    prompts = [bytes(flat(one, "generate")) for one in given]
    if system is not None and not chat:
        raise ValueError("system is for chat=True")
    loader = EngineLoader.of(model, runtime=runtime)
    engine = loader.for_compression()
    # The engine's own may have the same weights, and another template.
    speaker = loader.chosen_model()
    texts = [
        Continuation(
            engine,
            _conversation(speaker, one, system) if chat else prompt_ids(engine, one),
            count,
            seed=seed,
            temperature=temperature,
            top_k=top_k,
            stop=stop,
            ends=chat_format(speaker).ends if chat else (),
        )
        for one in prompts
    ]
    return continue_all(engine, texts) if given is prompt else continued(engine, texts[0])


def _conversation(model: IntegerModel, prompt: bytes, system: str | None) -> list[int]:
    try:
        said = prompt.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LLMZipError(f"a conversation is text in UTF-8, the prompt is not: {error}") from error
    messages: list[Message] = [] if system is None else [{"role": "system", "content": system}]
    return chat_ids(model, [*messages, {"role": "user", "content": said}])
