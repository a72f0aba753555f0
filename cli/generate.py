"""`llmzip generate`: text that a model, or any codec, takes for likely."""

from __future__ import annotations

import sys

import click

from llmzip.cli import environment, options
from llmzip.cli.messages import reporting
from llmzip.cli.numbers import WholeNumber
from llmzip.codecs.registry import codec_names, find_codec, get_codec
from llmzip.generation import generate as generate_by_model
from llmzip.generation import generate_by_codec
from llmzip.runtime import EngineName


def _run(
    prompt: str,
    count: int,
    seed: int,
    temperature: str,
    top_k: int | None,
    stop: tuple[str, ...],
    codec: str | None,
    model: str | None,
    offline: bool,
    device: str,
    engine: EngineName,
    threads: int | None,
) -> None:
    """Continue PROMPT (- reads it from standard input); the same seed is the same text on every
    machine.
    """
    given = sys.stdin.buffer.read() if prompt == "-" else prompt.encode("utf-8", "surrogateescape")
    runtime = options.make_runtime(
        engine, device, environment.threads(threads), offline, download=True
    )
    try:
        if codec is None:
            pieces = generate_by_model(
                given,
                count,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                stop=[text.encode("utf-8", "surrogateescape") for text in stop],
                model=model,
                runtime=runtime,
            )
        else:
            if temperature != "1" or top_k is not None or stop:
                raise click.UsageError(
                    "--temperature, --top-k and --stop are for the model itself, without --codec"
                )
            needs = {"model": model, "runtime": runtime} if find_codec(codec).needs_model else {}
            pieces = generate_by_codec(
                get_codec(codec, **needs).payload_codec, given, count, seed=seed
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    for piece in pieces:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()


generate = click.Command(
    "generate",
    callback=reporting(_run),
    help=_run.__doc__,
    params=[
        click.Argument(["prompt"], default=""),
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
        click.Option(
            ["--codec"],
            type=click.Choice(codec_names()),
            help="By the code lengths of a codec: slow.",
        ),
        options.OFFLINE,
        *options.ENGINE,
    ],
)
