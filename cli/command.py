"""Kinds of commands: one whose --help is in sections, and the gzip-like one with sub-commands."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

from llmzip.cli import options, signals
from llmzip.cli.abbreviations import AbbreviatingCommand
from llmzip.cli.messages import say_error
from llmzip.errors import LLMZipError


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
    except (LLMZipError, OSError, MemoryError) as error:
        # It is from a sub-command, a help, or the last words of a list.
        say_error(None, error)
        raise click.exceptions.Exit(1) from None


class Command(AbbreviatingCommand):
    """A command on files whose --help is in sections."""

    def __init__(
        self, name: str, sections: Mapping[str, options.Section], **attributes: Any
    ) -> None:
        self.sections = sections
        files = click.Argument(
            ["files"], nargs=-1, metavar="[FILE]...", shell_complete=self.complete_file
        )
        super().__init__(
            name,
            params=[files, *(option for section in sections.values() for option in section)],
            context_settings={"help_option_names": ["-h", "--help"]},
            **attributes,
        )

    def complete_file(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
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

    def __init__(
        self, name: str, commands: Mapping[str, Callable[[], click.Command]], **attributes: Any
    ) -> None:
        """Take the sub-commands as functions, so that their modules load when they are used."""
        super().__init__(name, **attributes)
        self.commands = commands

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
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
            formatter.write_dl(
                [(name, load().get_short_help_str()) for name, load in self.commands.items()]
            )

    def complete_file(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the names of the sub-commands too."""
        names = (
            []
            if ctx.params["files"]
            else [name for name in self.commands if name.startswith(incomplete)]
        )
        # Files first: click's script for bash forgets what came before them.
        return [*super().complete_file(ctx, param, incomplete), *map(CompletionItem, names)]
