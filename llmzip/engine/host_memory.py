"""How much of the host's memory is free for this process, as Linux tells it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from llmzip import control_groups

_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of control groups of version 2 and 1: limit, usage, and what of that the system takes back."""


def free_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that the machine, and the control groups that this process is in (containers have such
    limits), still have for it; None where the system does not say.

    root: where /proc and /sys are.
    """
    return min(_found(root), default=None)


def _found(root: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        yield 1024 * _value(root / "proc/meminfo", "MemAvailable:")
    for group in control_groups.groups(root, "memory"):
        for limit, usage, reclaimable in _FILES:
            with contextlib.suppress(OSError, ValueError):  # of the other version, "max"
                most = int((group / limit).read_text())
                used = int((group / usage).read_text())
                yield max(0, most - used + _value(group / "memory.stat", reclaimable))


def _value(file: Path, name: str) -> int:
    """The number behind a name that begins a line. Raises ValueError where there is none."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    raise ValueError(f"{file}: no {name}")
