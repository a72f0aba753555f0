"""Texts that every machine has, so that benchmarks run without a network: name -> bytes."""

from __future__ import annotations

import pathlib
import pydoc_data.topics
import random
from collections.abc import Callable


def python_topics() -> bytes:
    """Prose: the topics of Python's reference that `help()` shows (some 700 KB)."""
    return "\n".join(pydoc_data.topics.topics.values()).encode("utf-8")


def python_sources() -> bytes:
    """Code: the modules of Python's standard library, by name (some 10 MB)."""
    library = pathlib.Path(random.__file__).parent
    return b"".join(path.read_bytes() for path in sorted(library.glob("*.py")))


def random_bytes() -> bytes:
    """What nothing compresses: a megabyte of pseudo-random bytes, always the same."""
    return random.Random(0).randbytes(1 << 20)


BUILTIN: dict[str, Callable[[], bytes]] = {
    "python-topics": python_topics,
    "python-sources": python_sources,
    "random-bytes": random_bytes,
}
