"""Workers that are watched: a mutant that ends the process, or does not come back, is a fault."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import pathlib
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from tests.tools.mutation.readers import FAULT

SECONDS = 20.0
"""Of processor time that a mutant may take."""
_ROOT = pathlib.Path(__file__).parents[3]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Found:
    """A fault; `tests.tools.mutation.worker.make(seed, number)` makes the mutant again."""

    number: int
    kind: str
    message: str


@dataclasses.dataclass
class Results:
    """What came of it."""

    seed: int
    verdicts: collections.Counter[tuple[str, str]] = dataclasses.field(
        default_factory=collections.Counter
    )
    """Kind and verdict -> how many mutants."""
    peaks: dict[str, int] = dataclasses.field(default_factory=dict)
    """Kind -> the most kilobytes by which one has let a process grow."""
    faults: list[Found] = dataclasses.field(default_factory=list)

    @property
    def mutants(self) -> int:
        """How many were examined."""
        return self.verdicts.total()

    def table(self) -> str:
        """One line a kind."""
        names = sorted({verdict for _, verdict in self.verdicts})
        lines = [
            f"| kind | {' | '.join(names)} | peak, MiB |",
            f"| --- |{' ---: |' * (len(names) + 1)}",
        ]
        for kind in sorted({kind for kind, _ in self.verdicts}):
            counts = " | ".join(str(self.verdicts[kind, verdict]) for verdict in names)
            lines.append(f"| {kind} | {counts} | {self.peaks.get(kind, 0) / 1024:.1f} |")
        totals = " | ".join(
            str(sum(n for (_, v), n in self.verdicts.items() if v == verdict)) for verdict in names
        )
        return "\n".join(
            [*lines, f"| all | {totals} | {max(self.peaks.values(), default=0) / 1024:.1f} |"]
        )


class _Worker:
    """One process, which examines every `step`-th mutant, in children of its own."""

    def __init__(self, seed: int, first: int, step: int, stop: int) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.tools.mutation.worker",
            *map(str, (seed, first, step, stop)),
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command, cwd=_ROOT, env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)
        self.child: int | None = None
        self.begun = 0.0
        self._rest = b""

    def lines(self) -> list[str] | None:
        """What it has said meanwhile; None at the end."""
        data = os.read(self.output.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines] if data else None

    def starts(self, child: int) -> None:
        """It has begun a mutant in this process."""
        self.child, self.begun = child, _seconds(child)

    def watch(self) -> None:
        """End a child whose mutant takes too long."""
        if self.child is not None and _seconds(self.child) - self.begun > SECONDS:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGKILL)
            self.child = None

    def close(self) -> int:
        """End it and its children; its exit code."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.output.close()
        return self.process.wait()


def _seconds(process: int) -> float:
    """Of processor time that a process has used."""
    try:
        fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICKS


def run(
    seed: int,
    count: int,
    *,
    minutes: float | None = None,
    workers: int = 1,
    say: Callable[[str], None] = lambda _: None,
) -> Results:
    """Examine mutants 0 … count − 1 of a seed, or as many of them as there is time for. Raises
    RuntimeError where that fails."""
    results = Results(seed)
    deadline = time.monotonic() + 60 * minutes if minutes is not None else float("inf")
    running = [_Worker(seed, first, workers, count) for first in range(min(workers, count))]
    with selectors.DefaultSelector() as selector:
        try:
            for worker in running:
                selector.register(worker.output, selectors.EVENT_READ, worker)
            while selector.get_map() and time.monotonic() < deadline:
                for key, _ in selector.select(timeout=1):
                    lines = key.data.lines()
                    if lines is None:
                        selector.unregister(key.data.output)
                        if code := key.data.process.wait():
                            raise RuntimeError(f"a worker ends with {code}")
                    for line in lines or ():
                        _note(key.data, line, results, say)
                for worker in running:
                    worker.watch()
        except KeyboardInterrupt:  # what there is so far
            say("interrupted")
        finally:
            for worker in running:
                worker.close()
    return results


def _note(worker: _Worker, line: str, results: Results, say: Callable[[str], None]) -> None:
    """Take in what a worker says."""
    first, *rest = line.split(" ", 4)
    if first == "start":
        worker.starts(int(rest[1]))
        return
    worker.child = None
    if first == "died":
        number, kind, verdict = int(rest[0]), rest[1], FAULT
        ended_by = signal.Signals(int(rest[2]))
        message = (
            "takes too long"
            if ended_by == signal.SIGKILL
            else f"ends the process by {ended_by.name}"
        )
    else:
        number, kind, verdict, message = int(first), rest[0], rest[1], "".join(rest[3:])
        results.peaks[kind] = max(results.peaks.get(kind, 0), int(rest[2]))
    results.verdicts[kind, verdict] += 1
    if verdict == FAULT:
        results.faults.append(Found(number, kind, message))
        say(f"FAULT seed {results.seed}, mutant {number}, {kind}: {message}")
