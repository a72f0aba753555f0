"""What the sub-commands of `llmzip eval` share: options, and where results go."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from llmzip.evaluation.options import load_scorer
from llmzip.scoring.base import DTYPES, Scorer

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def options_of(*options: Decorator) -> Decorator:
    """Several options as one decorator, shown in this order."""
    return lambda command: functools.reduce(lambda made, option: option(made), reversed(options), command)


DTYPE = click.option("--dtype", type=click.Choice(DTYPES), default=DTYPES[0])
DEVICE = click.option("--device", default="cpu")
MODEL = options_of(
    click.option("-m", "--model", help="Integer model, or float:NAME through transformers."),
    DTYPE,
    DEVICE,
)
CODEC = click.option("-c", "--codec", help="Measure with a codec NAME[:key=value,...] instead of a model.")
OUTPUT = click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the JSON there, pictures beside it."
)
LIMIT = click.option("--limit", type=int, help="Only the first so many bytes of each text: testing only.")


def scorer_of(model: str | None, dtype: str, device: str) -> Scorer:
    """The model of MODEL's options."""
    return load_scorer(model, dtype=dtype, device=device)


def emit(values: Mapping[str, Any], output: Path | None) -> None:
    """Print a result as JSON, and write it where that is wanted."""
    text = json.dumps(values, indent=2, allow_nan=False)
    if output:
        output.write_text(text + "\n", "utf-8")
    click.echo(text)


def draw(output: Path | None, suffix: str, picture: Callable[[], Any]) -> None:
    """A picture beside the JSON."""
    if output:
        from llmzip.evaluation.plots import svg

        output.with_name(output.stem + suffix + ".svg").write_text(svg(picture()), "utf-8")
