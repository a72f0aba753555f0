"""Sizes in bytes as people write them: 4096, 64K, 1.5MiB; numbers with what they count."""

from __future__ import annotations

import re
from decimal import Decimal

import click

_UNITS = ("", "K", "M", "G", "T")


def parse_size(text: str) -> int:
    """Read a size; K and KiB are 1024 bytes. KB is refused because half of its readers mean
    1000.
    """
    match = re.fullmatch(
        r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([KMGT])(?:iB)?|B)?", text.strip(), re.IGNORECASE
    )
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not a size: write bytes, or a number with KiB, MiB, GiB or TiB."
        )
    return int(Decimal(match[1]) * 1024 ** _UNITS.index((match[2] or "").upper()))


def counted(number: int, noun: str) -> str:
    """Write a number with what it counts, in the plural where that is due: `1 record`, `1,024
    records`.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_size(size: int) -> str:
    """Write a size to three digits in the unit that leaves a number below 1000."""
    scaled = float(size)
    for unit in _UNITS:
        if scaled < 999.5 or unit == _UNITS[-1]:
            break
        scaled /= 1024
    digits = 0 if not unit or scaled >= 99.95 else 1 if scaled >= 9.995 else 2
    return f"{scaled:.{digits}f} {unit + 'i' if unit else ''}B"
