"""What `llmzip records` and `llmzip dictionary` share: options, and files of records."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from llmzip.cli.paths import from_name
from llmzip.records.framing import split

_Command = TypeVar("_Command", bound=Callable[..., Any])


def framing_options(command: _Command) -> _Command:
    """How the records lie in a file."""
    for name, option, help in reversed(
        (
            ("lines", "--lines", "One record a line (JSON lines, CSV, logs); the default."),
            ("null", "--null", "A NUL ends each record."),
            ("lengths", "--lengths", "Each record's length stands before it, as LEB128."),
        )
    ):
        command = click.option(
            option, "framing", flag_value=name, default="lines", type=str, help=help
        )(command)
    return command


def with_options(*chosen: click.Option) -> Callable[[_Command], _Command]:
    """Options that other commands have, too."""

    def add(command: _Command) -> _Command:
        for option in reversed(chosen):
            command.__click_params__ = [*getattr(command, "__click_params__", []), option]  # type: ignore[attr-defined]
        return command

    return add


def read_records(name: str, framing: str) -> list[bytes]:
    """The records of a file, or for `-` of standard input."""
    data = sys.stdin.buffer.read() if name == "-" else from_name(name).read_bytes()
    return split(data, framing)
