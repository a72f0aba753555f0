"""Measured speeds, kept in the user's cache folder: one file for each machine, engine and model.

For a day, where the machine was there for the measurement; what was measured while other programs
had the processors is kept for minutes, and the quickest of several such counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
import platform
import time

from llmzip.cache_folder import cache_base
from llmzip.choosing.speed import Speed, measure_speed
from llmzip.engine.base import Engine
from llmzip.runtime import Runtime

_FOLDER = "speeds"
_SECONDS_KEPT, _SECONDS_KEPT_BUSY = 86_400, 300
_BUSY = 0.05
"""Which part of its time a thread waits for a processor on a machine that is busy otherwise."""


@dataclasses.dataclass(frozen=True)
class _Kept:
    """What a file says."""

    speed: Speed
    waited: float
    """Which part of the measurement's time was other programs', 0 to 1."""
    age: float
    """Seconds since then."""

    @property
    def is_quiet(self) -> bool:
        """Whether the machine was there for it."""
        return self.waited < _BUSY

    @property
    def counts(self) -> bool:
        """Whether nothing needs to be measured now."""
        return self.age < (_SECONDS_KEPT if self.is_quiet else _SECONDS_KEPT_BUSY)


def speed_of(engine: Engine, runtime: Runtime) -> Speed:
    """The speed of an engine that was made for this runtime: the one that was measured here within
    a day, else measured now. On a busy machine that is done again after some minutes.
    """
    path = cache_base() / _FOLDER / f"{_name(engine, runtime)}.json"
    kept = _kept(path)
    if kept is not None and kept.counts:
        return kept.speed
    before = _waits()
    speed = measure_speed(engine)
    waited = _share_waited(before, _waits())
    if waited >= _BUSY and kept is not None:  # it can be too slow only
        speed, waited = speed.quicker(kept.speed), min(waited, kept.waited)
    _keep(path, speed, waited)
    return speed


def _name(engine: Engine, runtime: Runtime) -> str:
    """Of the file: what decides the speed."""
    return hashlib.sha256(
        repr(
            (
                platform.node(),
                platform.machine(),
                type(engine).__name__,
                getattr(engine, "kernels", None),
                getattr(engine, "threads", runtime.threads),
                runtime.device,
                engine.model.fingerprint.hex(),
            )
        ).encode()
    ).hexdigest()[:16]


def _kept(path: pathlib.Path) -> _Kept | None:
    """What the file says, unless it is too old, or damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        age = time.time() - path.stat().st_mtime
        if 0 <= age < _SECONDS_KEPT:
            said = json.loads(path.read_text("utf-8"))
            steps = tuple((int(streams), float(seconds)) for streams, seconds in said.pop("steps"))
            waited = float(said.pop("waited"))
            numbers = {name: float(said[name]) for name in said}
            speed = Speed(decoded_steps=steps, **numbers)
            return _Kept(speed, waited, age) if speed.is_sound and 0 <= waited <= 1 else None
    return None


def _keep(path: pathlib.Path, speed: Speed, waited: float) -> None:
    """Write the file, where that is possible."""
    said = {**dataclasses.asdict(speed), "waited": waited}
    said["steps"] = said.pop("decoded_steps")
    draft = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(said), "utf-8")
        draft.replace(path)


def _waits() -> tuple[int, int]:
    """The nanoseconds that this thread has run, and those that it could have run and had no
    processor; nothing where the system does not tell.
    """
    with contextlib.suppress(OSError, ValueError):
        ran, waited, _ = pathlib.Path("/proc/thread-self/schedstat").read_text().split()
        return int(ran), int(waited)
    return 0, 0


def _share_waited(before: tuple[int, int], after: tuple[int, int]) -> float:
    ran, waited = (later - earlier for earlier, later in zip(before, after, strict=True))
    return waited / max(1, ran + waited)
