"""The limits of containers, from files as Linux has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmzip import accounting, control_groups
from llmzip.engine import native_machine

VERSION_2 = "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
VERSION_1 = """\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def version_2(group: str, mounts: str = VERSION_2) -> dict[str, str]:
    return {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": mounts}


def test_without_control_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert control_groups.cpu_quota(tmp_path) is None
    assert control_groups.memory_limit(tmp_path) is None


@pytest.mark.parametrize(
    ("maximum", "quota"),
    [("150000 100000", 1.5), ("max 100000", None), ("20000 10000", 2.0), ("", None), ("5 0", None)],
)
def test_version_2(tmp_path: Path, maximum: str, quota: float | None) -> None:
    write(tmp_path, version_2("/") | {"sys/fs/cgroup/cpu.max": maximum + "\n"})
    assert control_groups.cpu_quota(tmp_path) == quota


def test_the_groups_above_limit_too(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/cpu.max": "max 100000\n",
        "sys/fs/cgroup/pod/cpu.max": "50000 100000\n",
        "sys/fs/cgroup/pod/one/cpu.max": "400000 100000\n",
        "sys/fs/cgroup/other/cpu.max": "10000 100000\n",
        "sys/fs/cgroup/pod/memory.max": "max\n",
        "sys/fs/cgroup/pod/one/memory.max": "1073741824\n",
    }
    write(tmp_path, version_2("/pod/one") | files)
    assert control_groups.cpu_quota(tmp_path) == 0.5
    assert control_groups.memory_limit(tmp_path) == 1 << 30


@pytest.mark.parametrize("group", ["/pod/one", "/../../elsewhere"])
def test_a_container_sees_its_own_group_at_the_top(tmp_path: Path, group: str) -> None:
    mounts = VERSION_2.replace(" / ", " /pod/one ", 1)
    write(tmp_path, version_2(group, mounts) | {"sys/fs/cgroup/cpu.max": "300000 100000\n"})
    assert control_groups.cpu_quota(tmp_path) == 3


def test_version_1(tmp_path: Path) -> None:
    cpu, memory = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/memory"
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:memory:/one\n2:cpu,cpuacct:/one\n0::/\n",
        "proc/self/mountinfo": VERSION_1,
        f"{cpu}/cpu.cfs_quota_us": "-1\n",
        f"{cpu}/cpu.cfs_period_us": "100000\n",
        f"{cpu}/one/cpu.cfs_quota_us": "250000\n",
        f"{cpu}/one/cpu.cfs_period_us": "100000\n",
        f"{memory}/memory.limit_in_bytes": "9223372036854771712\n",
        f"{memory}/one/memory.limit_in_bytes": "536870912\n",
    }
    write(tmp_path, files)
    assert control_groups.cpu_quota(tmp_path) == 2.5
    assert control_groups.memory_limit(tmp_path) == 1 << 29


@pytest.mark.parametrize(("quota", "count"), [(None, 8), (2.5, 3), (0.1, 1), (64.0, 8)])
def test_threads_are_as_many_as_the_quota_keeps_busy(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, count: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(control_groups, "cpu_quota", lambda: quota)
    assert native_machine.processors() == count


def test_a_decoder_may_take_what_the_container_has(monkeypatch: pytest.MonkeyPatch) -> None:
    accounting.machine_bytes.cache_clear()
    whole = accounting.machine_bytes()
    try:
        for limit in (1 << 20, 1 << 63):
            accounting.machine_bytes.cache_clear()
            monkeypatch.setattr(control_groups, "memory_limit", lambda: limit)  # noqa: B023
            assert accounting.machine_bytes() == min(whole, limit)
    finally:
        accounting.machine_bytes.cache_clear()
