"""What of this machine the C core uses: how many processors, and which of its sets of kernels."""

from __future__ import annotations

import math
import os

from llmzip import control_groups
from llmzip.engine.native_core import core, kernel_names
from llmzip.errors import LLMZipError

CPU_VARIABLE = "LLMZIP_CPU"
"""Environment variable that forces a set of kernels: amx, avx512vnni, avxvnni, avx2, i8mm,
dotprod or portable.
"""
_BLOCK_THREADS = 4


def processors() -> int:
    """The number of processors that this process may use: of those that it may run on, as many as
    its container's quota keeps busy.
    """
    count = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    quota = control_groups.cpu_quota()
    return count if quota is None else min(count, math.ceil(quota))


def useful_blocks(threads: int) -> int:
    """How many blocks side by side make good use of so many threads (docs/notes/speed.md, "Many
    cores"): one for every four; two where fewer can be halved, since one block's products then go
    on while another's attention waits for the memory. Of uneven parts the larger one would wait.
    """
    if threads < 2 * _BLOCK_THREADS:
        return 2 if threads and threads % 2 == 0 else 1
    return threads // _BLOCK_THREADS


def chosen_kernels(cpu: str | None) -> str:
    """The set of kernels of this name, of the environment, or the best.

    Raises ValueError, for the variable LLMZipError.
    """
    chosen = cpu or os.environ.get(CPU_VARIABLE)
    name: bytes | None = core().kernels(
        chosen.encode("utf-8", "surrogateescape") if chosen else None
    )
    if name is not None:
        return name.decode()
    there = f"this processor runs {', '.join(kernel_names())}"
    if cpu:
        raise ValueError(f"{cpu!r} kernels: {there}")
    raise LLMZipError(
        f"the environment variable {CPU_VARIABLE} is {chosen!r}: {there}; correct it or unset it"
    )
