"""Payload sizes and speed of the codecs by themselves, after a verified round trip.

    python -m benchmarks.codecs FILE... [--bytes 20000] [--codecs zstd,xz,meta-token,llm]

Prints a Markdown table: bits per byte of the payload (what wraps it adds 5 to 8 bytes), and KB/s in
both directions.
"""

from __future__ import annotations

import itertools
import pathlib
import time

import click

from llmzip.codecs.registry import codec_names, get_codec


@click.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=pathlib.Path),
)
@click.option(
    "--bytes", "size", type=int, default=None, help="Only the first so many bytes of each file."
)
@click.option("--codecs", default=",".join(codec_names()), help="Names, separated by commas.")
def main(files: tuple[pathlib.Path, ...], size: int | None, codecs: str) -> None:
    """Measure codecs on FILES."""
    for file in files:
        data = file.read_bytes()[:size]
        print(
            f"\n{file.name}, {len(data):,} bytes\n\n"
            "| codec | bits/byte | encode KB/s | decode KB/s |\n| --- | --- | --- | --- |"
        )
        for name in codecs.split(","):
            coder = get_codec(name).payload_codec
            # What is loaded with the first use is loaded now.
            coder.decode(coder.encode(data[:100]), len(data[:100]))
            times = [time.perf_counter()]
            payload = coder.encode(data)
            times.append(time.perf_counter())
            if coder.decode(payload, len(data)) != data:
                raise SystemExit(f"{name}: the round trip failed")
            times.append(time.perf_counter())
            there, back = (len(data) / 1000 / (b - a) for a, b in itertools.pairwise(times))
            print(
                f"| {name} | {len(payload) * 8 / len(data):.3f} | {there:,.1f} | {back:,.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
