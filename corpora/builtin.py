"""Texts that every machine has, so that everything runs without a network: name -> bytes.

The two that are Python's own differ a little between its versions; results name the digest of what
they measured.
"""

from __future__ import annotations

import json
import pathlib
import pydoc_data.topics
import random
from collections.abc import Callable

GENERATED_BYTES = 1 << 20

_NAMES = (
    "alpha",
    "bravo",
    "charlie",
    "delta",
    "echo",
    "foxtrot",
    "golf",
    "hotel",
    "india",
    "juliett",
)
_EVENTS = (
    "session opened",
    "session closed",
    "request served",
    "cache miss",
    "connection reset",
    "retry scheduled",
)


def python_topics() -> bytes:
    """Prose: the topics of Python's reference that `help()` shows (some 700 KB)."""
    return "\n".join(pydoc_data.topics.topics.values()).encode("utf-8")


def python_sources() -> bytes:
    """Code: the modules of Python's standard library, by name (some 10 MB)."""
    library = pathlib.Path(random.__file__).parent
    return b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))


def _generated(line: Callable[[random.Random, int], str]) -> bytes:
    """Lines from a fixed seed; only `Random.random`, which is the same in all versions of Python,
    decides them.
    """
    generator = random.Random(0)
    out = bytearray()
    row = 0
    while len(out) < GENERATED_BYTES:
        out += line(generator, row).encode("utf-8")
        row += 1
    return bytes(out[:GENERATED_BYTES])


def _pick(generator: random.Random, choices: tuple[str, ...]) -> str:
    return choices[int(generator.random() * len(choices))]


def logs() -> bytes:
    """A server's log: times, levels, hosts, events, numbers."""

    def line(generator: random.Random, row: int) -> str:
        seconds = row * 7 // 3
        time = (
            f"2026-03-{1 + seconds // 86400 % 28:02}"
            f"T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"
        )
        level = "WARN " if generator.random() < 0.1 else "INFO "
        host, event = _pick(generator, _NAMES), _pick(generator, _EVENTS)
        process, took = int(generator.random() * 9000) + 1000, generator.random() * 90
        return f"{time} {level} {host}.example [{process}] {event} in {took:.1f} ms\n"

    return _generated(line)


def json_records() -> bytes:
    """Records as JSON lines."""

    def line(generator: random.Random, row: int) -> str:
        record = {
            "id": row,
            "user": _pick(generator, _NAMES),
            "event": _pick(generator, _EVENTS),
            "score": round(generator.random() * 100, 2),
            "tags": [_pick(generator, _NAMES) for _ in range(int(generator.random() * 3))],
            "active": generator.random() < 0.5,
        }
        return json.dumps(record) + "\n"

    return _generated(line)


def csv_table() -> bytes:
    """A table of measurements as CSV."""

    def line(generator: random.Random, row: int) -> str:
        if row == 0:
            return "sample,site,temperature,pressure,humidity\n"
        numbers = (
            20 + generator.random() * 10,
            990 + generator.random() * 40,
            generator.random() * 100,
        )
        return (
            f"{row},{_pick(generator, _NAMES)},{numbers[0]:.2f},{numbers[1]:.1f},{numbers[2]:.0f}\n"
        )

    return _generated(line)


def random_bytes() -> bytes:
    """What nothing compresses: a megabyte of pseudo-random bytes, always the same."""
    return random.Random(0).randbytes(1 << 20)


BUILTIN: dict[str, Callable[[], bytes]] = {
    "python-topics": python_topics,
    "python-sources": python_sources,
    "logs": logs,
    "json": json_records,
    "csv": csv_table,
    "random-bytes": random_bytes,
}
