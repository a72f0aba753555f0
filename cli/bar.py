"""One line on a terminal that tells how far some work is, drawn anew with each report."""

from __future__ import annotations

import os
import sys
import time
import unicodedata

from llmzip.cli.paths import shown

_CELLS = 24
_SECONDS_BETWEEN_DRAWINGS = 0.1
_NARROWEST = 20
_USUAL_COLUMNS = 80


class Bar:
    """A line on stderr, which appears with the first report and goes when it is cleared."""

    def __init__(self) -> None:
        self._label = ""
        self._begun = self._drawn = 0.0
        self._first = 0
        self._visible = False

    def show(self, label: str, done: int, total: int | None, amount: str) -> None:
        """Report on the work named `label`.

        done, total: in one unit; total is None where nobody knows it. amount: the same in words.
        """
        now = time.monotonic()
        if label != self._label:
            self._label, self._begun, self._first = label, now, done
        elif now - self._drawn < _SECONDS_BETWEEN_DRAWINGS and done != total:
            return
        self._drawn = now
        parts = [label, amount]
        columns = _columns() - 1
        if total:
            if done > self._first:
                left = (now - self._begun) * (total - done) / (done - self._first)
                parts.append(
                    f"{max(left, 0) / 60:.0f} min left" if left >= 120 else f"{left:.0f} s left"
                )
            cells = min(_CELLS, columns - _width(shown("  ".join(parts))) - len("  []"))
            if cells > 0:  # what is done in words matters more
                full = cells * min(done, total) // total
                parts.insert(1, f"[{'#' * full}{'-' * (cells - full)}]")
        line = _cut(shown("  ".join(parts)), columns)
        print(f"\r{line}\x1b[K", end="", file=sys.stderr, flush=True)
        self._visible = True

    def clear(self) -> None:
        """Take the line away; the next report draws it again."""
        if self._visible:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._visible = False


def fitting(text: str) -> str:
    """As much of a text as fits into one line of the terminal that stderr is."""
    return _cut(text, _columns() - 1)


def can_be_shown() -> bool:
    """Whether stderr is a terminal that can erase a line: one that calls itself dumb cannot."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def _columns() -> int:
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):  # no terminal, or no descriptor
        columns = 0
    return max(columns or _USUAL_COLUMNS, _NARROWEST)


def _width(text: str) -> int:
    """Its columns on a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cut(text: str, columns: int) -> str:
    """As much of a text as fits, so that it never goes on in a second line, which nothing would
    clear.
    """
    for index, char in enumerate(text):
        columns -= _width(char)
        if columns < 0:
            return text[:index]
    return text
