"""What Linux's control groups allow this process: containers have their limits there (cgroups(7)).

Version 1 and 2 of them are read. Where there are none, or they cannot be read, nothing is limited.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def cpu_quota(root: Path = _ROOT) -> float | None:
    """The processors that may be busy on average; None: no limit.

    root: of the file system, for tests.
    """
    quotas = []
    for group in groups(root, "cpu"):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            if (file := group / "cpu.max").exists():
                quota, period = file.read_text().split()
            else:
                quota = (group / "cpu.cfs_quota_us").read_text()
                period = (group / "cpu.cfs_period_us").read_text()
            if int(quota) > 0:  # version 1 has -1 for no limit, version 2 a word
                quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """The memory in bytes; None: no limit. Where version 1 has none it says a number that no
    machine has.
    """
    limits = []
    for group in groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with contextlib.suppress(OSError, ValueError):
                limits.append(int((group / name).read_text()))
    return min(limits, default=None)


def groups(root: Path, controller: str) -> Iterator[Path]:
    """The folders of the process's groups of a controller, each with those above it: their limits
    hold, too.
    """
    with contextlib.suppress(OSError, ValueError):
        groups = (root / "proc/self/cgroup").read_text().splitlines()
        mounts = list(_mounts(root))
        for line in groups:
            _, controllers, group = line.split(":", 2)
            # The group of version 2 is that of all its controllers, and names none.
            if controllers and controller not in controllers.split(","):
                continue
            for has, top, place in mounts:
                if (controller in has) if controllers else not has:
                    yield from _up(place, group, top)


def _mounts(root: Path) -> Iterator[tuple[list[str], str, Path]]:
    """The mounted hierarchies (proc(5), mountinfo): the controllers, none for version 2; what of
    the hierarchy is mounted; where.
    """
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        mount, _, system = line.partition(" - ")
        kind, _, options = system.split()[:3]
        if kind in ("cgroup", "cgroup2"):
            top, place = mount.split()[3:5]
            controllers = options.split(",") if kind == "cgroup" else []
            yield controllers, top, root / PurePosixPath(place).relative_to("/")


def _up(place: Path, group: str, top: str) -> Iterator[Path]:
    """The folder of a group in a hierarchy whose part below `top` is mounted at `place`, and those
    above it.
    """
    # A container may see its own group at the top, whatever it is called outside.
    below = PurePosixPath(group)
    inside = below.relative_to(top).parts if below.is_relative_to(top) else ()
    for depth in range(len(inside), -1, -1):
        yield place.joinpath(*inside[:depth])
