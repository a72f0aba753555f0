"""The leaderboard as one HTML page: tables that sort, pictures as SVG, nothing to load."""

from __future__ import annotations

import html
import pathlib
from collections.abc import Callable

from benchmarks.leaderboard_pictures import picture
from benchmarks.leaderboard_rows import Leaderboard, LeaderboardRow, LeaderboardText

_ASSETS = pathlib.Path(__file__).parent

_KINDS = {"codec": "codec", "integer": "exact integers", "float": "floats"}

Cell = tuple[str, str]
"""What a cell shows, and what it is sorted by: empty where there is nothing, which stands last."""

_Columns = tuple[tuple[str, str, Callable[[LeaderboardRow, LeaderboardText], Cell]], ...]


def _number(value: float | None, digits: int = 0) -> Cell:
    return ("", "") if value is None else (f"{value:,.{digits}f}", repr(value))


def _text(value: str) -> Cell:
    return value, value


def _file_rate(row: LeaderboardRow, text: LeaderboardText) -> Cell:
    return _number(None if row.file_bytes is None else 8 * row.file_bytes / text.bytes, 3)


def _code_length(row: LeaderboardRow, text: LeaderboardText) -> Cell:
    shown, key = _number(row.bits_per_byte, 3)
    return (f"{shown} ± {row.bits_per_byte_stderr:.3f}" if shown else "", key)


def _machine(row: LeaderboardRow, text: LeaderboardText) -> Cell:
    return _text(f"{row.processor}, {row.cores} cores" if row.cores else row.processor)


_COLUMNS: _Columns = (
    ("kind", "What computes it", lambda row, text: _text(_KINDS[row.kind])),
    ("file", "Bits/byte of the real file, decoded and compared", _file_rate),
    ("code length", "Bits/byte in segments of 1024 tokens, ± standard error", _code_length),
    (
        "capacity",
        "Information capacity with b = 0 [bits/token per doubling of FLOPs]; the more the better",
        lambda row, text: _number(row.information_capacity_b0, 4),
    ),
    ("FLOPs/byte", "Of the model", lambda row, text: _number(row.flops_per_byte)),
    (
        "parameters",
        "Of the model",
        lambda row, text: _number(row.parameters if row.parameters else None),
    ),
    (
        "model bytes",
        "The model as it is stored",
        lambda row, text: _number(row.model_bytes if row.model_bytes else None),
    ),
    ("level", "Of llmzip's file", lambda row, text: _number(row.level)),
    ("date", "When it was measured", lambda row, text: _text(row.date)),
    ("digest", "Of the model", lambda row, text: _text(row.digest[:12])),
    (
        "llmzip",
        "Version and commit",
        lambda row, text: _text(f"{row.llmzip} {(row.commit or '')[:12]}".strip()),
    ),
    ("machine", "What it was measured on", _machine),
)
"""Title, explanation, and the cell of a row."""

_FIRST_SORTED = "file"


def page(board: Leaderboard) -> str:
    """The page; the same leaderboard gives the same page."""
    texts = [text for text in board.texts if board.rows_of(text)]
    newest = sorted(texts, key=lambda text: (text.written or "", text.name), reverse=True)
    parts = {
        "style": (_ASSETS / "leaderboard.css").read_text("utf-8"),
        "script": (_ASSETS / "leaderboard.js").read_text("utf-8"),
        "choices": "".join(_choice(number, text) for number, text in enumerate(newest)),
        "texts": "\n".join(_section(n, text, board) for n, text in enumerate(newest)),
    }
    shell = (_ASSETS / "leaderboard_shell.html").read_text("utf-8")
    for key, value in parts.items():
        before, mark, after = shell.partition(f"<!--{key}-->")
        assert mark
        shell = before + value.strip() + after
    return shell


def _choice(number: int, text: LeaderboardText) -> str:
    return (
        f'<label><input type="radio" name="text" value="{number}">'
        f"<span>{html.escape(text.name)}</span></label>"
    )


def _section(number: int, text: LeaderboardText, board: Leaderboard) -> str:
    rows = board.rows_of(text)
    written = f"written {text.written.replace('/', ' to ')}" if text.written else "not dated"
    facts = (
        f"{text.bytes:,} bytes, {written}. {text.origin}. "
        f"SHA-256 {text.sha256[:8]}…{text.sha256[-8:]}"
    )
    models = [row for row in rows if row.kind != "codec"]
    drawn = (
        picture(rows, text, "FLOPs/byte", lambda row: row.flops_per_byte),
        picture(rows, text, "model bytes", lambda row: float(row.model_bytes)),
    )
    pictures = f'<div class="pictures">{"".join(drawn)}</div>' if models else ""
    return (
        f'<section data-text="{number}"><h2>{html.escape(text.name)}</h2>'
        f'<p class="facts" title="{text.sha256}">{html.escape(facts)}</p>{pictures}'
        f"{_table(rows, text)}</section>"
    )


def _table(rows: list[LeaderboardRow], text: LeaderboardText) -> str:
    titles = [_title("name", "Model or codec"), *(_title(name, why) for name, why, _ in _COLUMNS)]
    lines = "\n".join(_line(row, text) for row in rows)
    return (
        f'<div class="wide"><table><caption>{html.escape(text.name)}</caption>'
        f"<thead><tr>{''.join(titles)}</tr></thead>\n<tbody>{lines}</tbody></table></div>"
    )


def _title(name: str, why: str) -> str:
    sorted_by = ' aria-sort="ascending"' if name == _FIRST_SORTED else ""
    return (
        f'<th scope="col"{sorted_by}><button title="{html.escape(why)}">'
        f"{html.escape(name)}</button></th>"
    )


def _line(row: LeaderboardRow, text: LeaderboardText) -> str:
    cells = "".join(
        f'<td data-key="{html.escape(key)}">{html.escape(shown)}</td>'
        for shown, key in (cell(row, text) for _, _, cell in _COLUMNS)
    )
    name = html.escape(row.name)
    return (
        f'<tr class="{row.kind}"><th scope="row" data-key="{name}" title="{row.digest}">'
        f"{name}</th>{cells}</tr>"
    )
