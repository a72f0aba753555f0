"""The leaderboard: rows that are measured and replaced, and the page in a real browser."""

from __future__ import annotations

import dataclasses
import doctest
import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import click.testing
import pytest

import llmzip
from benchmarks import leaderboard, leaderboard_pictures, leaderboard_rows
from benchmarks.leaderboard_page import page
from benchmarks.leaderboard_rows import Leaderboard, LeaderboardRow, LeaderboardText
from llmzip.evaluation.json_values import to_json
from tests import browser as browsers
from tests.browser import Browser
from tests.conftest import TINY_DIRECTORY, tiny

TEXT = LeaderboardText("text <b>", 1000, "ab" * 32, "nowhere & everywhere", "2026-01/2026-08")
OLD = LeaderboardText("old.txt", 500, "cd" * 32, "somewhere")
ROW = LeaderboardRow(
    name="model <i>",
    kind="integer",
    digest="12" * 32,
    text=TEXT.sha256,
    level=6,
    file_bytes=100,
    bits_per_byte=0.9,
    bits_per_byte_stderr=0.02,
    information_capacity_b0=0.5,
    flops_per_byte=2e8,
    parameters=1_000_000,
    model_bytes=1_100_000,
    date="2026-11-27",
    llmzip="0.1.0",
    commit="abc",
    processor="a processor",
    cores=2,
)
FLOAT = dataclasses.replace(
    ROW, name="a float", kind="float", digest="34" * 32, level=None, file_bytes=None
)
CODEC = dataclasses.replace(
    ROW,
    name="xz:preset=9",
    kind="codec",
    digest="",
    level=None,
    file_bytes=250,
    bits_per_byte=None,
    bits_per_byte_stderr=None,
    information_capacity_b0=None,
    flops_per_byte=None,
    parameters=0,
    model_bytes=0,
)
WORSE = dataclasses.replace(CODEC, name="zlib:level=9", file_bytes=300)
OF_OLD = dataclasses.replace(CODEC, text=OLD.sha256, file_bytes=90)
BOARD = Leaderboard(1, [OLD, TEXT], [WORSE, FLOAT, CODEC, ROW, OF_OLD])


def cli(*arguments: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(leaderboard.main, [*map(str, arguments)])


def test_the_examples() -> None:
    assert doctest.testmod(leaderboard_pictures).failed == 0


def test_the_file_is_read_as_it_was_written(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "table.json"
    leaderboard_rows.write(BOARD, path)
    found = leaderboard_rows.read(path)
    assert {text.sha256: text for text in found.texts} == {t.sha256: t for t in BOARD.texts}
    assert {row.key: row for row in found.rows} == {row.key: row for row in BOARD.rows}
    assert found.rows_of(TEXT) == [ROW, CODEC, WORSE, FLOAT]  # the best first
    before = path.read_bytes()
    leaderboard_rows.write(found, path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["table.json"]


def test_measuring_again_replaces_a_row() -> None:
    again = dataclasses.replace(ROW, name="renamed", file_bytes=90)
    other = dataclasses.replace(ROW, level=9)
    board = BOARD.with_row(TEXT, again).with_row(TEXT, other)
    assert len(board.rows) == len(BOARD.rows) + 1
    assert {row.key: row for row in board.rows}[ROW.key] == again
    assert board.texts == BOARD.texts


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no leaderboard"),
        ("[]", "no dict"),
        ('{"format": 2, "texts": [], "rows": []}', "format 2"),
        ({"rows": [{"name": "x"}]}, "has no"),
        ({"texts": []}, "no text has the SHA-256"),
        ({"rows": [ROW, ROW]}, "is there 2 times"),
        ({"texts": [TEXT, TEXT]}, "is there 2 times"),
        ({"rows": [dataclasses.replace(ROW, file_bytes=0)]}, "above 0"),
        ({"rows": [dataclasses.replace(ROW, bits_per_byte=-1.0)]}, "above 0"),
        ({"rows": [dataclasses.replace(CODEC, file_bytes=None)]}, "neither"),
        ({"rows": [dataclasses.replace(ROW, kind="magic")]}, "magic"),
        ({"texts": [dataclasses.replace(TEXT, sha256="ab")]}, "SHA-256 'ab'"),
        ({"texts": [dataclasses.replace(TEXT, written="May")]}, "YYYY-MM"),
    ],
)
@pytest.mark.parametrize("command", ["page", "measure"])
def test_a_wrong_file_is_one_error_and_stays(
    command: str, content: Any, message: str, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / "table.json"
    if isinstance(content, dict):
        whole = {"format": 1, "texts": [TEXT], "rows": [ROW], **content}
        content = json.dumps(to_json(whole))
    path.write_text(content)
    failed = cli(command, "--table", path)
    assert failed.exit_code == 1
    assert message in failed.stderr
    assert str(path) in failed.stderr
    assert path.read_text() == content


def test_the_committed_page_is_made_of_the_committed_rows() -> None:
    board = leaderboard_rows.read(leaderboard.TABLE)
    assert page(board) == leaderboard.PAGE.read_text("utf-8")
    assert len(leaderboard.PAGE.read_bytes()) < 200_000


# ---- measuring -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_measure_and_page(tmp_path: pathlib.Path, english: bytes) -> None:
    table, text = tmp_path / "table.json", tmp_path / "mine.txt"
    text.write_bytes(english[:6000])
    models = ("-m", TINY_DIRECTORY, "-m", f"float:{TINY_DIRECTORY}")
    data = ("-d", f"{text}:5000", "-d", "corpus:logs:1000", "--table", table)
    refused = cli("measure", *models, *data)
    assert refused.exit_code == 1
    assert "--origin" in refused.stderr
    assert not table.exists()
    mine = ("--origin", "a shelf", "--written", "2026-03")
    done = cli("measure", *models, "-c", "zlib:level=9", *data[:2], *data[4:], *mine, "--level", 1)
    assert done.exit_code == 0, done.output
    board = leaderboard_rows.read(table)
    (entry,) = board.texts
    assert (entry.name, entry.bytes, entry.origin, entry.written) == (
        "mine.txt",
        5000,
        "a shelf",
        "2026-03",
    )
    rows = {row.kind: row for row in board.rows}
    packed = llmzip.compress(english[:5000], 1, model=tiny())
    assert rows["integer"].file_bytes == len(packed)
    assert rows["integer"].digest == tiny().fingerprint.hex()
    assert rows["integer"].level == 1
    assert rows["integer"].bits_per_byte == pytest.approx(rows["float"].bits_per_byte, rel=0.01)
    assert rows["float"].file_bytes is None
    assert rows["float"].flops_per_byte > 0
    assert rows["codec"].file_bytes < 5000
    assert rows["codec"].bits_per_byte is None
    # Now the text is known: again, of one codec only, and a second text.
    again = cli("measure", "-c", "zlib:level=9", *data)
    assert again.exit_code == 0, again.output
    grown = leaderboard_rows.read(table)
    assert len(grown.rows) == 4
    assert {text.origin.partition(" ")[0] for text in grown.texts} == {"a", "corpus:logs"}
    out = tmp_path / "page.html"
    assert cli("page", "--table", table, "--output", out).exit_code == 0
    assert out.read_text() == page(grown)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-c", "nosuch", "-d", "corpus:logs:100"], "codecs are"),
        (["-c", "raw", "-d", "corpus:nosuch"], "no such file"),
        (["-c", "raw", "-d", "corpus:logs:100", "--written", "2026"], "YYYY-MM"),
        (["-m", "no-such-model", "-d", "corpus:logs:100"], "no-such-model"),
    ],
)
def test_what_cannot_be_measured_is_one_error(
    arguments: list[str], message: str, tmp_path: pathlib.Path
) -> None:
    failed = cli("measure", "--table", tmp_path / "table.json", *arguments)
    assert failed.exit_code == 1
    assert message in failed.stderr
    assert not (tmp_path / "table.json").exists()


def test_a_page_of_nothing_is_refused(tmp_path: pathlib.Path) -> None:
    failed = cli("page", "--table", tmp_path / "none.json", "--output", tmp_path / "page.html")
    assert failed.exit_code == 1
    assert "measure first" in failed.stderr
    assert not (tmp_path / "page.html").exists()


# ---- the page ------------------------------------------------------------------------------------


def test_names_are_escaped_and_nothing_is_loaded() -> None:
    made = page(BOARD)
    assert "model &lt;i&gt;" in made
    assert "<i>" not in made
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", made)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as running:
        yield running


@pytest.fixture
def opened(browser: Browser, tmp_path: pathlib.Path) -> Browser:
    path = tmp_path / "page.html"
    path.write_text(page(BOARD), "utf-8")
    browser.open(path)
    assert browser.errors() == []
    return browser


def names(browser: Browser) -> list[str]:
    """The rows of the table that is shown, in its order."""
    found: list[str] = browser.get(
        "[...document.querySelectorAll('section:not([hidden]) tbody th')].map(c => c.textContent)"
    )
    return found


def title(browser: Browser, name: str) -> str:
    """A selector of the button."""
    number = browser.get(
        "[...document.querySelectorAll('section:not([hidden]) thead th')]"
        ".findIndex(c => c.textContent === arguments[0])",
        name,
    )
    assert number >= 0
    return f"section:not([hidden]) thead th:nth-child({number + 1}) button"


@browsers.needed
def test_titles_sort_by_click_and_by_key(opened: Browser) -> None:
    assert names(opened) == ["model <i>", "xz:preset=9", "zlib:level=9", "a float"]
    opened.click(title(opened, "file"))  # a second time: falling; what has none stays last
    assert names(opened) == ["zlib:level=9", "xz:preset=9", "model <i>", "a float"]
    opened.click(title(opened, "name"))
    assert names(opened) == ["a float", "model <i>", "xz:preset=9", "zlib:level=9"]
    assert "name, rising" in opened.text("#said")
    opened.run("document.querySelector(arguments[0]).focus()", title(opened, "kind"))
    opened.press("Enter")
    assert names(opened)[:2] == ["xz:preset=9", "zlib:level=9"]  # codec before exact and floats
    opened.press("Enter")
    assert names(opened)[0] == "a float"
    sorted_by = "[...document.querySelectorAll('section:not([hidden]) [aria-sort]')]"
    assert opened.get(f"{sorted_by}.map(c => c.textContent + c.ariaSort)") == ["kinddescending"]


@browsers.needed
def test_texts_are_chosen_the_newest_first(opened: Browser) -> None:
    shown = "[...document.querySelectorAll('section')].map(s => !s.hidden)"
    assert opened.get(shown) == [True, False]
    assert opened.text("section:not([hidden]) h2") == "text <b>"
    assert "2026-01 to 2026-08" in opened.text("section:not([hidden]) .facts")
    opened.click("#choice label:nth-of-type(2) span")
    assert opened.get(shown) == [False, True]
    assert names(opened) == ["xz:preset=9"]
    opened.press("ArrowLeft")  # radio buttons go by arrow keys
    assert opened.get(shown) == [True, False]


@browsers.needed
def test_pictures_show_every_row(opened: Browser) -> None:
    tips = opened.get(
        "[...document.querySelectorAll('section:not([hidden]) svg')].map("
        "s => [...s.querySelectorAll('circle title')].map(t => t.textContent))"
    )
    assert len(tips) == 2
    for of_picture in tips:
        assert sorted(of_picture) == [
            "a float: 0.900 bits/byte, code length",
            "model <i>: 0.800 bits/byte, real file",
            "model <i>: 0.900 bits/byte, code length",
            "xz:preset=9: 2.000 bits/byte, real file",
            "zlib:level=9: 2.400 bits/byte, real file",
        ]
    boxes = opened.get(
        "[...document.querySelectorAll('section:not([hidden]) svg')].map(s => {"
        " const all = s.getBoundingClientRect();"
        " return [...s.querySelectorAll('.name, circle')].every(part => {"
        "  const box = part.getBoundingClientRect();"
        "  return box.left >= all.left && box.right <= all.right && box.top >= all.top"
        "   && box.bottom <= all.bottom })})"
    )
    assert boxes == [True, True]


@browsers.needed
def test_dark_and_light(opened: Browser) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    opened.prefer("dark")
    dark = opened.get(paper)
    opened.prefer("light")
    light = opened.get(paper)
    assert dark != light
    opened.click("#theme")
    assert opened.get(paper) == dark
    opened.press("t")
    assert opened.get(paper) == light


@browsers.needed
def test_a_narrow_window_scrolls_the_table_alone(opened: Browser) -> None:
    with browsers.running(width=500, height=700) as narrow:
        narrow.open(pathlib.Path(opened.get("location.pathname")))
        assert narrow.get("document.documentElement.scrollWidth <= innerWidth")
