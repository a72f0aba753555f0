"""The command line: `llmzip -d FILE` in the manner of gzip, and `llmzip decompress FILE` in the
manner of git.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from llmzip.cli import convert, drafts, environment, options, signals, standard
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.listing import Listing
from llmzip.cli.messages import say_error
from llmzip.cli.run_each import run_each
from llmzip.errors import LLMZipError
from llmzip.runtime import Runtime


class Command(click.Command):
    """A command on files whose --help is in sections."""

    def __init__(self, name: str, sections: Mapping[str, options.Section], **attributes: Any) -> None:
        self.sections = sections
        files = click.Argument(["files"], nargs=-1, metavar="[FILE]...", shell_complete=self.complete_file)
        super().__init__(
            name,
            params=[files, *(option for section in sections.values() for option in section)],
            context_settings={"help_option_names": ["-h", "--help"]},
            **attributes,
        )

    def complete_file(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Let the shell complete a FILE."""
        return [CompletionItem(incomplete, type="file")]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        help_option = self.get_help_option(ctx)
        for title, section in self.sections.items():
            shown = [*section, help_option] if title == "Messages" and help_option else section
            records = [record for option in shown if (record := option.get_help_record(ctx))]
            with formatter.section(title):
                formatter.write_dl(records)


class GzipStyleGroup(Command):
    """The gzip-like command, which hands over to a sub-command when its first argument is the name
    of one.
    """

    def __init__(self, name: str, commands: Mapping[str, Callable[[], click.Command]], **attributes: Any) -> None:
        """Take the sub-commands as functions, so that their modules load when they are used."""
        super().__init__(name, **attributes)
        self.commands = commands

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Make the context of the command that the arguments are for."""
        with _reporting():
            if args and args[0] in self.commands:
                command = self.commands[args[0]]()
                return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run that command."""
        with _reporting():
            return super().invoke(ctx) if ctx.command is self else ctx.command.invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, then the sub-commands."""
        super().format_options(ctx, formatter)
        with formatter.section("Commands (llmzip COMMAND --help)"):
            formatter.write_dl([(name, load().get_short_help_str()) for name, load in self.commands.items()])

    def complete_file(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the names of the sub-commands too."""
        names = [] if ctx.params["files"] else [name for name in self.commands if name.startswith(incomplete)]
        return [*map(CompletionItem, names), *super().complete_file(ctx, param, incomplete)]


@contextlib.contextmanager
def _reporting() -> Iterator[None]:
    """Say what goes wrong beside the files, and exit with 1; all text has reached standard output
    when the block ends.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        raise signals.Stopped(signal.SIGPIPE) from None
    except (LLMZipError, OSError, MemoryError) as error:  # from a sub-command, a help, or from the last words of a list
        say_error(None, error)
        raise click.exceptions.Exit(1) from None


def execute(action: Action | None = None, digit: int | None = None, **given: Any) -> None:
    """Do what the options say and exit with 0, or 1 if something could not be done."""
    action = action or Action.COMPRESS
    given["compression"] = _compression(action, digit, given)
    given["runtime"] = _runtime(action, given)
    if given.get("output") == "-":
        given.update(output=None, stdout=True)
    arguments = Arguments(action, **given)
    if arguments.output is not None:
        if arguments.stdout:
            raise click.UsageError("-c and -o FILE exclude each other")
        if len(arguments.files) > 1 or arguments.recursive:
            raise click.UsageError("-o FILE is for one input; use -c to write several into one")
    if arguments.remove and (arguments.stdout or arguments.action not in (Action.COMPRESS, Action.DECOMPRESS)):
        raise click.UsageError("--rm needs an output file to compare with")
    if arguments.keep_going and arguments.action not in (Action.DECOMPRESS, Action.TEST):
        raise click.UsageError("--keep-going is for -d and -t")

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
        work = {Action.COMPRESS: convert.compress, Action.DECOMPRESS: convert.decompress, Action.TEST: convert.test}
        code = run_each(arguments, functools.partial(work[arguments.action], arguments=arguments))
    context.exit(code)


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
    threads = given.pop("threads", None)
    return Runtime(
        engine=given.pop("engine", "auto"),
        device=given.pop("device", "cpu"),
        threads=None if action is Action.LIST else environment.threads(threads),
        offline=offline,
        download=action is Action.COMPRESS and not offline,
    )


_SUBCOMMANDS = {
    "models": "llmzip.cli.models:models",
    "corpora": "llmzip.cli.corpora:corpora",
    "eval": "llmzip.cli.eval.evaluate:evaluate",
    "tokens": "llmzip.cli.tokens:tokens",
    "generate": "llmzip.cli.generate:generate",
    "tune": "llmzip.cli.tune:tune",
}
"""Name -> module and command: the module is imported when the command is used."""


def _loader(location: str) -> Callable[[], click.Command]:
    module, _, attribute = location.partition(":")

    def load() -> click.Command:
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    return load


def _subcommand(
    action: Action, help: str, sections: Mapping[str, options.Section], name: str | None = None, **given: Any
) -> Callable[[], click.Command]:
    sections = {**sections, "Messages": options.MESSAGES}
    callback = functools.partial(execute, action, **given)
    command = Command(name or action.value, sections, callback=callback, help=help)
    return lambda: command


_COMPRESSION = {
    "Output": [*options.TARGETS, *options.FOLDERS],
    "Compression": [*options.LEVEL_DIGITS, *options.COMPRESSION, options.OFFLINE],
    "Model": [options.DICTIONARY, *options.ENGINE],
}
_DECODING = {"Limits": [*options.LIMITS, options.KEEP_GOING], "Model": [options.DICTIONARY, *options.ENGINE]}
_REPAIR = {
    "Output": [*(option for option in options.TARGETS if option.name != "remove"), *options.FOLDERS, options.JOIN],
    "Limits": options.LIMITS,
    "Model": [options.DICTIONARY, *options.ENGINE],
}

llmzip = GzipStyleGroup(
    "llmzip",
    sections={
        "Action": [*options.ACTIONS, *options.LIST],
        **_COMPRESSION,
        "Decompression": [*options.LIMITS, options.KEEP_GOING],
        "Messages": options.MESSAGES,
    },
    commands={
        "compress": _subcommand(Action.COMPRESS, "Compress files.", _COMPRESSION),
        "decompress": _subcommand(
            Action.DECOMPRESS, "Decompress files.", {"Output": _COMPRESSION["Output"], **_DECODING}
        ),
        "test": _subcommand(Action.TEST, "Test files.", {"Input": options.FOLDERS, **_DECODING}),
        "repair": _subcommand(
            Action.DECOMPRESS, "Get what is sound of damaged files.", _REPAIR, name="repair", keep_going=True
        ),
        "list": _subcommand(Action.LIST, "List files.", {"Output": [*options.FOLDERS, *options.LIST]}),
        **{name: _loader(location) for name, location in _SUBCOMMANDS.items()},
    },
    callback=execute,
    help=(
        "Compress text with a language model, without loss. FILEs stay, and nothing is overwritten without -f; "
        "without FILE, or for -, it is standard input to standard output. A file with the name of a command is ./NAME."
    ),
)


def main() -> None:
    """Run the command line of this process."""
    standard.prepare()
    signals.install(drafts.remove_all)
    try:
        llmzip.main(prog_name="llmzip")
    except signals.Stopped as stopped:
        signals.die(stopped.number)
