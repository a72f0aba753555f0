"""`llmzip bench`: what a file would take with levels, models and codecs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from llmzip.bench.picture import check_picture, picture_bytes
from llmzip.bench.rows import Found
from llmzip.bench.run import DEFAULT_CODECS, DEFAULT_LEVELS, DEFAULT_SECONDS, Bench, Wishes
from llmzip.cli import files, options, paths
from llmzip.cli.bar import Bar, can_be_shown
from llmzip.cli.bench_table import FOOT, record, table
from llmzip.cli.durations import parse_duration
from llmzip.cli.files import RefusalError, blaming
from llmzip.cli.messages import reporting, say, say_error
from llmzip.cli.names import NAME
from llmzip.cli.sizes import format_size, parse_size
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.levels import MAX_LEVEL, MIN_LEVEL
from llmzip.runtime import EngineName
from llmzip.types import Progress

_LEVELS = re.compile("([1-9])(?:-([1-9]))?")
_NO_CODECS = "none"


def parse_levels(text: str) -> tuple[int, ...]:
    """Read levels: 1,6 or 1-9 or 1,4-6."""
    found: set[int] = set()
    for part in text.split(","):
        match = _LEVELS.fullmatch(part.strip())
        if match is None:
            raise click.BadParameter(
                f"{text!r} are no levels: write {MIN_LEVEL},6 or {MIN_LEVEL}-{MAX_LEVEL}."
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise click.BadParameter(f"{part.strip()!r} ends before it begins.")
        found |= set(range(first, last + 1))
    return tuple(sorted(found))


def parse_sample(text: str) -> int:
    """Read the size of a sample."""
    size = parse_size(text)
    if not size:
        raise click.BadParameter(f"{text!r}: a sample has a byte and more.")
    return size


def _chosen(codecs: tuple[str, ...]) -> tuple[str, ...]:
    """Each codec once, or none of them."""
    chosen = tuple(dict.fromkeys(codecs or DEFAULT_CODECS))
    if _NO_CODECS not in chosen:
        return chosen
    if len(chosen) > 1:
        raise click.UsageError(f"-c {_NO_CODECS} goes with no other codec.")
    return ()


def _run(
    files_: tuple[str, ...],
    levels: tuple[int, ...],
    models: tuple[str, ...],
    codecs: tuple[str, ...],
    seconds: float,
    sample: int | None,
    output: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    offline: bool,
    device: str,
    engine: EngineName,
    threads: int | None,
) -> None:
    """Tell what each FILE would take with levels, models and codecs: bytes, time, memory.

    Codes and decodes a sample, pieces from all over the file, and forecasts the whole from it.
    Nothing is written but what --output names. Ctrl-C ends it with what there is so far.
    """
    runtime = options.runtime_of(offline, True, device, engine, threads)
    wishes = Wishes(
        levels=levels,
        codecs=_chosen(codecs),
        loaders=tuple(
            EngineLoader.of(name, runtime=runtime) for name in dict.fromkeys(models or (None,))
        ),
        seconds=seconds,
        sample=sample,
    )
    target = None if output is None else Path(output)
    if target is not None:
        check_picture(target)
        if not force and paths.identity_of(target) is not None:
            raise files.exists_error(target)
        if not target.parent.is_dir():  # not only after minutes
            raise RefusalError(f"{paths.shown(output or '')}: there is no such folder")
    shown = _Shown(quiet)
    found: list[Found] = []
    code = 0
    try:
        for name in files_:
            try:
                _measure(name, wishes, shown, found)
            except (LLMZipError, RefusalError, OSError) as error:
                code = 1
                shown.bar.clear()
                say_error(paths.shown(name), error)
    finally:  # also when it is interrupted
        shown.bar.clear()
        if any(one.rows for one in found):
            _print(found, as_json)
            if target is not None:
                with files.writing(target, force=force, like=None) as sink:
                    sink.write(picture_bytes(found, target))
    if code:
        raise SystemExit(code)


def _measure(name: str, wishes: Wishes, shown: _Shown, found: list[Found]) -> None:
    if name == "-":
        raise RefusalError(
            "is standard input, which cannot be read anywhere: name a file (./- if so called)"
        )
    path = paths.from_name(name)
    with path.open("rb") as file:
        if not path.is_file():
            raise RefusalError("is not a regular file: a sample is read from all over it")
        bench = Bench(file, paths.shown(name), wishes, shown.begin)
        try:
            bench.run()
        finally:
            found.append(bench.found)


def _print(found: list[Found], as_json: bool) -> None:
    with blaming("stdout"):
        if as_json:
            click.echo(json.dumps([record(one) for one in found], indent=2))
            return
        for one in found:
            click.echo(table(one) + "\n")
        click.echo(FOOT)


class _Shown:
    """What is measured now: a bar on a terminal, else a line when something begins."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar = Bar()

    def begin(self, what: str, size: int) -> Progress | None:
        """Something is measured on so many bytes."""
        if self.quiet:
            return None
        if not can_be_shown():
            say(f"measuring {what}")
            return None
        self.bar.show(what, 0, size, "")
        before = [0, 0]  # of the directions that are done, and of this one

        def advance(done: int, tokens: int) -> None:
            if done < before[1]:
                before[0] += before[1]
            before[1] = done
            self.bar.show(what, before[0] + done, size, format_size(before[0] + done))

        return advance


bench = click.Command(
    "bench",
    callback=reporting(_run),
    help=_run.__doc__,
    params=[
        click.Argument(["files_"], type=NAME, nargs=-1, required=True, metavar="FILE..."),
        click.Option(
            ["--levels"],
            type=parse_levels,
            default=",".join(map(str, DEFAULT_LEVELS)),
            metavar="LEVELS",
            help="Levels of llmzip, as 1,6 or 1-9.",
        ),
        click.Option(
            ["-m", "--model", "models"],
            type=NAME,
            multiple=True,
            help="Model of llmzip; several are compared.",
        ),
        click.Option(
            ["-c", "--codec", "codecs"],
            multiple=True,
            metavar="NAME",
            help=(
                f"Codec NAME[:key=value,...] to compare with, or {_NO_CODECS}; "
                f"default: {', '.join(DEFAULT_CODECS)}."
            ),
        ),
        click.Option(
            ["--time", "seconds"],
            type=parse_duration,
            default=f"{DEFAULT_SECONDS:.0f}s",
            metavar="DURATION",
            help="How long it may take for each file, about: 90s, 5min.",
        ),
        click.Option(
            ["--sample"],
            type=parse_sample,
            metavar="SIZE",
            help="Bytes that each level codes; default: as many as the time allows.",
        ),
        click.Option(
            ["-o", "--output"],
            type=NAME,
            metavar="FILE",
            help="Write a picture, FILE.svg or FILE.png (extra eval).",
        ),
        options.flag("-f", "--force", help="Overwrite it."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."),
        options.flag("-q", "--quiet", help="No progress."),
        options.OFFLINE,
        *(option for option in options.ENGINE if option.name != "model"),
    ],
)
