"""KeyboardInterrupt at any line of llmzip's code."""

from __future__ import annotations

import functools
import pathlib
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import llmzip

_PACKAGE = pathlib.Path(llmzip.__file__).resolve().parents[1]


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of llmzip `work` runs through."""
    counter = _Tracer(None)
    counter.run(work)
    return counter.lines


def interrupted_at(line: int, work: Callable[[], object]) -> bool:
    """Do the work and raise KeyboardInterrupt before the line of that number; False where it ends
    before.
    """
    try:
        _Tracer(line).run(work)
    except KeyboardInterrupt:
        return True
    return False


@functools.cache
def _is_ours(name: str) -> bool:
    path = pathlib.Path(name)
    return path.is_relative_to(_PACKAGE) and "tests" not in path.parts


class _Tracer:
    def __init__(self, stop: int | None) -> None:
        self.lines = 0
        self._stop = stop

    def run(self, work: Callable[[], object]) -> None:
        before = sys.gettrace()
        sys.settrace(self._enter)
        try:
            work()
        finally:
            sys.settrace(before)

    def _enter(self, frame: FrameType, event: str, argument: Any) -> Any:
        return self._step if _is_ours(frame.f_code.co_filename) else None

    def _step(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self._stop:
                raise KeyboardInterrupt
        return self._step
