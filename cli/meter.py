"""What `llmzip eval` measures now: a line that counts on a terminal, else a line per measurement."""

from __future__ import annotations

import sys
from collections.abc import Callable

from llmzip.cli.each import say
from llmzip.cli.paths import shown


class Meter:
    """Progress on stderr."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar = sys.stderr.isatty() and not quiet

    def begin(self, label: str, unit: str = "tokens") -> Callable[[int], None] | None:
        """A new measurement; what it returns is told how many units are done."""
        label = shown(label)
        if not self.bar:
            if not self.quiet:
                say(label)
            return None
        self._line(label)
        return lambda done: self._line(f"{label}: {done:,} {unit}")

    def done(self) -> None:
        """Clear the line."""
        if self.bar:
            self._line("", end="\r")

    def _line(self, text: str, end: str = "") -> None:
        print(f"\r\x1b[K{text}", end=end, file=sys.stderr, flush=True)
