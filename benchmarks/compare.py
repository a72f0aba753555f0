"""Real file sizes after a verified round trip: llmzip's levels beside what users pick instead.

    python -m benchmarks.compare [CORPUS|FILE[:BYTES]...] [--levels 1,6,9] [--output FOLDER]

Without arguments: texts that every machine has. Prints the table; keeps results.csv, results.md and
pictures in FOLDER, where the same command later adds what is missing only. Merges sizes into
benchmarks/sizes.csv, whose diff is to be reviewed.
"""

from __future__ import annotations

import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import click

from benchmarks.compressors import (
    CODECS,
    Compressor,
    codecs,
    extra_compressor,
    llmzip_levels,
    programs,
)
from benchmarks.pictures import write_pictures
from benchmarks.results import Key, Row, markdown, read_csv, write_csv, write_sizes
from benchmarks.worker import Files, LevelTask, run_in_a_process
from llmzip.container.frame_info import get_frame_info
from llmzip.errors import LLMZipError
from llmzip.evaluation.options import Text, load_texts
from llmzip.levels import MAX_LEVEL, MIN_LEVEL

DEFAULT_DATA = (
    "corpus:python-topics:100000",
    "corpus:python-sources:100000",
    "corpus:logs:50000",
    "corpus:json:50000",
    "corpus:csv:50000",
)
ROOT = pathlib.Path(__file__).parent.parent
SIZES = ROOT / "benchmarks" / "sizes.csv"


def measure(compressor: Compressor, text: Text) -> Row:
    """Compress, decompress, compare."""
    row = Row(
        text.name,
        text.sha256,
        len(text.data),
        compressor.name,
        compressor.command,
        compressor.version,
    )
    if compressor.missing:
        row.note = compressor.missing
        return row
    with tempfile.TemporaryDirectory() as folder:
        # zpaq insists on the ending .zpaq.
        plain, packed, back = (
            pathlib.Path(folder, name) for name in ("plain", "packed.zpaq", "back")
        )
        plain.write_bytes(text.data)
        try:
            there = run_in_a_process(compressor.task, "compress", Files(plain, packed, plain))
            again = run_in_a_process(compressor.task, "decompress", Files(packed, back, plain))
        except subprocess.CalledProcessError as error:
            row.note = (
                "failed: " + ((error.stderr or "").strip().splitlines() or ["no message"])[-1]
            )
            return row
        if back.read_bytes() != text.data:
            row.note = "the round trip changes the text"
            return row
        row.compressed_bytes = packed.stat().st_size
        row.bits_per_byte = 8 * row.compressed_bytes / len(text.data)
        row.encode_bytes_per_s, row.decode_bytes_per_s = (
            len(text.data) / r.seconds for r in (there, again)
        )
        row.encode_peak_bytes, row.decode_peak_bytes = there.peak_bytes, again.peak_bytes
        is_file = isinstance(compressor.task, LevelTask)
        row.model_digest = (
            get_frame_info(packed.read_bytes()).model if is_file else there.model_digest[:16]
        ) or ""
    return row


def measure_missing(
    compressors: Sequence[Compressor],
    texts: Sequence[Text],
    known: Sequence[Row],
    save: Callable[[list[Row]], None],
) -> list[Row]:
    """A row per compressor and text, in this order: those that are known with a size as they are,
    the others measured.

    Known rows of other compressors and texts follow, but not of another text by one of these names.
    `save` is given all rows after each measurement.
    """
    digests = {text.name: text.sha256 for text in texts}
    rows = {
        row.key: row for row in known if digests.get(row.data, row.data_sha256) == row.data_sha256
    }
    wanted = [(text, compressor) for text in texts for compressor in compressors]
    first = [_key(text, compressor) for text, compressor in wanted]
    order = list(dict.fromkeys([*first, *rows]))
    for (text, compressor), key in zip(wanted, first, strict=True):
        if key in rows and rows[key].compressed_bytes is not None:
            continue
        print(f"{text.name}: {compressor.name}", file=sys.stderr, flush=True)
        rows[key] = measure(compressor, text)
        save([rows[key] for key in order if key in rows])
    return [rows[key] for key in order]


def _key(text: Text, compressor: Compressor) -> Key:
    return text.name, text.sha256, compressor.name, compressor.command


@click.command()
@click.argument("data", nargs=-1)
@click.option(
    "--levels",
    default=",".join(map(str, range(MIN_LEVEL, MAX_LEVEL + 1))),
    help="Levels of llmzip.",
)
@click.option(
    "--solid",
    is_flag=True,
    help="Each level with --solid, too: differs where a text has several blocks.",
)
@click.option(
    "--codecs",
    "names",
    default="+".join(CODECS),
    help="Codecs by themselves, NAME[:key=value,...]+NAME...",
)
@click.option("--model", help="Of llmzip and its codecs.")
@click.option("--threads", type=int, help="Of llmzip.")
@click.option("--llama-model", help="GGUF file for llama-zip, where that is installed.")
@click.option(
    "--extra", "extras", multiple=True, help="A further compressor: NAME=COMPRESSION|DECOMPRESSION."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="For CSV, table and pictures.",
)
@click.option("--force", is_flag=True, help="Measure what the output folder has already, too.")
@click.option(
    "--pictures",
    type=click.Path(file_okay=False, path_type=pathlib.Path),
    help="Folder; default: the output.",
)
@click.option(
    "--sizes/--no-sizes", default=False, help="Merge the sizes into benchmarks/sizes.csv."
)
def main(
    data: tuple[str, ...],
    levels: str,
    solid: bool,
    names: str,
    model: str | None,
    threads: int | None,
    llama_model: str | None,
    extras: tuple[str, ...],
    output: pathlib.Path | None,
    force: bool,
    pictures: pathlib.Path | None,
    sizes: bool,
) -> None:
    """Compare compressors on DATA."""
    try:
        added = [extra_compressor(text) for text in extras]
        wanted = [int(level) for level in levels.split(",") if level]
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not all(MIN_LEVEL <= level <= MAX_LEVEL for level in wanted):
        raise click.UsageError(f"levels are {MIN_LEVEL} to {MAX_LEVEL}")
    try:
        texts = load_texts(data or DEFAULT_DATA)
    except LLMZipError as error:
        raise click.ClickException(str(error)) from error
    ours = llmzip_levels(wanted, model, threads) + (
        llmzip_levels(wanted, model, threads, True) if solid else []
    )
    compressors = [
        *programs(llama_model),
        *codecs([n for n in names.split("+") if n], model),
        *added,
        *ours,
    ]
    table = None
    if output:
        output.mkdir(parents=True, exist_ok=True)
        table = output / "results.csv"
    known = read_csv(table) if table and table.is_file() and not force else []
    rows = measure_missing(
        compressors, texts, known, lambda rows: write_csv(rows, table) if table else None
    )
    print(markdown(rows))
    if output:
        (output / "results.md").write_text(markdown(rows), "utf-8")
    if folder := pictures or output:
        for path in write_pictures(rows, folder):
            print(f"written: {path}", file=sys.stderr)
    if sizes:
        for line in write_sizes(rows, SIZES):
            print(f"changed: {line}", file=sys.stderr)


if __name__ == "__main__":
    main()
