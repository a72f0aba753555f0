"""Does what the options of a command on files say."""

from __future__ import annotations

import functools
from typing import Any

import click

from llmzip.cli import convert, environment, options
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.listing import Listing
from llmzip.cli.run_each import run_each
from llmzip.runtime import Runtime


def execute(action: Action | None = None, digit: int | None = None, **given: Any) -> None:
    """Do what the options say and exit with 0, or 1 if something could not be done."""
    action = action or Action.COMPRESS
    given["compression"] = _compression(action, digit, given)
    given["runtime"] = _runtime(action, given)
    if given.get("output") == "-":
        given.update(output=None, stdout=True)
    arguments = Arguments(action, **given)
    _check(arguments)
    # What no input can do without is missed once, and before anything starts.
    if arguments.action is Action.COMPRESS:
        try:
            convert.compressor(arguments)
        except ValueError as error:
            raise click.UsageError(str(error)) from None
    elif arguments.action is not Action.LIST:
        convert.dictionary(arguments.dictionary)
    context = click.get_current_context()
    if arguments.action is Action.LIST:
        listing = Listing(arguments)
        code = run_each(arguments, listing.add)
        listing.finish()
    else:
        work = {
            Action.COMPRESS: convert.compress,
            Action.DECOMPRESS: convert.decompress,
            Action.TEST: convert.test,
        }
        code = run_each(arguments, functools.partial(work[arguments.action], arguments=arguments))
    context.exit(code)


def _check(arguments: Arguments) -> None:
    """Raise a UsageError for options that exclude each other."""
    if arguments.output is not None:
        if arguments.stdout:
            raise click.UsageError("-c and -o FILE exclude each other")
        if len(arguments.files) > 1 or arguments.recursive:
            raise click.UsageError("-o FILE is for one input; use -c to write several into one")
    if arguments.remove and (
        arguments.stdout or arguments.action not in (Action.COMPRESS, Action.DECOMPRESS)
    ):
        raise click.UsageError("--rm needs an output file to compare with")
    if arguments.keep_going and arguments.action not in (Action.DECOMPRESS, Action.TEST):
        raise click.UsageError("--keep-going is for -d and -t")


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
