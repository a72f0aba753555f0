"""Large files for real: time and memory at several sizes, whether the bar's time left is right, and
whether interruptions leave the same file.

    python -m benchmarks.large_files FILE [--sizes 100000 1000000] [--model NAME] [--level 1]

Of each size, the first bytes of FILE are compressed and decompressed by processes of their own and
compared; the compression is killed at a third and at two thirds, and goes on by `--resume`; the
decompression is killed half-way; `llmzip cat --bytes` reads some bytes of the middle. Before that
the smallest size is killed at random moments. The first thing that is not as it should be ends the
program. Without --model it is a random one of one layer (`small_model.py`), with which 10 MB take
some minutes of a processor's time in each direction. Processes have the terminals that bars need,
so this is for Linux.
"""

from __future__ import annotations

import argparse
import filecmp
import itertools
import pathlib
import random
import tempfile
from collections.abc import Sequence

from benchmarks.small_model import write_small_model
from benchmarks.watched import Reading, Watched, watch

MIDDLE_BYTES = 1000
_MINUTE = 60.0


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--model", help="instead of a random one of one layer")
    parser.add_argument("--level", type=int, default=1)
    parser.add_argument("--block-size", help="as of llmzip")
    parser.add_argument("--jobs", type=int, default=1, help="blocks side by side")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--kills", type=int, default=5, help="at random moments, smallest size")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    content = options.file.read_bytes()
    if max(options.sizes) > len(content):
        parser.error(f"{options.file} has {len(content)} bytes")
    with tempfile.TemporaryDirectory(prefix="llmzip-large-") as name:
        folder = pathlib.Path(name)
        model = options.model or str(write_small_model(folder / "small", content))
        how = [f"-{options.level}", "-m", model]
        if options.block_size:
            how += ["--block-size", options.block_size]
        check = Check(folder, how, [f"-j{options.jobs}", f"-T{options.threads}"])
        for number, size in enumerate(sorted(options.sizes)):
            check.begin(content[:size])
            if number == 0 and options.kills:
                check.killed_at_random(options.kills, options.seed)
            else:
                check.whole()
            check.killed_at_thirds()
            check.decompressed()


class Check:
    """One text after the other in a folder, with one set of options."""

    def __init__(self, folder: pathlib.Path, how: Sequence[str], speed: Sequence[str]) -> None:
        """how: options that change bytes; speed: those that change none."""
        self._text, self._packed = folder / "text", folder / "text.llmz"
        self._whole, self._back = folder / "whole.llmz", folder / "back"
        self._both = [*speed]
        self._options = [*speed, *how, "--codec", "llm", "--offline", "--progress"]
        self._seconds = 0.0

    def begin(self, text: bytes) -> None:
        """Go on with this text."""
        self._text.write_bytes(text)
        print(f"\n{len(text):,} bytes\n", flush=True)

    def _compress(self, at_share: float | None = None, at_seconds: float | None = None) -> Watched:
        """Compress as far as the moment when it is killed."""
        arguments = ["--resume", *self._options, str(self._text)]
        return watch(arguments, kill_at_share=at_share, kill_at_seconds=at_seconds)

    def whole(self) -> None:
        """Compress at once."""
        found = watch([*self._options, "-f", "-o", str(self._whole), str(self._text)])
        expect(found.status == 0, found.output)
        self._seconds = found.seconds - (found.readings[0].seconds if found.readings else 0.0)
        size = self._whole.stat().st_size
        print(f"compressed to {size:,} bytes: {described(found)}", flush=True)

    def killed_at_random(self, kills: int, seed: int) -> None:
        """Kill a compression at random moments, each of them soon, and go on, time and again."""
        self.whole()
        rng = random.Random(seed)
        killed = 0
        while killed < kills and not self._packed.exists():
            part = self._compress(at_seconds=rng.uniform(0, self._seconds / 3))
            expect(part.status in (0, -9), part.output)
            killed += part.status == -9
        self._finish(f"killed {killed} times at random moments")

    def killed_at_thirds(self) -> None:
        """Kill a compression at a third and at two thirds."""
        killed = 0
        for share in (1 / 3, 2 / 3):
            if not self._packed.exists():  # short texts may end before their bar shows
                part = self._compress(at_share=share)
                expect(part.status in (0, -9), part.output)
                killed += part.status == -9
        self._finish(f"killed {killed} times, at thirds")

    def _finish(self, what: str) -> None:
        last = None
        if not self._packed.exists():
            last = self._compress()
            expect(last.status == 0, last.output)
        expect(filecmp.cmp(self._packed, self._whole, shallow=False), "another file")
        expect(not list(self._packed.parent.glob("*.partial*")), "something is left")
        self._packed.unlink()
        rest = "" if last is None else f"; the last part: {described(last)}"
        print(f"{what}: the same file{rest}", flush=True)

    def decompressed(self) -> None:
        """Kill a decompression, then let one come to its end, and read from the middle."""
        command = ["-d", *self._both, "--progress", "-o", str(self._back), str(self._whole)]
        killed = watch(command, kill_at_share=0.3)
        if killed.status == -9:
            expect(not self._back.exists(), "a killed decompression has written")
            drafts = len(self._drafts())
            print(f"decompression killed: no file, {drafts} temporary", flush=True)
        else:  # no bar in time
            self._back.unlink()
        found = watch(command)
        expect(found.status == 0, found.output)
        expect(filecmp.cmp(self._back, self._text, shallow=False), "another text")
        expect(not self._drafts(), "a temporary file is left")
        self._back.unlink()
        print(f"decompressed: {described(found)}", flush=True)
        text = self._text.read_bytes()
        begin = len(text) // 2
        end = begin + MIDDLE_BYTES
        span = f"{begin}-{end - 1}"
        found = watch(["cat", *self._both, "--bytes", span, str(self._whole)], self._back)
        expect(found.status == 0, found.output)
        expect(self._back.read_bytes() == text[begin:end], "other bytes")
        self._back.unlink()
        print(f"bytes {span}: {described(found)}", flush=True)

    def _drafts(self) -> list[pathlib.Path]:
        return list(self._back.parent.glob(".llmzip-*"))


def expect(fine: bool, what: str) -> None:
    """Raises SystemExit where something is not as it should be."""
    if not fine:
        raise SystemExit(f"failed: {what}")


def described(found: Watched) -> str:
    """What a command took, in a line."""
    halves = [found.resident_bytes(*part) for part in ((0.1, 0.5), (0.5, 1.0))]
    parts = [
        f"{found.seconds:.1f} s ({found.processor_seconds:.1f} s of processors)",
        f"{found.peak_bytes / 2**20:.0f} MiB at most",
        "in halves {:.0f}, {:.0f}".format(*(half / 2**20 for half in halves)),
    ]
    if told := time_left(found):
        parts.append(f"time left off by {told}")
    return ", ".join(parts)


def time_left(found: Watched) -> str:
    """By how much the time left that the bar told was off, at one minute and at each tenth that
    comes later; in brackets by the processor's time, which does not pass faster or more slowly with
    what other programs do.
    """
    readings = [reading for reading in found.readings if reading.seconds >= _MINUTE]
    if not readings:
        return ""
    first = found.readings[0]
    chosen = {"1 min": readings[0]}
    for before, after in itertools.pairwise(readings):
        if int(10 * before.share) < int(10 * after.share) < 10:
            chosen[f"{int(10 * after.share)}0 %"] = after
    return ", ".join(
        "{} {:+.0%} ({:+.0%})".format(name, *errors(reading, first, found))
        for name, reading in chosen.items()
    )


def errors(reading: Reading, first: Reading, found: Watched) -> tuple[float, float]:
    """By which parts a reading's time left was off, in time and in the processor's time.

    first: the reading with which the bar began.
    """
    off = reading.left / (found.seconds - reading.seconds) - 1
    had = reading.processor_seconds - first.processor_seconds
    rate = had / (reading.seconds - first.seconds) if reading is not first else 1.0
    return off, reading.left * rate / (found.processor_seconds - reading.processor_seconds) - 1


if __name__ == "__main__":
    main()
