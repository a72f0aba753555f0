"""What is shown on stderr while a file is worked on: bytes, tokens per second and the time left, on a terminal only."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from llmzip.cli.each import say
from llmzip.cli.sizes import format_size

_STAGES = {"download": "downloading the language model", "convert": "converting the language model"}


@dataclass(frozen=True)
class Meter:
    """The two callbacks of the library: `advance` for a file's data, `fetch` for getting a model."""

    advance: Callable[[int, int], None] | None
    fetch: Callable[[str, int, int], None] | None


@contextlib.contextmanager
def metering(label: str, total_bytes: int | None, *, bar: bool, quiet: bool) -> Iterator[Meter]:
    """A meter for one file of `total_bytes` uncompressed bytes; without `bar` it only announces downloads."""
    if bar:
        bars = _Bars(label, total_bytes)
        try:
            yield Meter(bars.advance, bars.fetch)
        finally:
            bars.stop()
    else:
        yield Meter(None, None if quiet else _Announcer().fetch)


class _Announcer:
    """Says once that a model is on its way, so that no download is a surprise."""

    def __init__(self) -> None:
        self.announced: set[str] = set()

    def fetch(self, stage: str, done: int, total: int) -> None:
        if stage not in self.announced:
            self.announced.add(stage)
            size = f" ({format_size(total)}, once)" if stage == "download" else ""
            self.write(_STAGES[stage] + size)

    def write(self, message: str) -> None:
        say(message)


class _Bars(_Announcer):
    """Bars that appear with their first report and leave when they are stopped; the announcements stay."""

    def __init__(self, label: str, total_bytes: int | None) -> None:
        # Imported here because it takes longer than all that a pipe needs.
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        super().__init__()
        columns = [
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[amount]}"),
            TimeRemainingColumn(compact=True),
        ]
        self.display = Progress(*columns, console=Console(file=sys.stderr), transient=True, refresh_per_second=4)
        self.tasks: dict[str, TaskID] = {}
        self.label = label
        self.total_bytes = total_bytes
        self.first: tuple[float, int] | None = None

    def advance(self, done_bytes: int, done_tokens: int) -> None:
        now = time.monotonic()
        if self.first is None:
            self.first = now, done_tokens
        seconds, tokens = now - self.first[0], done_tokens - self.first[1]
        of_total = "" if self.total_bytes is None else f" of {format_size(self.total_bytes)}"
        rate = f", {tokens / seconds:,.0f} tokens/s" if seconds and tokens else ""
        self._show(self.label, done_bytes, self.total_bytes, f"{format_size(done_bytes)}{of_total}{rate}")

    def fetch(self, stage: str, done: int, total: int) -> None:
        super().fetch(stage, done, total)
        amount = f"{format_size(done)} of {format_size(total)}" if stage == "download" else f"{done} of {total} layers"
        self._show(_STAGES[stage], done, total, amount)

    def write(self, message: str) -> None:
        self.display.console.print(f"llmzip: {message}", markup=False, highlight=False)

    def stop(self) -> None:
        if self.tasks:
            self.display.stop()

    def _show(self, description: str, done: int, total: int | None, amount: str) -> None:
        if description not in self.tasks:
            self.tasks[description] = self.display.add_task(description, total=total, amount=amount)
            self.display.start()  # not before: the hub's library draws bars of its own
        self.display.update(self.tasks[description], completed=done, amount=amount)
