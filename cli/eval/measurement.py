"""What the sub-commands of `llmzip eval` share: options, progress, resuming, where results go."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from llmzip.cli.names import NAME, FilePath
from llmzip.cli.numbers import WholeNumber
from llmzip.cli.options import make_runtime
from llmzip.cli.progress import MeasurementProgress
from llmzip.cli.sizes import parse_size
from llmzip.corpora import packed
from llmzip.errors import LLMZipError
from llmzip.evaluation.json_values import to_json
from llmzip.evaluation.options import Text, load_texts, sources
from llmzip.evaluation.partial import Partial
from llmzip.runtime import ENGINE_NAMES, EngineName, Runtime
from llmzip.scoring.base import DTYPES, Scorer
from llmzip.scoring.load import FLOAT_PREFIX, load_scorer

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

FILE = FilePath(exists=True, dir_okay=False)
DATA_HELP = "File, folder, corpus, READER:PATH; NAME:BYTES takes the first so many bytes."
OUTPUT = click.option(
    "--output", type=FilePath(dir_okay=False), help="Write the JSON there, pictures beside it."
)
CODEC = click.option(
    "-c", "--codec", help="Measure with a codec NAME[:key=value,...] instead of a model."
)

LIMIT = click.option(
    "--limit",
    type=parse_size,
    metavar="SIZE",
    help="Only the first bytes of each text: testing only.",
)
QUIET = click.option("-q", "--quiet", is_flag=True, help="No progress.")

_LOADER_OPTIONS = (
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default=DTYPES[0],
        help="The number type of float models.",
    ),
    click.option("--device", default="cpu", help="Where models run: cpu, cuda, ..."),
    click.option(
        "--engine",
        type=click.Choice(ENGINE_NAMES),
        default="auto",
        help="What evaluates integer models.",
    ),
    click.option("-T", "--threads", type=WholeNumber(min=0), help="Threads of integer models."),
    click.option(
        "--offline/--online", default=True, help="Whether models may be downloaded; default: no."
    ),
)
_MODEL = click.option(
    "-m", "--model", type=NAME, help=f"Integer model, or {FLOAT_PREFIX}NAME through transformers."
)


@dataclasses.dataclass(frozen=True)
class Loader:
    """How models are loaded; its fields are the options that `loading` gives a command."""

    dtype: str
    device: str
    engine: EngineName
    threads: int | None
    offline: bool

    @property
    def runtime(self) -> Runtime:
        """How models compute."""
        return make_runtime(self.engine, self.device, self.threads, self.offline, download=True)

    def scorer(self, name: str | None, runtime: Runtime | None = None) -> Scorer:
        """The model of that name; None: the default model. runtime: instead of the options'."""
        return load_scorer(name, dtype=self.dtype, runtime=runtime or self.runtime)


def loading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a `Loader`, which it takes as its keyword `loader`."""

    @functools.wraps(command)
    def run(*arguments: Any, **values: Any) -> None:
        loader = Loader(**{f.name: values.pop(f.name) for f in dataclasses.fields(Loader)})
        command(*arguments, loader=loader, **values)

    return _with_options(run, _LOADER_OPTIONS)


def _with_options(
    command: Callable[..., None], options: Sequence[Decorator]
) -> Callable[..., None]:
    return functools.reduce(lambda made, option: option(made), reversed(options), command)


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One measurement as it was asked for."""

    loader: Loader
    model: str | None
    limit: int | None
    output: Path | None
    quiet: bool

    @functools.cached_property
    def progress(self) -> MeasurementProgress:
        """The progress of this measurement, on stderr."""
        return MeasurementProgress(self.quiet)

    @functools.cached_property
    def partial(self) -> Partial:
        """What has been measured so far, kept beside the output until everything is."""
        return Partial(
            self.output.with_name(self.output.name + ".partial") if self.output else None
        )

    def scorer(self, name: str | None = None) -> Scorer:
        """The model of that name, else that of `--model`, else the default one."""
        return self.loader.scorer(name or self.model)

    def texts(self, *names: str) -> list[Text]:
        """The texts of corpora, files and folders."""
        return load_texts(names, self.limit)

    def named(self, name: str) -> dict[str, bytes]:
        """The same of one corpus, file or folder, by their names in it; without empty ones."""
        texts = sources(name, self.limit).items()
        found = {label: text.data for label, text in texts if text.data}
        if not found:
            raise LLMZipError(f"{name}: there is no text to measure")
        return found

    def read(self, path: Path) -> bytes:
        """The bytes of one file, unpacked where it is packed, as far as --limit allows."""
        return packed.read(path, self.limit)

    def finish(self, result: object, **facts: object) -> None:
        """The result, a dataclass, is there: print and write it, and forget what an interrupted run
        would need.

        facts: further keys, which stand before those of the result.
        """
        self.progress.done()
        emit({"testing_only": self.limit is not None, **facts, **to_json(result)}, self.output)
        self.partial.finish()


def measuring(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of models, limit and output, as one `Measurement`: its first
    argument.
    """

    @functools.wraps(command)
    def run(**values: Any) -> None:
        fields = dataclasses.fields(Measurement)
        measurement = Measurement(**{field.name: values.pop(field.name) for field in fields})
        if measurement.output:
            measurement.output.parent.mkdir(parents=True, exist_ok=True)
        command(measurement, **values)

    return _with_options(loading(run), (_MODEL, LIMIT, OUTPUT, QUIET))


def emit(values: Mapping[str, Any], output: Path | None) -> None:
    """Print a result as JSON, and write it where that is wanted."""
    text = json.dumps(values, indent=2, allow_nan=False)
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text + "\n", "utf-8")
    click.echo(text)


def draw(output: Path | None, suffix: str, picture: Callable[[], Any]) -> None:
    """Draw a picture beside the JSON, if there is one."""
    if output:
        from llmzip.evaluation.plots import svg

        output.with_name(output.stem + suffix + ".svg").write_text(svg(picture()), "utf-8")
