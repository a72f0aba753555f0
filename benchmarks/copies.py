"""What the second copy of a folder costs: one tar of it, and one of it twice, size and time, after a verified round trip.

    python -m benchmarks.copies [--bytes 200000] [--level 6] [--solid] [--block-size BYTES]

The folder is the first modules of Python's library that make up so many bytes, smallest first. Prints a Markdown table.
"""

from __future__ import annotations

import io
import pathlib
import random
import tarfile
import time

import click

import llmzip


def modules(size: int) -> list[pathlib.Path]:
    """Files of Python's library, from the smallest on, until they have `size` bytes."""
    chosen: list[pathlib.Path] = []
    for path in sorted(pathlib.Path(random.__file__).parent.glob("*.py"), key=lambda p: (p.stat().st_size, p.name)):
        if sum(p.stat().st_size for p in chosen) >= size:
            break
        chosen.append(path)
    return chosen


def tar_of(paths: list[pathlib.Path], folders: list[str]) -> bytes:
    """An archive of the same files in each of these folders."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in folders:
            for path in paths:
                archive.add(path, f"{folder}/{path.name}")
    return sink.getvalue()


@click.command()
@click.option("--bytes", "size", type=int, default=200_000, help="Of the files, at least.")
@click.option("--level", type=int, default=6)
@click.option("--block-size", type=int, default=None)
@click.option("--solid", is_flag=True)
@click.option("--threads", type=int, default=None)
def main(size: int, level: int, block_size: int | None, solid: bool, threads: int | None) -> None:
    """Measure."""
    paths = modules(size)
    llmzip.decompress(llmzip.compress(b"The model is loaded by the first text.", 1, threads=threads), threads=threads)
    titles = ("", "files", "bytes", "compressed", "blocks", "compression s", "decompression s")
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for name, folders in (("once", ["one"]), ("twice", ["one", "two"])):
        data = tar_of(paths, folders)
        start = time.perf_counter()
        packed = llmzip.compress(data, level, block_size=block_size, solid=solid, threads=threads)
        middle = time.perf_counter()
        if llmzip.decompress(packed, threads=threads) != data:
            raise SystemExit("the round trip failed")
        end = time.perf_counter()
        blocks = ", ".join(llmzip.get_frame_info(packed).codecs)
        row = (name, len(paths) * len(folders), f"{len(data):,}", f"{len(packed):,}", blocks)
        print(f"| {' | '.join(map(str, row))} | {middle - start:.1f} | {end - middle:.1f} |", flush=True)


if __name__ == "__main__":
    main()
