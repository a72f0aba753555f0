"""Environment variables that stand for options; they are read by the commands that use them, and
only there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from llmzip.cli.durations import parse_duration
from llmzip.cli.messages import say
from llmzip.cli.sizes import parse_size
from llmzip.levels import DEFAULT_LEVEL, MAX_LEVEL, MIN_LEVEL

LEVEL = "LLMZIP_LEVEL"
THREADS = "LLMZIP_NUM_THREADS"
JOBS = "LLMZIP_JOBS"
TARGET_TIME = "LLMZIP_TARGET_TIME"
TARGET_MEMORY = "LLMZIP_TARGET_MEMORY"

_MAX_DIGITS = 9

_Value = TypeVar("_Value")


class VariableError(click.ClickException):
    """An environment variable that this command uses has a value that it cannot have."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        """Say so in one line."""
        say(self.message)


def level(given: int | None) -> int:
    """The level that was given, else that of the environment, else the default. Raises
    VariableError.
    """
    if given is not None:
        return given
    chosen = _number(LEVEL, f"a level, {MIN_LEVEL} to {MAX_LEVEL}", MIN_LEVEL, MAX_LEVEL)
    return DEFAULT_LEVEL if chosen is None else chosen


def threads(given: int | None) -> int | None:
    """The number of threads that was given, else that of the environment, else None. Raises
    VariableError.
    """
    return (
        given if given is not None else _number(THREADS, "a number of threads, 0 for all cores", 0)
    )


def jobs(given: int | None) -> int | None:
    """The number of blocks side by side that was given, else that of the environment, else None.
    Raises VariableError.
    """
    return (
        given
        if given is not None
        else _number(JOBS, "a number of blocks side by side, 0 for as many as is good", 0)
    )


def target_time() -> float | None:
    """The seconds of the environment, else None. Raises VariableError."""
    return _parsed(TARGET_TIME, parse_duration)


def target_memory() -> int | None:
    """The bytes of the environment, else None. Raises VariableError."""
    return _parsed(TARGET_MEMORY, parse_size)


def _parsed(variable: str, parse: Callable[[str], _Value]) -> _Value | None:
    text = os.environ.get(variable, "").strip()
    try:
        return parse(text) if text else None
    except click.BadParameter as error:
        raise VariableError(
            f"the environment variable {variable}: {error.message} Correct it or unset it"
        ) from None


def _number(variable: str, what: str, low: int, high: int | None = None) -> int | None:
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    number = int(text) if re.fullmatch(f"[0-9]{{1,{_MAX_DIGITS}}}", text) else -1
    if number < low or (high is not None and number > high):
        raise VariableError(
            f"the environment variable {variable} is {text!r}, not {what}: correct it or unset it"
        )
    return number
