"""`llmzip eval`: measure models and codecs on texts."""

from __future__ import annotations

import dataclasses
import functools
import typing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from llmzip.cli import cluster
from llmzip.cli.eval.dimension import dimension
from llmzip.cli.eval.harness import harness
from llmzip.cli.eval.measurement import DATA_HELP, LIMIT, QUIET, Loader, loading
from llmzip.cli.eval.models import compare, damage, months
from llmzip.cli.eval.pairs import align, conditional, information, knn
from llmzip.cli.eval.reports import correlate, report
from llmzip.cli.eval.verify import verify
from llmzip.cli.messages import say
from llmzip.cli.names import NAME, FilePath
from llmzip.cli.numbers import FiniteNumber, WholeNumber
from llmzip.cli.progress import MeasurementProgress
from llmzip.errors import LLMZipError
from llmzip.evaluation.codec_rows import DEFAULT_CODECS, make_codec
from llmzip.evaluation.options import TASKS, BosMode, Options, load_texts
from llmzip.levels import DEFAULT_LEVEL, MAX_LEVEL, MIN_LEVEL
from llmzip.scoring.load import FLOAT_PREFIX

if TYPE_CHECKING:
    from llmzip.evaluation.rows import Result, Row

DEFAULT_DATA = (
    "corpus:python-topics:65536",
    "corpus:python-sources:65536",
    "corpus:logs:16384",
    "corpus:json:16384",
    "corpus:csv:16384",
    "corpus:random-bytes:2048",
)
_DAMAGE_TEXT = "corpus:python-topics:65536"


@click.group(invoke_without_command=True)
@click.option(
    "-m",
    "--model",
    "models",
    type=NAME,
    multiple=True,
    help=f"Integer model, or {FLOAT_PREFIX}NAME through transformers.",
)
@click.option("-d", "--data", type=NAME, multiple=True, help=DATA_HELP)
@click.option(
    "-c",
    "--codec",
    "codecs",
    multiple=True,
    help="Classical codec NAME[:key=value,...] on the same bytes.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(TASKS),
    help="What to measure; all of them if none is named.",
)
@click.option(
    "--output", type=FilePath(file_okay=False), help="Folder for JSON, Markdown and HTML."
)
@LIMIT
@click.option(
    "--level",
    type=WholeNumber(MIN_LEVEL, MAX_LEVEL),
    default=DEFAULT_LEVEL,
    help="The level of the real file.",
)
@click.option("--context", type=WholeNumber(2), default=1024, help="Tokens per segment.")
@click.option(
    "--samples",
    type=WholeNumber(1),
    default=16,
    help="At most this many samples for capacity and context.",
)
@click.option(
    "--ic-bias",
    type=FiniteNumber(),
    help="The b of the information capacity; default: the authors' for a file of that name.",
)
@click.option(
    "--bos-mode",
    type=click.Choice(typing.get_args(BosMode)),
    default=Options.bos_mode,
    help="What stands before each document, as in UncheatableEval.",
)
@click.option(
    "--damage/--no-damage",
    "with_damage",
    default=None,
    help="The cache damage grid; on where neither model nor data is named.",
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Measure on a Ray cluster, text by text and task by task; the same numbers.",
)
@QUIET
@loading
@click.pass_context
def evaluate(
    click_context: click.Context,
    models: tuple[str, ...],
    data: tuple[str, ...],
    codecs: tuple[str, ...],
    tasks: tuple[str, ...],
    output: Path | None,
    limit: int | None,
    level: int,
    context: int,
    samples: int,
    ic_bias: float | None,
    bos_mode: BosMode,
    with_damage: bool | None,
    ray: str | None,
    quiet: bool,
    loader: Loader,
) -> None:
    """Measure models and codecs on texts.

    Without --model and --data: the default model and the usual codecs on the built-in texts, with
    everything there is. Prints a Markdown table; --output keeps JSON, Markdown and a report, and
    lets an interrupted run go on. Exit code 1: what was asked for by name could not be measured.
    """
    if click_context.invoked_subcommand:
        return
    from llmzip.evaluation import run
    from llmzip.evaluation.tables import markdown

    for codec in codecs:
        make_codec(codec)  # a wrong one is said before anything is measured
    complete = not models and not data
    options = Options(
        tasks=tasks or TASKS,
        context=context,
        samples=samples,
        level=level,
        ic_bias=ic_bias,
        bos_mode=bos_mode,
        limit=limit,
    )
    names: tuple[str | None, ...] = models or (None,)
    progress = MeasurementProgress(quiet)
    wants_damage = complete if with_damage is None else with_damage
    damage_text = load_texts(data[:1] or (_DAMAGE_TEXT,), limit)[0] if wants_damage else None
    with cluster.connected(ray, loader.runtime) as runtime:
        if runtime.pool:  # the workers have the device
            loader = dataclasses.replace(loader, device="cpu", engine="auto")
        result = run.evaluate(
            [functools.partial(loader.scorer, name) for name in names],
            load_texts(data or DEFAULT_DATA, limit),
            options,
            codecs=codecs or (DEFAULT_CODECS if complete else ()),
            damage=damage_text,
            folder=_made(output),
            begin=progress.begin,
            pool=runtime.pool,
        )
    progress.done()
    table = markdown(result)
    click.echo(table)
    if output is not None:
        _write(result, table, output)
    missing = [
        f"{row.name}: {row.text}: {'; '.join(row.errors.values()) or 'nothing was measured'}"
        for row in result.rows
        if _lacks(row, named_codecs=bool(codecs), named_tasks=bool(tasks))
    ]
    if with_damage:
        missing += [f"{name}: {why}" for name, why in result.errors.items()]
    for line in missing:
        say(line)
    if missing:
        click_context.exit(1)


def _lacks(row: Row, *, named_codecs: bool, named_tasks: bool) -> bool:
    """Whether a row lacks what was asked for by name; what is measured unasked need not apply."""
    if row.kind == "codec":
        return named_codecs and row.is_empty
    return row.is_empty or (named_tasks and bool(row.errors))


def _made(folder: Path | None) -> Path | None:
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(result: Result, table: str, output: Path) -> None:
    from llmzip.evaluation import report as reports
    from llmzip.evaluation import run

    path = run.write(result, output)
    path.with_suffix(".md").write_text(table, "utf-8")
    try:
        path.with_suffix(".html").write_text(reports.report(result), "utf-8")
    except LLMZipError as error:  # matplotlib is missing: the numbers are there all the same
        say(f"no report: {error}")
    say(f"written: {path}")


for command in (
    compare,
    conditional,
    knn,
    align,
    information,
    correlate,
    damage,
    dimension,
    months,
    report,
    verify,
    harness,
):
    evaluate.add_command(command)
