"""The line that tells on a terminal how far some work is."""

from __future__ import annotations

import pytest

from llmzip.cli import bar
from llmzip.cli.bar import Bar
from llmzip.cli.progress import MeasurementProgress, dictionary_progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only element; 80 columns."""
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(bar, "_columns", lambda: 80)
    return now


def test_a_bar_tells_what_is_done_and_the_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    line = Bar()
    line.show("work", 0, 100, "0 B of 100 B")
    clock[0] += 5
    line.show("work", 50, 100, "50 B of 100 B")
    line.show("work", 51, 100, "too soon for another drawing")
    line.clear()
    line.clear()  # nothing is there any more
    first, second, cleared = capsys.readouterr().err.split("\r")[1:]
    assert first == f"work  [{'-' * 24}]  0 B of 100 B\x1b[K"
    assert second == f"work  [{'#' * 12}{'-' * 12}]  50 B of 100 B  5 s left\x1b[K"
    assert cleared == "\x1b[K"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [(44, "work  [#####-----]  50 B of 100 B  5 s left"), (32, "work  50 B of 100 B  5 s left")],
)
def test_on_a_narrow_terminal_the_bar_gives_way_to_the_words(
    columns: int,
    expected: str,
    clock: list[float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bar, "_columns", lambda: columns)
    line = Bar()
    line.show("work", 0, 100, "0 B of 100 B")
    clock[0] += 5
    line.show("work", 50, 100, "50 B of 100 B")
    assert capsys.readouterr().err.split("\r")[2] == expected + "\x1b[K"


def test_without_a_total_there_is_no_bar(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    Bar().show("work", 7, None, "7 B")
    assert capsys.readouterr().err == "\rwork  7 B\x1b[K"


def test_the_line_of_a_measurement_stays_one_line(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    count = MeasurementProgress(quiet=False).begin("long " * 30)
    assert count is not None
    count(5)
    lines = capsys.readouterr().err.split("\r\x1b[K")
    assert [len(line) for line in lines] == [0, 79, 79]


def test_a_line_stays_one_line_and_steers_no_terminal(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    Bar().show("\x1b[2J" + "\u4e00" * 100, 7, None, "7 B")
    assert capsys.readouterr().err == "\r\\x1b[2J" + "\u4e00" * 36 + "\x1b[K"  # 7 and 72 columns


@pytest.mark.parametrize(("kind", "shown"), [("xterm", True), ("dumb", False), ("", True)])
def test_a_terminal_that_cannot_erase_gets_no_bar(
    kind: str, shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    assert bar.can_be_shown() is shown
    assert MeasurementProgress(quiet=False).bar is shown


def test_reading_a_dictionary_has_a_line_of_its_own(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    show = dictionary_progress()
    for done, total in ((0, None), (500, 1000), (1000, 1000)):
        show(done, total)
        clock[0] += 5
    lines = capsys.readouterr().err.split("\r")[1:]
    assert lines[0].startswith("reading the dictionary")
    assert "500 tokens  5 s left" in lines[1]
    assert lines[-1] == "\x1b[K"
