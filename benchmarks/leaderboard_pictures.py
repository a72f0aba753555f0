"""The leaderboard's pictures: bits/byte against what a model costs, as SVG whose colours are the
page's, so that it is readable in dark and in light.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence

from benchmarks.leaderboard_rows import LeaderboardRow, LeaderboardText

_WIDTH, _HEIGHT = 560, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 16, 34, 46
_CODECS = 118  # pixels on the left for what has no model
_LINE = 14  # pixels between names


def picture(
    rows: Sequence[LeaderboardRow],
    text: LeaderboardText,
    title: str,
    cost: Callable[[LeaderboardRow], float | None],
) -> str:
    """Bits/byte of models against a cost on a logarithmic axis, and those of codecs, which cost
    nothing, left of it. A disc is a real file, a ring a code length.
    """
    models = [(row, x) for row in rows if row.kind != "codec" and (x := cost(row))]
    codecs = [row for row in rows if row.kind == "codec"]
    rates = [rate for row in rows for rate in _rates(row, text)]
    top = _step(max(rates)) * math.ceil(max(rates) / _step(max(rates)))
    low, high = _decades([x for _, x in models])

    def height(rate: float) -> float:
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * rate / top

    def place(x: float) -> float:
        width = _WIDTH - _LEFT - _CODECS - _RIGHT
        return _LEFT + _CODECS + width * (math.log10(x) - low) / (high - low)

    parts = [
        f'<text class="title" x="{_LEFT}" y="18">bits/byte against {html.escape(title)}</text>'
    ]
    for step in range(round(top / _step(max(rates))) + 1):
        rate = step * _step(max(rates))
        y = height(rate)
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        )
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{y + 4:.1f}">{rate:g}</text>')
    for power in range(low, high + 1):
        x = place(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>'
        )
        parts.append(
            f'<text class="tick middle" x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}">'
            f'10<tspan class="power" dy="-5">{power}</tspan></text>'
        )
    below = _HEIGHT - 8
    parts.append(f'<text class="tick" x="{_LEFT}" y="{below}">no model</text>')
    middle = _LEFT + _CODECS + (_WIDTH - _LEFT - _CODECS - _RIGHT) / 2
    parts.append(
        f'<text class="tick middle" x="{middle:.1f}" y="{below}">{html.escape(title)}</text>'
    )
    parts += _points([(row, _LEFT + 12.0) for row in codecs], text, height)
    parts += _points([(row, place(x)) for row, x in models], text, height)
    named = html.escape(f"{text.name}: bits/byte against {title}; the table has the numbers")
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{named}">'
        f"{''.join(parts)}</svg>"
    )


def _points(
    placed: Sequence[tuple[LeaderboardRow, float]],
    text: LeaderboardText,
    height: Callable[[float], float],
) -> list[str]:
    """Each row's marks and, on the side that has room, its name, beside the best of them, moved
    where names would overlap.
    """
    parts = []
    order = sorted(placed, key=lambda point: -min(_rates(point[0], text)))
    tops = [height(min(_rates(row, text))) for row, _ in order]
    for (row, x), y, beside in zip(order, tops, _spread(tops), strict=True):
        for rate, shape in zip(_rates(row, text), _shapes(row), strict=True):
            tip = html.escape(f"{row.name}: {rate:.3f} bits/byte, {_MEANING[shape]}")
            parts.append(
                f'<circle class="{row.kind} {shape}" cx="{x:.1f}" cy="{height(rate):.1f}" r="5">'
                f"<title>{tip}</title></circle>"
            )
        away, side = (10, "") if x < _WIDTH / 2 else (-10, " end")
        if beside != y:
            parts.append(
                f'<line class="leader" x1="{x:.1f}" y1="{y:.1f}" '
                f'x2="{x + away:.1f}" y2="{beside:.1f}"/>'
            )
        parts.append(
            f'<text class="name{side}" x="{x + 1.2 * away:.1f}" y="{beside + 4:.1f}">'
            f"{html.escape(row.name)}</text>"
        )
    return parts


def _spread(heights: Sequence[float]) -> list[float]:
    """Rising heights of names [pixels from the top], moved so that none overlaps the next: up, and
    where that would leave the picture, down.

    >>> _spread([200.0, 202.0]), _spread([35.0, 36.0])
    ([188.0, 202.0], [34.0, 48.0])
    """
    moved: list[float] = []
    for height in reversed(heights):
        moved.insert(0, min(height, moved[0] - _LINE) if moved else height)
    for i, height in enumerate(moved):
        moved[i] = max(height, moved[i - 1] + _LINE if i else float(_TOP))
    return moved


_MEANING = {"file": "real file", "code": "code length"}


def _shapes(row: LeaderboardRow) -> list[str]:
    found = ("file", row.file_bytes), ("code", row.bits_per_byte)
    return [shape for shape, value in found if value is not None]


def _rates(row: LeaderboardRow, text: LeaderboardText) -> list[float]:
    """Bits/byte of the real file and of the code length, what there is of them."""
    file = None if row.file_bytes is None else 8 * row.file_bytes / text.bytes
    return [rate for rate in (file, row.bits_per_byte) if rate is not None]


def _step(most: float) -> float:
    """The distance of the lines, so that there are four to ten: 1, 2 or 5 times a power of ten.

    >>> _step(2.4), _step(0.9)
    (0.5, 0.2)
    """
    unit: float = 10.0 ** math.floor(math.log10(most / 4))
    return max(unit * times for times in (1, 2, 5) if unit * times <= most / 4)


def _decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten around all values; at least one decade.

    >>> _decades([2e8, 3e8]), _decades([1e8]), _decades([])
    ((8, 9), (8, 9), (0, 1))
    """
    low = math.floor(math.log10(min(values, default=1.0)))
    return low, max(low + 1, math.ceil(math.log10(max(values, default=1.0))))
