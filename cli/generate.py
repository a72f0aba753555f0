"""`llmzip generate`: text that a model, or any codec, takes for likely."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from llmzip.cli import options
from llmzip.cli.messages import reporting
from llmzip.cli.names import NAME
from llmzip.cli.numbers import WholeNumber
from llmzip.cli.record_options import read_records
from llmzip.codecs.registry import codec_names, find_codec, get_codec
from llmzip.generation import generate as generate_by_model
from llmzip.generation import generate_by_codec
from llmzip.runtime import EngineName, Runtime


def _run(
    prompts: tuple[str, ...],
    lists: tuple[str, ...],
    lists0: tuple[str, ...],
    count: int,
    seed: int,
    codec: str | None,
    model: str | None,
    offline: bool,
    device: str,
    engine: EngineName,
    threads: int | None,
    **drawing: Any,
) -> None:
    """Continue PROMPT (- reads it from standard input); the same seed is the same text on every
    machine. Several prompts are continued side by side, and written as JSON, one object a line.
    """
    runtime = options.runtime_of(offline, True, device, engine, threads)
    given = list(_prompts(prompts, lists, lists0))
    is_batch = len(prompts) > 1 or bool(lists or lists0)
    drawing["stop"] = [_bytes(text) for text in drawing["stop"]]
    if drawing["system"] is not None and not drawing["chat"]:
        raise click.UsageError("--system is for --chat")
    try:
        if codec is not None:
            if is_batch:
                raise click.UsageError("--codec continues one PROMPT")
            pieces = _by_codec(codec, given[0], count, seed, model, runtime, drawing)
        elif is_batch:
            texts = generate_by_model(
                given, count, seed=seed, model=model, runtime=runtime, **drawing
            )
            for prompt, text in zip(given, texts, strict=True):
                click.echo(json.dumps({**_as_json("prompt", prompt), **_as_json("text", text)}))
            return
        else:
            pieces = generate_by_model(
                given[0], count, seed=seed, model=model, runtime=runtime, **drawing
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


def _prompts(
    prompts: Sequence[str], lists: Sequence[str], lists0: Sequence[str]
) -> Iterator[bytes]:
    """The prompts that are given, and those in files."""
    if not (prompts or lists or lists0):
        yield b""
    for prompt in prompts:
        yield sys.stdin.buffer.read() if prompt == "-" else _bytes(prompt)
    for names, framing in ((lists, "lines"), (lists0, "null")):
        for name in names:
            yield from read_records(name, framing)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _as_json(name: str, data: bytes) -> dict[str, str]:
    """Bytes as text; where that is not all of them, in hex, too."""
    text = data.decode("utf-8", "replace")
    return {name: text} if text.encode() == data else {name: text, f"{name}_hex": data.hex()}


def _by_codec(
    codec: str,
    prompt: bytes,
    count: int,
    seed: int,
    model: str | None,
    runtime: Runtime,
    drawing: dict[str, Any],
) -> Iterator[bytes]:
    if drawing != {"temperature": "1", "top_k": None, "stop": [], "chat": False, "system": None}:
        raise click.UsageError(
            "--temperature, --top-k, --stop, --chat and --system are for the model itself, without "
            "--codec"
        )
    needs = {"model": model, "runtime": runtime} if find_codec(codec).needs_model else {}
    return generate_by_codec(get_codec(codec, **needs).payload_codec, prompt, count, seed=seed)


generate = click.Command(
    "generate",
    callback=reporting(_run),
    help=_run.__doc__,
    params=[
        click.Argument(["prompts"], nargs=-1, metavar="[PROMPT]..."),
        click.Option(
            ["--prompts", "lists"],
            type=NAME,
            multiple=True,
            metavar="FILE",
            help="Also the prompts in FILE, one a line.",
        ),
        click.Option(
            ["--prompts0", "lists0"],
            type=NAME,
            multiple=True,
            metavar="FILE",
            help="The same with a NUL behind each.",
        ),
        click.Option(
            ["-n", "--count"],
            type=WholeNumber(min=0),
            default=100,
            help="Tokens; with --codec bytes.",
        ),
        click.Option(["--seed"], type=WholeNumber(0, 2**64 - 1), default=0, help="0 to 2^64 - 1."),
        click.Option(
            ["--temperature"],
            default="1",
            help="0 to 5 in steps of 0.1; 0 takes the likeliest token.",
        ),
        click.Option(
            ["--top-k"], type=WholeNumber(min=1), help="Draw from so many of the likeliest tokens."
        ),
        click.Option(
            ["--stop"],
            multiple=True,
            metavar="TEXT",
            help="End before this text; may be repeated.",
        ),
        options.flag(
            "--chat", help="PROMPT is what a user says: answer it, by the model's chat template."
        ),
        click.Option(["--system"], metavar="TEXT", help="With --chat: what the model is told."),
        click.Option(
            ["--codec"],
            type=click.Choice(codec_names()),
            help="By the code lengths of a codec: slow.",
        ),
        options.OFFLINE,
        *options.ENGINE,
    ],
)
