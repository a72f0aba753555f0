"""How much of the host's memory is free for this process, as Linux tells it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_CONTROL_GROUPS = {  # by version: limit, usage, and what of that the system takes back
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def free_bytes(root: Path = Path("/")) -> int | None:
    """Bytes that the machine, and the control groups that this process is in (containers have such
    limits), still have for it; None where the system does not say.

    root: where /proc and /sys are.
    """
    return min(_found(root), default=None)


def _found(root: Path) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError):
        yield 1024 * _value(root / "proc/meminfo", "MemAvailable:")
    with contextlib.suppress(OSError, ValueError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            folder = root / "sys/fs/cgroup"
            if not controllers:
                yield from _of_groups(folder, path, 2)
            elif "memory" in controllers.split(","):
                yield from _of_groups(folder / "memory", path, 1)


def _of_groups(folder: Path, path: str, version: int) -> Iterator[int]:
    """Of a control group and those around it. Inside a container its own is the root."""
    limit, usage, reclaimable = _CONTROL_GROUPS[version]
    inside = PurePosixPath(path.lstrip("/"))
    for group in (folder / inside, *(folder / outer for outer in inside.parents)):
        with contextlib.suppress(OSError, ValueError):  # no such group, "max"
            most = int((group / limit).read_text())
            used = int((group / usage).read_text())
            yield max(0, most - used + _value(group / "memory.stat", reclaimable))


def _value(file: Path, name: str) -> int:
    """The number behind a name that begins a line. Raises ValueError where there is none."""
    for line in file.read_text().splitlines():
        if line.startswith(f"{name} "):
            return int(line.split()[1])
    raise ValueError(f"{file}: no {name}")
