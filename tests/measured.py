"""Decoding in a process of its own whose memory and time are measured.

    python -m tests.measured FILE ENGINE WARM OPTIONS

The model comes from the cache that LLMZIP_CACHE names; nothing here imports torch unless the engine
is torch.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import pathlib
import subprocess
import sys
import time
from typing import Any

_STATUS = pathlib.Path("/proc/self/status")
_CLEAR = pathlib.Path("/proc/self/clear_refs")

CAN_MEASURE = _CLEAR.exists()


@dataclasses.dataclass(frozen=True)
class Measured:
    """What came of decoding."""

    error: str
    """The type of the exception, or nothing."""
    seconds: float
    """Of CPU time: a busy machine changes little."""
    grown: int
    """The peak of resident memory, in bytes beyond what the process had."""
    peak: int
    """The same with that."""
    size: int
    """Bytes of output."""


def decode(
    file: pathlib.Path,
    engine: str = "native",
    warm: pathlib.Path | None = None,
    **options: int | str,
) -> Measured:
    """Decode in another process. warm: a frame that is decoded before anything is measured;
    options: threads and jobs are of the
    Runtime, `dictionary` is a file.
    """
    arguments = [str(file), engine, str(warm or ""), json.dumps(options)]
    run = subprocess.run(
        [sys.executable, "-m", "tests.measured", *arguments], capture_output=True, check=False
    )
    assert run.returncode == 0, run.stderr.decode()
    return Measured(**json.loads(run.stdout))


def _bytes(field: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return 1024 * int(line.split()[1])


def _main(file: str, engine: str, warm: str, given: str) -> None:
    import llmzip

    limits = json.loads(given)
    computing = {"threads": limits.pop("threads", 1), "jobs": limits.pop("jobs", None)}
    options: dict[str, Any] = {"runtime": llmzip.Runtime(engine=engine, **computing)}  # type: ignore[arg-type]
    if "dictionary" in limits:
        limits["dictionary"] = pathlib.Path(limits["dictionary"]).read_bytes()
    if warm:
        llmzip.decompress(pathlib.Path(warm).read_bytes(), **options)
    data = pathlib.Path(file).read_bytes()
    gc.collect()
    _CLEAR.write_text("5")  # the peak is counted from here
    before, begun = _bytes("VmRSS"), time.process_time()
    error, size = "", 0
    try:
        size = len(llmzip.decompress(data, **options, **limits))
    except Exception as raised:
        error = type(raised).__name__
    seconds, peak = time.process_time() - begun, _bytes("VmHWM")
    print(json.dumps(dataclasses.asdict(Measured(error, seconds, peak - before, peak, size))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
