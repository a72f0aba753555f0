"""Messages on stderr: one line each, and the errors of a sub-command as one of them."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

from llmzip.cli.files import RefusalError
from llmzip.cli.paths import shown
from llmzip.errors import LLMZipError


def say(message: str) -> None:
    """One line on stderr, however many `message` has."""
    print(
        "llmzip:",
        shown(" ".join(line.strip() for line in message.splitlines())),
        file=sys.stderr,
        flush=True,
    )


def say_error(label: str | None, error: Exception) -> None:
    """Report an error in one line, with the operating system's file name where the error has one.

    label: the input that was worked on, if any.
    """
    if isinstance(error, OSError) and error.strerror:
        label, reason = shown(str(error.filename)) if error.filename else label, error.strerror
    else:
        reason = str(error) or "not enough memory"
    say(reason if label is None else f"{label}: {reason}")


@contextlib.contextmanager
def about(name: str | None) -> Iterator[None]:
    """Turn errors that a user can cause into one line that names an input, and exit code 1.

    name: as on the command line, `-` for standard input; None where no input is to blame.
    """
    try:
        yield
    except BrokenPipeError:  # nobody reads any more: not an error to report
        raise
    except (LLMZipError, RefusalError, OSError) as error:
        say_error("stdin" if name == "-" else name, error)
        raise SystemExit(1) from error


def reporting(command: Callable[..., None]) -> Callable[..., None]:
    """Turn errors of a sub-command that a user can cause into one line and exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        with about(None):
            command(*args, **kwargs)

    return run
