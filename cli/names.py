"""Names on the command line: an empty one, mostly a variable that is not set, names nothing."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click

from llmzip.cli import paths
from llmzip.cli.messages import say


class NoFileError(click.ClickException):
    """There is nothing of the name that an option has."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so in one line."""
        say(self.message)


class Name(click.types.StringParamType):
    """A name or path as it was given, and not empty."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the empty one."""
        try:
            paths.from_name(value)
        except FileNotFoundError as error:
            label = param.opts[0] if param and isinstance(param, click.Option) else ""
            raise NoFileError(f"{label} {error.filename}: {error.strerror}".strip()) from error
        return super().convert(value, param, ctx)


class FilePath(click.Path):
    """`click.Path` as a Path, and not empty."""

    def __init__(self, **rules: Any) -> None:
        super().__init__(path_type=Path, **rules)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the empty one."""
        return super().convert(NAME.convert(value, param, ctx), param, ctx)


NAME = Name()
