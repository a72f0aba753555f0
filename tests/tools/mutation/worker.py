"""A process that examines mutants one after the other, under limits; `python -m
tests.tools.mutation.worker` is started by `run`.

It loads everything once and forks; the child says "start NUMBER PID" before each mutant and "NUMBER
KIND VERDICT KILOBYTES MESSAGE" behind it, a line each. Where the child dies, the parent says "died
NUMBER KIND SIGNAL" and forks another, which goes on.
"""

from __future__ import annotations

import contextlib
import functools
import mmap
import os
import pathlib
import random
import resource
import sys
import traceback

import llmzip
from tests.tools.mutation.kinds import Kind, kinds, native
from tests.tools.mutation.mutants import mutant
from tests.tools.mutation.readers import FAULT, MAX_MEMORY, FaultError, account, examine

ADDRESS_SPACE = 2 * MAX_MEMORY
"""Bytes that a mutant may map beyond what the process has at rest: what -M allows, and as much
again for all else."""
SLACK = 40 << 20
"""Bytes by which a process may grow beyond what the frames state: output, and what codecs and
Python take whatever the data."""

_STATUS, _RESET = pathlib.Path("/proc/self/status"), pathlib.Path("/proc/self/clear_refs")


def make(seed: int, number: int) -> tuple[bytes, Kind, random.Random]:
    """A mutant, always the same for the same numbers, its kind, and what decides how it is read."""
    source = random.Random(f"{seed}:{number}")
    kind = source.choices(kinds(), _shares())[0]
    return mutant(kind, source), kind, source


@functools.cache
def _shares() -> list[int]:
    """Of each kind; solid frames take their time for the memory."""
    return [1 if "solid" in kind.name or "dictionary" in kind.name else 3 for kind in kinds()]


def main() -> None:
    seed, first, step, stop = map(int, sys.argv[1:])
    _warm_up()
    reached = mmap.mmap(-1, 8)  # shared with the children
    while first < stop:
        child = os.fork()
        if not child:
            for number in range(first, stop, step):
                reached[:] = number.to_bytes(8, "little")
                _examine(seed, number)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not status:
            return
        if not os.WIFSIGNALED(status):
            raise SystemExit("a child has failed")
        first = int.from_bytes(reached[:], "little")
        print("died", first, _label(make(seed, first)[1]), os.WTERMSIG(status), flush=True)
        first += step


def _label(kind: Kind) -> str:
    return kind.name.replace(" ", "-")


def _examine(seed: int, number: int) -> None:
    print("start", number, os.getpid(), flush=True)
    data, kind, source = make(seed, number)
    _reset_peak()
    before, size = _status("VmRSS"), _status("VmSize")
    if size:
        resource.setrlimit(
            resource.RLIMIT_AS, ((size << 10) + ADDRESS_SPACE, resource.RLIM_INFINITY)
        )
    verdict, message = _verdict(data, kind, source)
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    grown = _status("VmHWM") - before
    if grown > account(data, kind) + SLACK >> 10:
        verdict, message = (
            FAULT,
            f"{grown} KiB of memory, stated {account(data, kind) >> 10}; {message}",
        )
    print(number, _label(kind), verdict, grown, " ".join(message.split())[:500], flush=True)


def _warm_up() -> None:
    """Everything that is loaded at first use is loaded; the sound data decodes."""
    for kind in kinds():
        if kind.name == "short":
            llmzip.decompress(
                kind.data, **{**native(), "runtime": llmzip.Runtime(engine="torch", threads=1)}
            )
        for seed in range(4):
            if examine(kind.data, kind, random.Random(seed)) != "right":
                raise SystemExit(f"{kind.name} does not decode")


def _verdict(data: bytes, kind: Kind, source: random.Random) -> tuple[str, str]:
    try:
        return examine(data, kind, source), ""
    except FaultError as fault:
        return FAULT, str(fault)
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return (
            FAULT,
            f"{type(error).__name__}: {error} ({pathlib.Path(last.filename).name}:{last.lineno})",
        )


def _status(field: str) -> int:
    """Kilobytes; 0 where there is no such file."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
    return 0


def _reset_peak() -> None:
    with contextlib.suppress(OSError):
        _RESET.write_text("5")


if __name__ == "__main__":
    main()
