"""A report in sections, none of which can spoil another."""

from __future__ import annotations

import json
import pathlib
import time
import traceback
from collections.abc import Callable
from typing import Any

Results = dict[str, Any]


class Report:
    """Prints as it goes, and keeps all figures."""

    def __init__(self, seconds: float, output: pathlib.Path | None) -> None:
        self.results: Results = {}
        self.wrong = False
        """Whether anything differed or failed."""
        self._end = time.monotonic() + seconds
        self._output = output

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def section(self, name: str, work: Callable[[Results], object], least: float = 5.0) -> None:
        """What goes wrong in the work is said, and nothing else suffers. Less than `least` seconds
        left: nothing is done.
        """
        figures: Results = {}
        self.results[name] = figures
        start = time.monotonic()
        self.say(f"\n== {name} ({self.left:.0f} s left)")
        try:
            if self.left < least:
                raise TimeoutError("no time left")
            work(figures)
        except Exception as error:
            figures["error"] = repr(error)
            self.wrong |= not isinstance(error, TimeoutError)
            self.say(traceback.format_exc())
        figures["seconds"] = time.monotonic() - start
        if self._output:
            self._output.write_text(json.dumps(self.results, indent=1, default=str))
