"""Ending by a signal: clean up first, then die of that same signal.

A shell reports a death by signal N as exit code 128 + N (SIGINT 130, SIGPIPE 141, SIGTERM 143).
Exiting with that number instead would hide the interruption from the calling shell, which then
would not leave its loop.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked the process to end; raised in the main thread, so that all on the way out
    cleans up.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def install(clean_up: Callable[[], None]) -> None:
    """Raise Stopped on SIGINT, SIGTERM and SIGHUP, except where the caller has them ignored (nohup,
    background jobs).

    A second signal does not wait for what the first began: it calls `clean_up` and ends the process
    at once.
    """

    def first(number: int, frame: FrameType | None) -> None:
        for other in handled:
            signal.signal(other, second)
        raise Stopped(number)

    def second(number: int, frame: FrameType | None) -> None:
        clean_up()
        die(number)

    handled = [number for number in _SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    for number in handled:
        signal.signal(number, first)


def die(number: int) -> NoReturn:
    """End this process by the signal itself."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    raise SystemExit(128 + number)  # reached only where the signal is blocked
