"""Progress on stderr, for every command: bars and counting lines on a terminal, else a line when
something begins.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llmzip.cli.bar import Bar, can_be_shown, fitting
from llmzip.cli.durations import format_duration
from llmzip.cli.messages import say
from llmzip.cli.paths import shown
from llmzip.cli.sizes import format_size

if TYPE_CHECKING:
    from llmzip.cli.pieces import Work
    from llmzip.tuning.training import State
    from llmzip.types import DictionaryProgress, DownloadProgress, Progress, TokenProgress

_STAGES = {"download": "downloading the language model", "convert": "converting the language model"}
_SECONDS_BETWEEN_LINES = 10.0


@dataclass(frozen=True)
class FileProgress:
    """The two callbacks of the library: `advance` for a file's data, `download` for getting a
    model.
    """

    advance: Progress | None
    download: DownloadProgress | None


@contextlib.contextmanager
def file_progress(
    label: str, total_bytes: int | None, *, bar: bool, quiet: bool, work: Work | None = None
) -> Iterator[FileProgress]:
    """The progress of one file of `total_bytes` uncompressed bytes; without `bar` only downloads
    are announced.

    work: how it is spread over the file, where that is known.
    """
    if bar:
        bars = _Bars(label, total_bytes, work)
        try:
            yield FileProgress(bars.advance, bars.download)
        finally:
            bars.stop()
    else:
        yield FileProgress(None, None if quiet else _Announcer().download)


class _Announcer:
    """Says once that a model is on its way, so that no download is a surprise."""

    def __init__(self) -> None:
        self.announced: set[str] = set()

    def download(self, stage: str, done: int, total: int) -> None:
        if stage not in self.announced:
            self.announced.add(stage)
            size = f" ({format_size(total)}, once)" if stage == "download" else ""
            self.write(_STAGES[stage] + size)

    def write(self, message: str) -> None:
        say(message)


class _Bars(_Announcer):
    """A bar that appears with the first report and leaves when stopped; announcements stay."""

    def __init__(self, label: str, total_bytes: int | None, work: Work | None = None) -> None:
        super().__init__()
        self.bar = Bar()
        self.work = work
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
        amount = f"{format_size(done_bytes)}{of_total}{rate}"
        if self.work is None:
            self.bar.show(self.label, done_bytes, self.total_bytes, amount)
        else:
            self.bar.show(self.label, self.work.done(done_bytes), self.work.total, amount)

    def download(self, stage: str, done: int, total: int) -> None:
        super().download(stage, done, total)
        _show_stage(self.bar, stage, done, total)

    def write(self, message: str) -> None:
        self.bar.clear()
        super().write(message)

    def stop(self) -> None:
        self.bar.clear()


def _show_stage(bar: Bar, stage: str, done: int, total: int) -> None:
    layers = f"{done} of {total} layers"
    amount = f"{format_size(done)} of {format_size(total)}" if stage == "download" else layers
    bar.show(_STAGES[stage], done, total, amount)


def dictionary_progress() -> DictionaryProgress:
    """A bar while the model reads a dictionary, which can take minutes."""
    bar = Bar()

    def show(done: int, total: int | None) -> None:
        bar.show("reading the dictionary", done, total, f"{done:,} tokens" if done else "")
        if done == total:
            bar.clear()

    return show


@contextlib.contextmanager
def model_progress() -> Iterator[DownloadProgress | None]:
    """A bar for the stages that a model store reports; None where stderr is no terminal."""
    if not can_be_shown():
        yield None
        return
    bar = Bar()
    try:
        yield functools.partial(_show_stage, bar)
    finally:
        bar.clear()


class MeasurementProgress:
    """What `llmzip eval` measures now: a line that counts on a terminal, else a line per
    measurement.
    """

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bar = can_be_shown() and not quiet

    def begin(self, label: str, unit: str = "tokens") -> TokenProgress | None:
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
        print(f"\r\x1b[K{fitting(text)}", end=end, file=sys.stderr, flush=True)


class CorpusProgress:
    """The bytes of a corpus that is downloaded: a line that counts on a terminal, else one line
    when it begins.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.announced = False

    def show(self, done: int, total: int | None) -> None:
        """So many bytes are there; total: of how many, where that is known."""
        of_total = f" of {format_size(total)}" if total else ""
        if can_be_shown():
            print(
                f"\r{self.name}: {format_size(done)}{of_total}  ",
                end="" if done != total else "\n",
                file=sys.stderr,
            )
        elif not self.announced:
            say(f"downloading {self.name}{f' ({format_size(total)})' if total else ''}")
        self.announced = True


class TrainingProgress:
    """A line every few seconds of training: how far it is, the losses, and the time left."""

    def __init__(self) -> None:
        self.begun = self.last = time.monotonic()
        self.first: float | None = None

    def show(self, state: State, done: float, loss: float) -> None:
        """done: the share of the training that is done, 0 to 1; loss: of the last step
        [bits/token].
        """
        now = time.monotonic()
        if self.first is None:
            self.first = done
        if now - self.last < _SECONDS_BETWEEN_LINES and done < 1:
            return
        self.last = now
        share = done - self.first
        left = (now - self.begun) / share * (1 - done) if share > 0 else 0.0
        say(
            f"step {state.step}, {done:.0%}: {loss:.3f} bits/token here, "
            f"{state.best:.4f} bits/byte on held-out text, {format_duration(left)} left"
        )
