"""Measured speeds, kept for a day in the user's cache folder: one file for each machine, engine and
model.
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
_SECONDS_KEPT = 86_400


def speed_of(engine: Engine, runtime: Runtime) -> Speed:
    """The speed of an engine that was made for this runtime: the one that was measured here within
    a day, else measured now.
    """
    path = cache_base() / _FOLDER / f"{_name(engine, runtime)}.json"
    speed = _kept(path)
    if speed is None:
        speed = measure_speed(engine)
        _keep(path, speed)
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


def _kept(path: pathlib.Path) -> Speed | None:
    """What the file says, unless it is too old, or damaged."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        if 0 <= time.time() - path.stat().st_mtime < _SECONDS_KEPT:
            said = json.loads(path.read_text("utf-8"))
            steps = tuple((int(streams), float(seconds)) for streams, seconds in said.pop("steps"))
            return Speed(decoded_steps=steps, **{name: float(said[name]) for name in said})
    return None


def _keep(path: pathlib.Path, speed: Speed) -> None:
    """Write the file, where that is possible."""
    said = dataclasses.asdict(speed)
    said["steps"] = said.pop("decoded_steps")
    draft = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(said), "utf-8")
        draft.replace(path)
