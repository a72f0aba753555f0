"""Real file sizes after a verified round trip: llmzip's levels beside what users would pick instead.

    python -m benchmarks.compare [CORPUS|FILE[:BYTES]...] [--levels 1,6,9] [--output FOLDER]

Without arguments: texts that every machine has. Writes results.csv, results.md and a picture per text to FOLDER, prints the
table, and merges sizes into benchmarks/sizes.csv, whose diff is to be reviewed.
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import click

from benchmarks.contenders import Contender, codecs, llmzip_levels, peer, programs
from benchmarks.results import Row, markdown, pareto, write_csv, write_sizes
from llmzip.evaluation.options import Text, load_texts
from llmzip.evaluation.plots import svg
from llmzip.frames import get_frame_info
from llmzip.levels import MAX_LEVEL, MIN_LEVEL

DEFAULT_DATA = ("python-topics:100000", "python-sources:100000", "logs:50000", "json:50000", "csv:50000")
SIZES = pathlib.Path(__file__).parent / "sizes.csv"


def in_a_process(job: dict[str, Any], direction: str, **files: pathlib.Path) -> dict[str, float]:
    """Run benchmarks/job.py. Raises CalledProcessError where the contender fails."""
    described = {**job, "direction": direction, **{name: str(path) for name, path in files.items()}}
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.job", json.dumps(described)], capture_output=True, check=True, text=True
    )
    result: dict[str, float] = json.loads(ran.stdout)
    return result


def measure(contender: Contender, text: Text) -> Row:
    """Compress, decompress, compare."""
    row = Row(text.name, text.sha256, len(text.data), contender.name, contender.command, contender.version)
    if contender.missing:
        row.note = contender.missing
        return row
    with tempfile.TemporaryDirectory() as folder:
        plain, packed, back = (pathlib.Path(folder, name) for name in ("plain", "packed.zpaq", "back"))  # zpaq insists
        plain.write_bytes(text.data)
        try:
            there = in_a_process(contender.job, "compress", source=plain, sink=packed, original=plain)
            again = in_a_process(contender.job, "decompress", source=packed, sink=back, original=plain)
        except subprocess.CalledProcessError as error:
            row.note = "failed: " + ((error.stderr or "").strip().splitlines() or ["without a word"])[-1]
            return row
        if back.read_bytes() != text.data:
            row.note = "the round trip changes the text"
            return row
        row.compressed_bytes = packed.stat().st_size
        row.bits_per_byte = 8 * row.compressed_bytes / len(text.data)
        row.encode_bytes_per_s, row.decode_bytes_per_s = (len(text.data) / r["seconds"] for r in (there, again))
        row.encode_peak_bytes, row.decode_peak_bytes = int(there["peak_bytes"]), int(again["peak_bytes"])
        if contender.job["kind"] == "llmzip":
            row.model_digest = get_frame_info(packed.read_bytes()).model or ""
    return row


@click.command()
@click.argument("data", nargs=-1)
@click.option("--levels", default=",".join(map(str, range(MIN_LEVEL, MAX_LEVEL + 1))), help="Levels of llmzip.")
@click.option("--model", help="Of llmzip.")
@click.option("--threads", type=int, help="Of llmzip.")
@click.option("--llama-model", help="GGUF file for llama-zip, where that is installed.")
@click.option("--peer", "peers", multiple=True, help="A further contender: NAME=COMPRESSION|DECOMPRESSION.")
@click.option("--output", type=click.Path(file_okay=False, path_type=pathlib.Path), help="For CSV, table and pictures.")
@click.option("--sizes/--no-sizes", default=False, help="Merge the sizes into benchmarks/sizes.csv.")
def main(
    data: tuple[str, ...],
    levels: str,
    model: str | None,
    threads: int | None,
    llama_model: str | None,
    peers: tuple[str, ...],
    output: pathlib.Path | None,
    sizes: bool,
) -> None:
    """Compare compressors on DATA."""
    try:
        extra = [peer(text) for text in peers]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    wanted = [int(level) for level in levels.split(",") if level]
    contenders = [*programs(llama_model), *codecs(), *extra, *llmzip_levels(wanted, model, threads)]
    rows = []
    for text in load_texts(data or DEFAULT_DATA):
        for contender in contenders:
            print(f"{text.name}: {contender.name}", file=sys.stderr, flush=True)
            rows.append(measure(contender, text))
    table = markdown(rows)
    print(table)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        write_csv(rows, output / "results.csv")
        (output / "results.md").write_text(table, "utf-8")
        for name in dict.fromkeys(row.data for row in rows):
            file = output / f"pareto-{name.replace('/', '-')}.svg"
            file.write_text(svg(pareto(rows, name)), "utf-8")
    if sizes:
        for line in write_sizes(rows, SIZES):
            print(f"changed: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
