"""The loop over the inputs: it goes on after an error and remembers that there was one."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from llmzip.cli.files import RefusalError
from llmzip.cli.inputs import Source, check
from llmzip.cli.paths import shown
from llmzip.cli.plan import plan
from llmzip.cli.settings import Settings
from llmzip.errors import LLMZipError


def each(settings: Settings, work: Callable[[Source], None]) -> int:
    """Call `work` on every input; the exit code: 0, or 1 when anything that was named could not be done."""
    code = 0

    def complain(label: str, error: Exception) -> None:
        nonlocal code
        code = 1
        say_error(label, error)

    for source in plan(settings, complain):
        try:
            check(source, settings)
            work(source)
        except BrokenPipeError:
            raise  # nobody reads the output any more: there is nothing left to do
        except (LLMZipError, RefusalError, OSError, MemoryError) as error:
            complain(source.label, error)
    return code


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors of a sub-command that a user can cause into one line and exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except BrokenPipeError:  # nobody reads any more: not an error to report
            raise
        except (LLMZipError, RefusalError, OSError) as error:
            say_error(None, error)
            raise SystemExit(1) from error

    return run


def say_error(label: str | None, error: Exception) -> None:
    """The one line of an error; the operating system's name their own file. label: the input that was worked on, if any."""
    if isinstance(error, OSError) and error.strerror:
        label, reason = shown(str(error.filename)) if error.filename else label, error.strerror
    else:
        reason = str(error) or "not enough memory"
    say(reason if label is None else f"{label}: {reason}")


def say(message: str) -> None:
    """One line on stderr, however many `message` has."""
    print("llmzip:", shown(" ".join(line.strip() for line in message.splitlines())), file=sys.stderr, flush=True)
