"""One direction of one compressor in this process: `python -m benchmarks.worker JSON`; prints
seconds and peak memory as JSON.

A process of its own, so that peak memory is the compressor's; but no peak is below that of the
Python which starts a program (some 12 MiB) or has imported the codecs (some 40 MiB). llmzip's model
is loaded before the clock starts.
"""

from __future__ import annotations

import io
import json
import pathlib
import resource
import shlex
import subprocess
import sys
import time
from typing import Any


def run_program(task: dict[str, Any], source: pathlib.Path, sink: pathlib.Path) -> float:
    command = task[task["direction"]]
    files = {"source": source.name, "sink": sink.name, "original": pathlib.Path(task["original"]).name}
    folder = source.parent  # all are there; archives then hold short names
    argv = [part.format(**files) for part in shlex.split(command)]
    start = time.perf_counter()
    try:
        if "{sink}" in command:
            subprocess.run(argv, check=True, capture_output=True, cwd=folder)
        else:
            with source.open("rb") as reader, sink.open("wb") as writer:
                subprocess.run(argv, check=True, stdin=reader, stdout=writer, stderr=subprocess.DEVNULL, cwd=folder)
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{argv[0]} ends with exit status {error.returncode}") from error
    return time.perf_counter() - start


def run_codec(task: dict[str, Any], source: pathlib.Path, sink: pathlib.Path) -> float:
    from llmzip.codecs.registry import get_codec

    codec = get_codec(task["codec"], **task["parameters"])
    task["model_digest"] = codec.get_config().get("model", "")
    codec.decode(codec.encode(b"What is loaded is loaded by the first text."))
    data = source.read_bytes()
    start = time.perf_counter()
    out = codec.encode(data) if task["direction"] == "compress" else codec.decode(data)
    seconds = time.perf_counter() - start
    sink.write_bytes(out)
    return seconds


def run_llmzip(task: dict[str, Any], source: pathlib.Path, sink: pathlib.Path) -> float:
    import llmzip

    options = {"model": task["model"], "runtime": llmzip.Runtime(threads=task["threads"])}
    llmzip.decompress(llmzip.compress(b"The model is loaded by the first text.", 1, **options), **options)
    data, out = io.BytesIO(source.read_bytes()), io.BytesIO()
    start = time.perf_counter()
    if task["direction"] == "compress":
        llmzip.compress_stream(data, out, level=task["level"], solid=task["solid"], **options)
    else:
        llmzip.decompress_stream(data, out, **options)
    seconds = time.perf_counter() - start
    sink.write_bytes(out.getvalue())
    return seconds


def peak_bytes(of_children: bool) -> int:
    """Of a program, or of this process: there the kernel's own count, as getrusage's begins with
    the parent's peak.
    """
    status = pathlib.Path("/proc/self/status")
    if of_children or not status.is_file():
        who = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
        return resource.getrusage(who).ru_maxrss * 1024
    line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def main() -> None:
    task = json.loads(sys.argv[1])
    work = {"program": run_program, "codec": run_codec, "llmzip": run_llmzip}[task["kind"]]
    seconds = work(task, pathlib.Path(task["source"]), pathlib.Path(task["sink"]))
    found = {"seconds": seconds, "peak_bytes": peak_bytes(task["kind"] == "program")}
    print(json.dumps({**found, "model_digest": task.get("model_digest", "")}))


if __name__ == "__main__":
    main()
