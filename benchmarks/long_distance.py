"""What the second copy of a folder costs: an archive with it once, and with it twice, after a
verified round trip.

    python -m benchmarks.long_distance [FOLDER] [--level 6] [--block-size BYTES] [--solid]
    python -m benchmarks.long_distance [FOLDER or FILE] [--bytes 45000] --min-match 64
        --min-match 256

FOLDER is a package of Python's library (json), or a path; its .py files are archived. Prints a
Markdown table. Seconds are the processor's, of all threads together, which other programs disturb
less than a clock. The second form prints what the model makes of the archive or file if no shorter
matches are made, except those with zero bytes in them.
"""

from __future__ import annotations

import io
import pathlib
import random
import tarfile
import time

import click

import llmzip
from llmzip.codecs.registry import get_codec


def tar_of(folder: pathlib.Path, names: tuple[str, ...]) -> bytes:
    """An archive of the folder's files under each of these names."""
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in names:
            for path in sorted(folder.rglob("*.py")):
                archive.add(path, f"{name}/{path.relative_to(folder)}")
    return sink.getvalue()


@click.command()
@click.argument("folder", default="json")
@click.option("--level", type=int, default=6)
@click.option("--block-size", type=int, default=None)
@click.option("--solid", is_flag=True)
@click.option("--threads", type=int, default=None)
@click.option(
    "--bytes", "size", type=int, default=None, help="With --min-match: only the first so many."
)
@click.option("--min-match", type=int, multiple=True, help="Bytes of the shortest match.")
def main(
    folder: str,
    level: int,
    block_size: int | None,
    solid: bool,
    threads: int | None,
    size: int | None,
    min_match: tuple[int, ...],
) -> None:
    """Measure."""
    runtime = llmzip.Runtime(threads=threads)
    files = pathlib.Path(random.__file__).parent / folder
    if min_match:
        data = (files.read_bytes() if files.is_file() else tar_of(files, ("first",)))[:size]
        for length in min_match:
            coder = get_codec(
                "ldm", inner="llm", min_match=length, level=level, runtime=runtime
            ).payload_codec
            print(
                f"{files.name}, {len(data):,} bytes, matches from {length} on: "
                f"{len(coder.encode(data)):,}",
                flush=True,
            )
        return
    llmzip.decompress(
        llmzip.compress(b"The model is loaded by the first text.", 1, runtime=runtime),
        runtime=runtime,
    )
    titles = ("", "bytes", "compressed", "blocks", "compression s", "decompression s")
    print(f"| {' | '.join(titles)} |\n|{' --- |' * len(titles)}")
    for title, names in (("once", ("first",)), ("twice", ("first", "second"))):
        data = tar_of(files, names)
        start = time.process_time()
        packed = llmzip.compress(data, level, block_size=block_size, solid=solid, runtime=runtime)
        middle = time.process_time()
        if llmzip.decompress(packed, runtime=runtime) != data:
            raise SystemExit("the round trip failed")
        end = time.process_time()
        blocks = ", ".join(llmzip.list_frames(io.BytesIO(packed))[0].codecs)
        row = (
            title,
            f"{len(data):,}",
            f"{len(packed):,}",
            blocks,
            f"{middle - start:.1f}",
            f"{end - middle:.1f}",
        )
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
