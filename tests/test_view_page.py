"""The page of `llmzip view` in a real browser: what it shows on hover and on keys, and how fast."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmzip.blocks.options import CompressionOptions
from llmzip.mixing.base import EXPERTS
from llmzip.view.layout import Kind
from llmzip.view.observe import Observed, observe_file, observe_text
from llmzip.view.page import page
from tests import browser as browsers
from tests import golden
from tests.browser import Browser
from tests.test_view import HOSTILE, loader

pytestmark = browsers.needed


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsers.running() as running:
        yield running


def shown(browser: Browser, folder: Path, seen: Observed, name: str = "a file") -> Observed:
    """Open the page of what was seen."""
    path = folder / "page.html"
    path.write_text(page(seen, name), "utf-8")
    browser.open(path)
    assert browser.errors() == []
    return seen


def of_text(browser: Browser, folder: Path, text: bytes, **options: Any) -> Observed:
    return shown(browser, folder, observe_text(text, CompressionOptions(**options), loader()))


def of_file(browser: Browser, folder: Path, name: str) -> Observed:
    packed = golden.frame_path(name).read_bytes()
    return shown(browser, folder, observe_file(packed, loader(**golden.needs(name))))


def cell_of_token(browser: Browser, token: int) -> str:
    """A selector of the cell."""
    return f'[data-cell="{browser.get("D.cellOfToken[arguments[0]]", token)}"]'


def value(browser: Browser, key: str) -> float:
    """A row of the detail's table of what mixing changed."""
    row = f"document.querySelector('#detail .mixing [data-key={key}]')"
    return float(browser.get(f"{row} ? {row}.dataset.value : 0"))


def detail_is_of(browser: Browser, seen: Observed, token: int) -> None:
    (tokens,) = seen.payloads
    assert float(browser.get("document.querySelector('#detail .big').dataset.bits")) == (
        pytest.approx(tokens.bits[token], abs=1e-3)
    )
    assert browser.text("#detail .big").startswith(
        f"{browser.get('tokenBits(arguments[0])', token):.2f} bits"
    )
    rank = browser.get("+document.querySelector('#detail [data-rank]').dataset.rank")
    assert rank == tokens.ranks[token]
    assert value(browser, "model") == pytest.approx(tokens.model_bits[token], abs=1e-3)
    assert value(browser, "paid") == pytest.approx(tokens.bits[token], abs=1e-3)
    for e, expert in enumerate(EXPERTS):
        assert value(browser, expert) == pytest.approx(-tokens.saved[token, e], abs=5e-3)
    percents = browser.get(
        "[...document.querySelectorAll('#detail .alternatives tr')].slice(1, 6)"
        ".map(row => [...row.children].slice(1, 3).map(cell => cell.textContent))"
    )
    known = zip(
        percents, tokens.model_probabilities[token], tokens.probabilities[token], strict=True
    )
    for texts, *probabilities in known:
        for text, probability in zip(texts, probabilities, strict=True):
            if text.startswith("<"):
                assert probability < 0.001
            else:
                assert float(text.rstrip(" %")) / 100 == pytest.approx(probability, abs=6e-4)


def test_hover_shows_the_numbers(browser: Browser, tmp_path: Path) -> None:
    seen = of_text(browser, tmp_path, golden.TEXT, level=1)
    (tokens,) = seen.payloads
    costly = np.argsort(-tokens.bits)[:4].tolist()
    for token in [*costly, 0, 17, 101]:
        browser.hover(cell_of_token(browser, token))
        detail_is_of(browser, seen, token)
    parts = browser.get(
        "[...document.querySelectorAll('[data-name=parts] [data-key]')].map(r => r.dataset.key)"
    )
    assert "tokens" in parts
    assert "checks" in parts
    assert f"{len(golden.TEXT):,}" in browser.text("#headline")
    assert f"{seen.packed_bytes:,}" in browser.text("#headline")


def test_margins_have_the_bits_of_lines(browser: Browser, tmp_path: Path) -> None:
    seen = of_text(browser, tmp_path, golden.TEXT, level=1)
    rows = browser.get(
        "[...document.querySelectorAll('.row')].map(r => [r.querySelector('.num').textContent,"
        " +r.querySelector('.cost').textContent])"
    )
    assert [line for line, _ in rows if line] == [
        str(i + 1) for i in range(golden.TEXT.count(b"\n"))
    ]
    (tokens,) = seen.payloads
    assert sum(bits for _, bits in rows) == pytest.approx(tokens.bits.sum(), abs=0.06 * len(rows))


def focused(browser: Browser) -> int:
    found: int = browser.get("F.cell")
    return found


def test_keys_go_from_token_to_token(browser: Browser, tmp_path: Path) -> None:
    seen = of_text(browser, tmp_path, golden.TEXT, level=1)
    (tokens,) = seen.payloads
    browser.press("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft")
    assert focused(browser) == browser.get("D.cellOfToken[1]")
    detail_is_of(browser, seen, 1)
    costly = np.flatnonzero(tokens.bits >= 10)
    costly = costly[costly > 1].tolist()
    browser.press("n", "n")
    detail_is_of(browser, seen, costly[1])
    assert browser.get("document.querySelectorAll('.c.on').length") == 1
    browser.press("p")
    detail_is_of(browser, seen, costly[0])
    browser.press("s", "s")
    assert focused(browser) in browser.get("D.streamCells")
    detail_is_of(browser, seen, int(tokens.stream_starts[browser.get("D.edges.get(F.cell)")]))
    browser.press("?")
    assert browser.get("document.querySelector('#keys').open")


def test_the_text_is_found(browser: Browser, tmp_path: Path) -> None:
    of_text(browser, tmp_path, golden.TEXT * 12, level=1)
    browser.press("/", *"class object", "Enter")
    assert "object" in browser.text(".c.on") or "class" in browser.text(".c.on")
    assert browser.get("document.activeElement.id") == "find"


def test_modes_and_themes(browser: Browser, tmp_path: Path) -> None:
    seen = of_text(browser, tmp_path, golden.TEXT, level=1)
    (tokens,) = seen.payloads
    saved = int(np.argmax(tokens.model_bits - tokens.bits))
    colour = "getComputedStyle(document.querySelector(arguments[0])).backgroundColor"
    selector = cell_of_token(browser, saved)
    colours = []
    for key in "123":
        browser.press(key)
        colours.append(browser.get(colour, selector))
    red, _, blue = map(int, re.findall(r"\d+", colours[2])[:3])
    assert red < blue  # saved bits are blue
    assert len(set(colours)) == 3
    theme = "document.documentElement.dataset.theme"
    paper = "getComputedStyle(document.body).backgroundColor"
    looks = {browser.get(theme): browser.get(paper)}
    browser.press("t")
    looks[browser.get(theme)] = browser.get(paper)
    assert {
        name: sum(map(int, re.findall(r"\d+", rgb)[:3])) > 384 for name, rgb in looks.items()
    } == {
        "light": True,
        "dark": False,
    }
    browser.prefer("dark")
    of_text(browser, tmp_path, b"", level=1)
    assert browser.get(theme) == "dark"
    browser.prefer("light")


def test_matches_lead_to_their_source(browser: Browser, tmp_path: Path) -> None:
    seen = of_file(browser, tmp_path, "matches")
    match = seen.layout.matches[0]
    browser.press("m")
    here = focused(browser)
    assert browser.get("D.part_kinds[D.cell_parts[F.cell]]") == Kind.MATCH
    assert f"{match.bits} bitsfor {match.size:,} bytes" in browser.text("#detail")
    browser.click("#detail a.source")
    cell = focused(browser)
    assert cell < here
    unit = browser.get("D.cell_starts[arguments[0]]", cell)
    assert unit <= match.source < unit + 40  # this text has a unit for each byte up to there
    assert browser.get("document.querySelectorAll('.c.src').length") > 3
    browser.press("Backspace")
    assert focused(browser) == here
    browser.press("Enter")
    assert focused(browser) == cell


@pytest.mark.parametrize("name", ["stored", "mixed", "xz", "empty", "blocks", "matches-dictionary"])
def test_files_of_every_kind_are_shown(browser: Browser, tmp_path: Path, name: str) -> None:
    seen = of_file(browser, tmp_path, name)
    assert browser.get("R.blocks.filter(b => b >= 0).length") == len(seen.layout.blocks)
    assert browser.get("document.querySelectorAll('.divider').length") >= min(1, len(seen.text))
    if Kind.OTHER in seen.layout.kinds:
        browser.hover(".c.run")
        run = seen.layout.runs[0]
        assert f"{run.bits / run.size:.3f} bits/byte" in browser.text("#detail")
    if not seen.text:
        assert "no content" in browser.text("#detail")


def test_hostile_text_is_text(browser: Browser, tmp_path: Path) -> None:
    seen = shown(
        browser,
        tmp_path,
        observe_text(HOSTILE, CompressionOptions(1, codec="llm"), loader()),
        "</title><script>document.hacked = 1</script>",
    )
    assert browser.get("document.hacked || document.querySelectorAll('#rows script').length") == 0
    assert "</title>" in browser.get("document.title")
    text = browser.get("[...document.querySelectorAll('.line')].map(l => l.textContent).join('')")
    for part in (
        "</script><!--",
        "\\xff",
        "\\xfe",
        "\\xe9",
        "U+202E",
        "U+200B",
        "^@",
        "^[[31m",
        "中文",
        "😀",
        "עולם",
        "^M↵",
    ):
        assert part in text
    assert "\u202e" not in text
    assert (
        len(seen.layout.kinds) > browser.get("D.cell_starts.length") > 40
    )  # tokens that split signs
    assert (
        browser.get("D.text.length")
        == len(HOSTILE.decode(errors="replace").encode("utf-16-le")) // 2
    )


def test_a_megabyte_scrolls_without_stalling(browser: Browser, tmp_path: Path) -> None:
    """Rows are made as they come into sight; the observations of 6 KB stand for those of all."""
    seen = of_text(browser, tmp_path, golden.TEXT * 5, level=1)
    browser.run(REPEATED, -(-(1 << 20) // len(seen.text)))
    assert browser.get("D.text.length") >= 1 << 20
    assert browser.get("rowCount()") > 5000
    # Other programs may stop the browser at any time; what stalls it by itself does so each time.
    runs = np.array([browser.run(SCROLLED) for _ in range(5)])
    assert runs.shape[1] > 50
    assert runs.min(axis=0).max() < 200  # [ms]
    assert browser.get("document.querySelectorAll('.row').length") < 150


REPEATED = """
const copies = arguments[0], tokens = D.token_bits.length, units = D.text.length;
const repeated = (name, shift = 0) => {
  const from = D[name], to = new from.constructor(from.length * copies);
  for (let k = 0; k < copies; k++)
    for (let i = 0; i < from.length; i++) to[k * from.length + i] = from[i] + k * shift;
  D[name] = to;
};
const parts = D.part_kinds.length;
for (const name of ["text", "part_kinds", "token_words", "token_bits", "token_model_bits",
  "token_ranks", "token_saved", "other_words", "other_models", "others", "match_bytes",
  "match_bits", "match_units", "match_ends"]) repeated(name);
repeated("cell_starts", units);
repeated("cell_parts", parts);
derive();
R.columns = 0;
fit();
"""

SCROLLED = """
const scroll = $("scroll"), end = scroll.scrollHeight, steps = 60, times = [];
const timed = action => {
  const begun = performance.now();
  action();
  drawVisible();
  $("rows").getBoundingClientRect();  // now, and not later, all is laid out
  times.push(performance.now() - begun);
};
for (let step = 0; step < steps; step++)
  timed(() => { scroll.scrollTop = step % 3 ? scroll.scrollTop + 700 : end * step / steps; });
for (const key of ["n", "n", "p", "m", "b", "3", "1", "t", "t"]) timed(() => KEYS[key]());
timed(() => find("no such words"));
timed(() => { R.columns = 0; fit(); });
return times;
"""
