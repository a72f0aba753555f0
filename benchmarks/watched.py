"""The command line run on a terminal of its own and watched: its bar, its memory, its end."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import pathlib
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Sequence

_BAR = re.compile(r"([\d.]+) (B|KiB|MiB|GiB) of ([\d.]+) (B|KiB|MiB|GiB).*?(\d+) (s|min) left")
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SECONDS_BETWEEN_LOOKS = 0.5
_TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass(frozen=True)
class Reading:
    """The bar, once."""

    seconds: float
    """Since the start."""
    processor_seconds: float
    """That the process has had until then."""
    share: float
    """Of the content, that is done."""
    left: float
    """Seconds left, as told."""


@dataclasses.dataclass(frozen=True)
class Look:
    """The memory, once."""

    seconds: float
    resident_bytes: int
    peak_bytes: int


@dataclasses.dataclass(frozen=True)
class Watched:
    """What a command took."""

    status: int
    """Its exit code; -9 where it was killed."""
    seconds: float
    processor_seconds: float
    readings: list[Reading]
    looks: list[Look]
    output: str
    """What it wrote to the terminal, bars among it."""

    @property
    def peak_bytes(self) -> int:
        """The most memory that it had."""
        return max((look.peak_bytes for look in self.looks), default=0)

    def resident_bytes(self, begin: float, end: float) -> int:
        """The most memory that was looked at in a part of the time, both from 0 to 1."""
        return max(
            (
                look.resident_bytes
                for look in self.looks
                if begin <= look.seconds / self.seconds <= end
            ),
            default=0,
        )


def watch(
    arguments: Sequence[str],
    stdout: pathlib.Path | None = None,
    kill_at_share: float | None = None,
    kill_at_seconds: float | None = None,
) -> Watched:
    """Run `llmzip` with these arguments; its bar goes to a terminal of 200 columns.

    kill_at_share: once the bar says that so much is done, the process is killed (SIGKILL).
    kill_at_seconds: the same, so long after the bar told a time for the first time.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 200, 0, 0))
    begun = time.monotonic()
    with (stdout or pathlib.Path(os.devnull)).open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "llmzip", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm"},
        )
    os.close(theirs)
    readings: list[Reading] = []
    looks: list[Look] = []
    output = b""
    processor = 0.0
    while True:
        if select.select([ours], [], [], _SECONDS_BETWEEN_LOOKS)[0]:
            try:
                data = os.read(ours, 1 << 16)
            except OSError:  # nobody has the terminal's other end open
                break
            output += data
            told = _BAR.search(data.decode("utf-8", "replace"))
        else:
            told = None
        now = time.monotonic() - begun
        processor = max(processor, _processor_seconds(child.pid))
        if not looks or now - looks[-1].seconds >= _SECONDS_BETWEEN_LOOKS:
            looks.append(Look(now, *_memory(child.pid)))
        if told:
            done, total = (float(told[i]) * _BYTES[told[i + 1]] for i in (1, 3))
            left = float(told[5]) * (60 if told[6] == "min" else 1)
            readings.append(Reading(now, processor, done / total, left))
            if kill_at_share is not None and done / total >= kill_at_share:
                child.send_signal(signal.SIGKILL)
        worked = now - readings[0].seconds if readings else 0.0
        if kill_at_seconds is not None and readings and worked >= kill_at_seconds:
            child.send_signal(signal.SIGKILL)
    _, ended, usage = os.wait4(child.pid, 0)
    os.close(ours)
    child.returncode = os.waitstatus_to_exitcode(ended)
    return Watched(
        child.returncode,
        time.monotonic() - begun,
        usage.ru_utime + usage.ru_stime,
        readings,
        looks,
        output.decode("utf-8", "replace"),
    )


def _memory(process: int) -> tuple[int, int]:
    """Bytes that a process has in memory, and had at most: by its own account, since wait4 counts
    what its parent had.
    """
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", status))
    return 1024 * int(found.get("VmRSS", 0)), 1024 * int(found.get("VmHWM", 0))


def _processor_seconds(process: int) -> float:
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK
