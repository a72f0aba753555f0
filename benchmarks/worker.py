"""One direction of one compressor in this process: `python -m benchmarks.worker JSON`; prints
seconds and peak memory as JSON.

A process of its own, so that peak memory is the compressor's; but no peak is below that of the
Python which starts a program (some 12 MiB) or has imported the codecs (some 40 MiB). llmzip's model
is loaded before the clock starts.
"""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import resource
import shlex
import subprocess
import sys
import time
from typing import Any, Literal

Direction = Literal["compress", "decompress"]


@dataclasses.dataclass(frozen=True)
class Files:
    """What a task reads and writes; all lie in one folder, as archives then hold short names."""

    source: pathlib.Path
    sink: pathlib.Path
    original: pathlib.Path
    """The uncompressed file, in both directions: some programs name it when they decompress."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a task took."""

    seconds: float
    peak_bytes: int
    model_digest: str = ""


@dataclasses.dataclass(frozen=True)
class ProgramTask:
    """A program. {source}, {sink} and {original} are files, else it is standard input or output."""

    compress: str
    decompress: str

    def run(self, direction: Direction, files: Files) -> Measured:
        """Run the program. Raises SystemExit where it fails."""
        command = self.compress if direction == "compress" else self.decompress
        names = {f.name: getattr(files, f.name).name for f in dataclasses.fields(Files)}
        argv = [part.format(**names) for part in shlex.split(command)]
        folder = files.source.parent
        start = time.perf_counter()
        try:
            if "{sink}" in command:
                subprocess.run(argv, check=True, capture_output=True, cwd=folder)
            else:
                with files.source.open("rb") as reader, files.sink.open("wb") as writer:
                    subprocess.run(
                        argv,
                        check=True,
                        stdin=reader,
                        stdout=writer,
                        stderr=subprocess.DEVNULL,
                        cwd=folder,
                    )
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"{argv[0]} ends with exit status {error.returncode}") from error
        return Measured(time.perf_counter() - start, peak_bytes(of_children=True))


@dataclasses.dataclass(frozen=True)
class CodecTask:
    """A codec by itself."""

    codec: str
    parameters: dict[str, Any]

    def run(self, direction: Direction, files: Files) -> Measured:
        """Encode or decode."""
        from llmzip.codecs.registry import get_codec

        codec = get_codec(self.codec, **self.parameters)
        codec.decode(codec.encode(b"What is loaded is loaded by the first text."))
        data = files.source.read_bytes()
        start = time.perf_counter()
        out = codec.encode(data) if direction == "compress" else codec.decode(data)
        seconds = time.perf_counter() - start
        files.sink.write_bytes(out)
        return Measured(seconds, peak_bytes(of_children=False), codec.get_config().get("model", ""))


@dataclasses.dataclass(frozen=True)
class LevelTask:
    """llmzip at a level."""

    level: int
    model: str | None
    threads: int | None
    solid: bool

    def run(self, direction: Direction, files: Files) -> Measured:
        """Compress or decompress."""
        import llmzip

        runtime = llmzip.Runtime(threads=self.threads)
        first = llmzip.compress(b"The model is loaded by it.", 1, model=self.model, runtime=runtime)
        llmzip.decompress(first, model=self.model, runtime=runtime)
        data, out = io.BytesIO(files.source.read_bytes()), io.BytesIO()
        start = time.perf_counter()
        if direction == "compress":
            llmzip.compress_stream(
                data, out, level=self.level, solid=self.solid, model=self.model, runtime=runtime
            )
        else:
            llmzip.decompress_stream(data, out, model=self.model, runtime=runtime)
        seconds = time.perf_counter() - start
        files.sink.write_bytes(out.getvalue())
        return Measured(seconds, peak_bytes(of_children=False))


Task = ProgramTask | CodecTask | LevelTask

_KINDS: dict[str, type[Task]] = {
    kind.__name__: kind for kind in (ProgramTask, CodecTask, LevelTask)
}


def run_in_a_process(task: Task, direction: Direction, files: Files) -> Measured:
    """Run a task in a process of its own. Raises CalledProcessError where the compressor fails."""
    described = {
        "kind": type(task).__name__,
        "task": dataclasses.asdict(task),
        "direction": direction,
        "files": {name: str(path) for name, path in dataclasses.asdict(files).items()},
    }
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.worker", json.dumps(described)],
        capture_output=True,
        check=True,
        text=True,
        cwd=pathlib.Path(__file__).parent.parent,
    )
    return Measured(**json.loads(ran.stdout))


def peak_bytes(of_children: bool) -> int:
    """The peak memory of a program, or of this process.

    Of this process it is the kernel's own count, as getrusage's begins with the parent's peak.
    """
    status = pathlib.Path("/proc/self/status")
    if of_children or not status.is_file():
        who = resource.RUSAGE_CHILDREN if of_children else resource.RUSAGE_SELF
        return resource.getrusage(who).ru_maxrss * 1024
    line = next(
        line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:")
    )
    return int(line.split()[1]) * 1024


def main() -> None:
    described = json.loads(sys.argv[1])
    task = _KINDS[described["kind"]](**described["task"])
    files = Files(**{name: pathlib.Path(path) for name, path in described["files"].items()})
    print(json.dumps(dataclasses.asdict(task.run(described["direction"], files))))


if __name__ == "__main__":
    main()
