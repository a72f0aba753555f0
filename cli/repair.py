"""What is said of damaged files: what is missing of them, and where help is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from llmzip.cli.messages import say
from llmzip.cli.sizes import counted
from llmzip.container.header import MAGIC, RECORDS_BYTE
from llmzip.errors import FormatError, IntegrityError

if TYPE_CHECKING:
    import io

    from llmzip.salvage.report import Damage, RepairReport

_OF_DAMAGE = ("damaged", "truncated", "trailing junk")


@contextlib.contextmanager
def advising() -> Iterator[None]:
    """Add to errors of damaged files that `llmzip repair` may help."""
    try:
        yield
    except (FormatError, IntegrityError) as error:
        if any(word in str(error) for word in _OF_DAMAGE):
            raise type(error)(f"{error}; `llmzip repair` gets what is sound of it") from error
        raise


_LATEST_ARCHIVE = 15
"""Of the version that stands behind the first bytes of a records archive, more than it will ever
be: a frame has its memory there.
"""


def is_archive(reader: io.BufferedReader) -> bool:
    """Whether a file, of which nothing has been read, begins like a records archive. What is in it
    is none of the parts of a damaged file.
    """
    head = reader.peek(len(MAGIC) + 2)[: len(MAGIC) + 2]
    return head[:-1] == MAGIC + bytes([RECORDS_BYTE]) and 0 < head[-1] <= _LATEST_ARCHIVE


def refuse_archive(reader: io.BufferedReader) -> None:
    """Raise FormatError where a file that is to be repaired is a records archive."""
    if is_archive(reader):
        raise FormatError(
            "byte 0: a records archive begins here: `llmzip records unpack --keep-going` gets "
            "what is sound of it"
        )


def say_damages(label: str, report: RepairReport) -> None:
    """A line for each damage."""
    for damage in report.damages:
        say(f"{label}: {_missing(damage)}: {damage.reason}")


def _missing(damage: Damage) -> str:
    if damage.size is None:
        return f"content of unknown length is missing at byte {damage.start:,}"
    if damage.size == 1:
        return f"content byte {damage.start:,} is missing"
    if damage.size:
        return f"content bytes {damage.start:,} to {damage.start + damage.size - 1:,} are missing"
    return "no content is missing"


def loss(report: RepairReport) -> IntegrityError | None:
    """The error of a file of which not everything came back, or came back unconfirmed."""
    if report.is_complete:
        return None
    got = (
        f"{counted(report.recovered_bytes, 'byte')} in {counted(report.blocks, 'block')} "
        f"{'was' if report.recovered_bytes == 1 else 'were'} recovered"
    )
    if not report.holes:
        return IntegrityError(
            f"{got}, and none is known to be missing, but no content check confirms it"
        )
    known = sum(hole.size or 0 for hole in report.holes)
    unknown = sum(hole.size is None for hole in report.holes)
    parts = [counted(known, "byte")] * bool(known)
    parts += [f"{counted(unknown, 'part')} of unknown length"] * bool(unknown)
    is_one = len(parts) == 1 and known + unknown == 1
    return IntegrityError(f"{got}, {' and '.join(parts)} {'is' if is_one else 'are'} missing")
