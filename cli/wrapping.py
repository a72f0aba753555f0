"""Programs that get decompressed text: grep, diff and less under names of our own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from llmzip.cli import environment, options
from llmzip.cli.arguments import Action, Arguments
from llmzip.cli.messages import say_error
from llmzip.errors import LLMZipError

_OWN = [options.DICTIONARY, *options.LIMITS, *options.ENGINE, options.JOBS]
"""By their long names only: the short ones are the program's."""


@dataclass(frozen=True)
class Option:
    """An option of the program: one with a value, or some without."""

    name: str
    value: str | None = None

    @property
    def words(self) -> list[str]:
        """The option as the program takes it."""
        if self.value is None:
            return [self.name]
        return [f"{self.name}={self.value}"] if self.is_long else [self.name, self.value]

    @property
    def is_long(self) -> bool:
        """Whether its name is a word."""
        return self.name.startswith("--")

    def means(self, letter: str, *names: str) -> bool:
        """Whether it is, or has among others, the option of this letter or these names."""
        return self.name in names if self.is_long else letter in self.name


@dataclass
class CommandLine:
    """The arguments of such a program, and of ours."""

    options: list[Option] = field(default_factory=list)
    operands: list[str] = field(default_factory=list)
    own: list[str] = field(default_factory=list)
    """Options of ours, which say how to decompress."""

    def arguments(self, files: Sequence[str]) -> Arguments:
        """How these files are decompressed. Raises UsageError."""
        given = click.Command("llmzip", params=[*_OWN]).make_context("llmzip", self.own).params
        runtime = options.make_runtime(
            given.pop("engine"),
            given.pop("device"),
            environment.threads(given.pop("threads")),
            offline=False,
            download=False,
            jobs=environment.jobs(given.pop("jobs")),
        )
        return Arguments(
            Action.DECOMPRESS,
            tuple(files),
            stdout=True,
            force=True,
            progress=False,
            runtime=runtime,
            **given,
        )


def split(words: Sequence[str], letters: Collection[str], names: Collection[str]) -> CommandLine:
    """Tell options from operands as getopt does, in any order.

    letters, names: of the program's options with a value. Raises UsageError where a value is
    missing.
    """
    line = CommandLine()
    waiting = iter(words)

    def value_of(name: str) -> str:
        value = next(waiting, None)
        if value is None:
            raise click.UsageError(f"option {name} needs a value")
        return value

    own = {name for option in _OWN for name in option.opts if name.startswith("--")}
    for word in waiting:
        if word == "--":
            line.operands += waiting
        elif word.startswith("--"):
            name, has_value, value = word.partition("=")
            if name in own:
                line.own.append(f"{name}={value if has_value else value_of(name)}")
            elif has_value:
                line.options.append(Option(name, value))
            else:
                takes = any(known.startswith(name) for known in names)
                line.options.append(Option(name, value_of(name) if takes else None))
        elif word.startswith("-") and word != "-":
            at = next((i for i, letter in enumerate(word) if letter in letters), len(word))
            if at > 1:
                line.options.append(Option(word[:at]))
            if at < len(word):
                name = f"-{word[at]}"
                line.options.append(Option(name, word[at + 1 :] or value_of(name)))
        else:
            line.operands.append(word)
    return line


class WrappingCommand(click.Command):
    """A command that hands its arguments on as they are."""

    def __init__(self, name: str, callback: Callable[[list[str]], Any], **attributes: Any) -> None:
        super().__init__(name, callback=lambda: callback(self._words), **attributes)
        self._words: list[str] = []

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Take them all; only --help is ours."""
        if "--help" in args[: args.index("--") if "--" in args else None]:
            click.echo(ctx.get_help())
            ctx.exit()
        self._words = args
        return []

    def invoke(self, ctx: click.Context) -> Any:
        """Run it. What goes wrong beside the files is exit code 2, as of the program itself, of
        which 1 is an answer.
        """
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (LLMZipError, OSError, MemoryError) as error:
            say_error(None, error)
            ctx.exit(2)


def program(name: str) -> str:
    """The path of a program. Raises LLMZipError where it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise LLMZipError(f"needs the program {name}, which is not in PATH: install it")
    return path
