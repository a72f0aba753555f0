"""Does what the options of a command on files say."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import click

from llmzip.cli import cluster, environment, options, paths
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.listing import Listing
from llmzip.cli.name_lists import names_of
from llmzip.cli.run_each import run_each
from llmzip.runtime import Runtime


def execute(action: Action | None = None, digit: int | None = None, **given: Any) -> None:
    """Do what the options say and exit with 0, or 1 if something could not be done."""
    action = action or Action.COMPRESS
    given.update(_targets(action, digit, given))
    given["compression"] = _compression(action, digit, given)
    given["runtime"] = _runtime(action, given)
    given["files"] = names_of(
        given["files"], given.pop("name_lists", ()), given.pop("name_lists0", ())
    )
    if given.get("output") == "-":
        given.update(output=None, stdout=True)
    arguments = Arguments(action, **given)
    _check(arguments)
    context = click.get_current_context()
    context.exit(_list(arguments) if action is Action.LIST else _convert(arguments))


def _list(arguments: Arguments) -> int:
    """List the inputs; the exit code."""
    listing = Listing(arguments)
    code = run_each(arguments, listing.add)
    listing.finish()
    return code


def _convert(arguments: Arguments) -> int:
    """Compress, decompress or test the inputs; the exit code."""
    from llmzip.cli import convert, restore  # a list does without
    from llmzip.cli.short_files import ShortFiles

    # What no input can do without is missed once, and before anything starts.
    if arguments.action is Action.COMPRESS:
        try:
            convert.compressor(arguments)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    else:
        restore.dictionary(arguments)
    with cluster.connected(arguments.ray, arguments.runtime) as runtime:
        arguments = dataclasses.replace(arguments, runtime=runtime)
        short = ShortFiles(arguments)
        works = {Action.COMPRESS: convert.compress, Action.TEST: convert.test}
        work = works.get(arguments.action, convert.decompress)
        return run_each(
            arguments, functools.partial(work, arguments=arguments, short=short), short.look_ahead
        )


def _check(arguments: Arguments) -> None:
    """Raise a UsageError for options that exclude each other, and for names that no file has."""
    for name in (*arguments.files, arguments.output or ""):
        if paths.is_url(name):
            raise click.UsageError(
                f"{paths.shown(name)}: only files are named here; use a pipe for a URL, or "
                "llmzip.integrations.storage in Python (docs/cluster.md)"
            )
    if arguments.output is not None:
        if arguments.stdout:
            raise click.UsageError("-c and -o FILE exclude each other")
        if len(arguments.files) > 1 or arguments.recursive:
            raise click.UsageError("-o FILE is for one input; use -c to write several into one")
    if arguments.output_dir_flat and arguments.output_dir_mirror:
        raise click.UsageError("--output-dir-flat and --output-dir-mirror exclude each other")
    if arguments.output_dir and (arguments.stdout or arguments.output is not None):
        raise click.UsageError("-c, -o and a folder for the output exclude each other")
    if arguments.remove and (
        arguments.stdout or arguments.action not in (Action.COMPRESS, Action.DECOMPRESS)
    ):
        raise click.UsageError("--rm needs an output file to compare with")
    if arguments.resume and arguments.action is Action.COMPRESS:
        if arguments.stdout:
            raise click.UsageError("--resume needs an output file")
        if arguments.compression.get("solid"):
            raise click.UsageError("--resume and --solid exclude each other")
        if arguments.has_target:
            raise click.UsageError(
                "--resume needs a level: --target-time and --target-memory could choose another "
                "one the next time"
            )
    if arguments.lines and arguments.bytes:
        raise click.UsageError("--lines and --bytes exclude each other")
    if arguments.lines_per_block and not arguments.lines:
        raise click.UsageError("--block-lines finds --lines")
    if arguments.has_span and arguments.keep_going:
        raise click.UsageError("--keep-going is for whole files")
    if arguments.keep_going and arguments.action not in (Action.DECOMPRESS, Action.TEST):
        raise click.UsageError("--keep-going is for -d and -t")
    if arguments.ray is not None:
        if arguments.compression.get("solid"):
            raise click.UsageError("--ray and --solid exclude each other: blocks build on others")
        if arguments.has_span or arguments.keep_going:
            raise click.UsageError("--ray is for whole files")
        if arguments.action is Action.LIST:
            raise click.UsageError("--ray has nothing to do for a list")


def _targets(action: Action, digit: int | None, given: dict[str, Any]) -> dict[str, Any]:
    """What the level is to be chosen by, from the options or the environment, where a level is not
    given. Raises UsageError for both.
    """
    seconds, size = given.pop("target_time", None), given.pop("target_memory", None)
    if action is not Action.COMPRESS:
        return {}
    if digit is not None or given.get("level") is not None:
        if seconds is not None or size is not None:
            raise click.UsageError("a level excludes --target-time and --target-memory")
        return {}
    return {
        "target_time": environment.target_time() if seconds is None else seconds,
        "target_memory": environment.target_memory() if size is None else size,
    }


def _compression(action: Action, digit: int | None, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of CompressionOptions, from the options that it takes out of `given`.

    digit: a level that was given as -1 to -9.
    """
    names = [option.name for option in options.COMPRESSION]
    found = {name: given.pop(name) for name in names if name in given}
    if action is not Action.COMPRESS:
        return {}
    return {**found, "level": environment.level(found["level"] if digit is None else digit)}


def _runtime(action: Action, given: dict[str, Any]) -> Runtime:
    """The Runtime of all the work, from the options that it takes out of `given`. Only compression
    downloads a model.
    """
    offline = given.pop("offline", False)
    threads, jobs = given.pop("threads", None), given.pop("jobs", None)
    return options.make_runtime(
        engine=given.pop("engine", "auto"),
        device=given.pop("device", "cpu"),
        threads=None if action is Action.LIST else environment.threads(threads),
        jobs=None if action is Action.LIST else environment.jobs(jobs),
        offline=offline,
        download=action is Action.COMPRESS,
    )
