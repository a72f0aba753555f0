"""Real file sizes after a verified round trip, llmzip beside what users would pick instead.

    python -m benchmarks.compare [FILE...] [--bytes 100000] [--levels 1,6,9] [--engine auto|native|torch] [--threads N]

Without FILE: texts that every machine has (corpora/builtin.py).

Each llmzip run is a process of its own, so that peak memory and start-up are its own; sizes are bytes of files that
were decoded and compared. Prints a Markdown table: bits per byte, and for llmzip tokens/s and bytes/s in both
directions (the model already loaded), and the peak memory of the process that decodes.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import json
import lzma
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import click
import zstandard

from llmzip.corpora.builtin import BUILTIN


def brotli(data: bytes) -> bytes:
    """Of the package brotli."""
    return bytes(importlib.import_module("brotli").compress(data, quality=11, lgwin=24))


def ppmd(data: bytes) -> bytes:
    """7-Zip's PPMd, of the package pyppmd."""
    return bytes(importlib.import_module("pyppmd").compress(data, max_order=16, mem_size=1 << 26))


def zpaq(data: bytes) -> bytes:
    """The program zpaq; its archive without the 100 or so bytes that name the file would be a little smaller."""
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "data").write_bytes(data)
        subprocess.run(["zpaq", "add", "a.zpaq", "data", "-m5"], cwd=folder, check=True, capture_output=True)
        return pathlib.Path(folder, "a.zpaq").read_bytes()


COMPETITORS: dict[str, Callable[[bytes], bytes]] = {
    "gzip -9": lambda data: gzip.compress(data, 9),
    "bzip2 -9": lambda data: bz2.compress(data, 9),
    "xz -9e": lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME),
    "zstd --ultra -22": lambda data: zstandard.ZstdCompressor(level=22).compress(data),
    "brotli -q 11": brotli,
    "7z PPMd -o16": ppmd,
    "zpaq -m5": zpaq,
}


def measure(job: dict[str, object]) -> dict[str, float]:
    """One direction in this process: seconds, tokens, output bytes, peak memory."""
    import io

    import llmzip

    options = {"engine": job["engine"], "threads": job["threads"]}
    llmzip.decompress(llmzip.compress(b"The model is loaded by the first text.", 1, **options), **options)
    source = pathlib.Path(str(job["source"])).read_bytes()
    sink = io.BytesIO()
    start = time.perf_counter()
    if job["direction"] == "compress":
        totals = llmzip.compress_stream(io.BytesIO(source), sink, level=int(str(job["level"])), **options)
    else:
        totals = llmzip.decompress_stream(io.BytesIO(source), sink, **options)
    seconds = time.perf_counter() - start
    pathlib.Path(str(job["sink"])).write_bytes(sink.getvalue())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {"seconds": seconds, "tokens": totals.tokens, "bytes": len(sink.getvalue()), "peak": peak}


def in_a_process(**job: object) -> dict[str, float]:
    """`measure` in a fresh process."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", "--job", json.dumps(job)], stdout=subprocess.PIPE, check=True
    )
    result: dict[str, float] = json.loads(ran.stdout)
    return result


def llmzip_row(data: bytes, level: int, engine: str, threads: int | None) -> str:
    """Compress and decompress a file at a level, compare, and describe."""
    with tempfile.TemporaryDirectory() as folder:
        plain, packed, back = (pathlib.Path(folder, name) for name in ("plain", "packed", "back"))
        plain.write_bytes(data)
        common = {"engine": engine, "threads": threads, "level": level}
        there = in_a_process(direction="compress", source=str(plain), sink=str(packed), **common)
        again = in_a_process(direction="decompress", source=str(packed), sink=str(back), **common)
        if back.read_bytes() != data:
            raise SystemExit(f"level {level}: the round trip failed")
        bits = packed.stat().st_size * 8 / len(data)
    speeds = [f"{r['tokens'] / r['seconds']:,.0f} / {len(data) / r['seconds']:,.0f}" for r in (there, again)]
    return f"| **llmzip -{level}** | **{bits:.3f}** | {' | '.join(speeds)} | {again['peak'] / 2**20:,.0f} |"


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path))
@click.option("--bytes", "size", type=int, default=None, help="Only the first so many bytes of each file.")
@click.option("--levels", default="6", help="Levels of llmzip, separated by commas.")
@click.option("--engine", default="auto")
@click.option("--threads", type=int, default=None)
@click.option("--job", hidden=True)
def main(
    files: tuple[pathlib.Path, ...], size: int | None, levels: str, engine: str, threads: int | None, job: str | None
) -> None:
    """Compare compressors on FILES."""
    if job:
        print(json.dumps(measure(json.loads(job))))
        return
    texts = {file.name: file.read_bytes for file in files} or BUILTIN
    for name, read in texts.items():
        data = read()[:size]
        print(f"\n{name}, {len(data):,} bytes\n")
        print("| compressor | bits/byte | compress tokens/s / bytes/s | decompress tokens/s / bytes/s | peak MiB |")
        print("| --- | --- | --- | --- | --- |")
        for peer, compress in COMPETITORS.items():
            try:
                print(f"| {peer} | {len(compress(data)) * 8 / len(data):.3f} | | | |")
            except (ImportError, FileNotFoundError):
                print(f"| {peer} | not installed | | | |")
        for level in levels.split(","):
            print(llmzip_row(data, int(level), engine, threads), flush=True)


if __name__ == "__main__":
    main()
