"""Durations as people write them: 90, 90s, 1.5min, 2h."""

from __future__ import annotations

import re

import click

_SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600}
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|m|min|h)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Read a duration in seconds; without a unit it is in seconds."""
    match = re.fullmatch(
        r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(s|m|min|h)?", text.strip(), re.IGNORECASE
    )
    if match is None or not (seconds := float(match[1]) * _SECONDS[(match[2] or "").lower()]):
        raise click.BadParameter(
            f"{text!r} is not a duration: write seconds, or a number with s, min or h."
        )
    return seconds


def format_duration(seconds: float) -> str:
    """Write a duration in the unit that it is thought of in."""
    if seconds < 9.95:
        return f"{seconds:.{2 if seconds < 0.995 else 1}f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.{1 if seconds < 597 else 0}f} min"
    return f"{seconds / 3600:.{1 if seconds < 36_000 else 0}f} h"
