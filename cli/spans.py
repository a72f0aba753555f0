"""Spans of lines or bytes as people write them: 5-7, 5- or 5."""

from __future__ import annotations

import re
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Span:
    """From the first to the last, both of them in it; the last one is None for the end."""

    first: int
    last: int | None

    @property
    def count(self) -> int | None:
        """How many they are; None: all that there are."""
        return None if self.last is None else self.last - self.first + 1


def parse_lines(text: str) -> Span:
    """Read a span of lines, which count from 1."""
    span = _parse(text)
    if span.first < 1:
        raise click.BadParameter(f"{text!r}: the first line is 1.")
    return span


def parse_bytes(text: str) -> Span:
    """Read a span of bytes, which count from 0, as in HTTP."""
    return _parse(text)


def _parse(text: str) -> Span:
    match = re.fullmatch(r"([0-9]{1,18})(?:(-)([0-9]{1,18})?)?", text.strip(), re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} is no span: write 5-7, 5- for all from there, or 5.")
    first = int(match[1])
    last = int(match[3]) if match[3] else None if match[2] else first
    if last is not None and last < first:
        raise click.BadParameter(f"{text!r} ends before it begins.")
    return Span(first, last)
