"""Many small records with a shared dictionary, beside zstd: `python -m benchmarks.records [--count
10000]`.

Records are made-up JSON events of some 300 bytes. Both compressors choose a dictionary from the
same 5,000 earlier ones: llmzip as `llmzip dictionary train` does, zstd by its own trainer in the
size among several that is best for it. Records are packed each by itself; all are unpacked and
compared. Both are counted with what a record costs besides: llmzip's whole archive without its
dictionary; zstd's frames without checksum, dictionary id and content size, and without lengths,
which something around them would have to know. Then with the dictionaries, each packed once for
all records: zstd's by zstd -19, llmzip's as it lies in an archive.
"""

from __future__ import annotations

import io
import time

import click
import zstandard

import llmzip
from benchmarks.record_samples import records
from llmzip.records import RecordDictionary, RecordReader, RecordWriter
from llmzip.records.header import dictionary_frame
from llmzip.records.training import DICTIONARY_BYTES, train

_ZSTD_SIZES = tuple(1 << bits for bits in range(13, 19))
_SAMPLES = 5000


def _zstd(samples: list[bytes], size: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(
        level=19,
        dict_data=zstandard.train_dictionary(size, [*samples]),
        write_dict_id=False,
        write_content_size=False,
    )


def by_zstd(samples: list[bytes], wanted: list[bytes]) -> list[tuple[int, int, int]]:
    """By size of the dictionary: the records' bytes, that size, and the dictionary packed."""
    found = []
    for size in _ZSTD_SIZES:
        zstd = _zstd(samples, size)
        alone = zstandard.ZstdCompressor(level=19)
        packed = len(alone.compress(zstandard.train_dictionary(size, [*samples]).as_bytes()))
        found.append((sum(len(zstd.compress(record)) for record in wanted), size, packed))
    return found


@click.command()
@click.option("--count", type=int, default=10_000)
@click.option("--every", type=int, default=1, help="Only every so many-th of them: quicker.")
@click.option("--size", type=int, default=DICTIONARY_BYTES, help="Of the dictionary, in bytes.")
@click.option("--context", type=int, default=512, help="Tokens that each record is read behind.")
@click.option("--threads", type=int, help="As for llmzip.")
@click.option("--model", help="As for llmzip.")
def main(
    count: int, every: int, size: int, context: int, threads: int | None, model: str | None
) -> None:
    samples, wanted = records(1, 0, _SAMPLES), records(1, _SAMPLES, count)[::every]
    count = len(wanted)
    total = sum(map(len, wanted))
    runtime = llmzip.Runtime(threads=threads)
    click.echo(f"{count} records of {total / count:.1f} bytes, {_SAMPLES} samples")

    by_size = by_zstd(samples, wanted)
    for zstd_bytes, zstd_size, packed in by_size:
        click.echo(
            f"zstd -19, dictionary of {zstd_size} bytes ({packed} packed): "
            f"{zstd_bytes / count:.2f} bytes each, {8 * zstd_bytes / total:.3f} bits/byte"
        )
    best, counted = min(by_size)[0], min(every * n + packed for n, _, packed in by_size)

    begun = time.perf_counter()
    trained = train(samples, size, context=context, model=model, runtime=runtime)
    click.echo(
        f"llmzip dictionary: {len(trained.dictionary.samples)} samples ({trained.chosen}), "
        f"{time.perf_counter() - begun:.0f} s to train; "
        f"{trained.held_out} held-out records take {trained.without_bytes / trained.held_out:.2f} "
        f"bytes each without, {trained.even_bytes / trained.held_out:.2f} with even samples, "
        f"{trained.with_bytes / trained.held_out:.2f} with it"
    )
    size, packed = measure(wanted, trained.dictionary, model, runtime)
    click.echo(
        f"{100 * (1 - size / best):.1f} % less than zstd; with the dictionaries "
        f"{100 * (1 - (every * size + packed) / counted):.1f} %"
    )


def measure(
    wanted: list[bytes],
    dictionary: RecordDictionary,
    model: str | None,
    runtime: llmzip.Runtime,
) -> tuple[int, int]:
    """Pack, unpack and compare; the bytes of the archive and of the dictionary."""
    count, total = len(wanted), sum(map(len, wanted))
    archive = io.BytesIO()
    tokens = 0

    def note(_: int, done: int) -> None:
        nonlocal tokens
        tokens = done

    writer = RecordWriter(
        archive, dictionary=dictionary, embed=False, model=model, runtime=runtime, progress=note
    )
    writer.write_many(wanted[:1])
    writer.flush()  # the dictionary is read
    begun, before = time.perf_counter(), tokens
    writer.write_many(wanted[1:])
    writer.close()
    there = (tokens - before) / (time.perf_counter() - begun)
    reader = RecordReader(archive, dictionary=dictionary, model=model, runtime=runtime)
    assert reader[0] == wanted[0]
    begun = time.perf_counter()
    assert list(reader) == wanted
    back = tokens / (time.perf_counter() - begun)
    begun = time.perf_counter()
    assert reader[count // 2] == wanted[count // 2]
    one = time.perf_counter() - begun
    size, packed = len(archive.getvalue()), len(dictionary_frame(dictionary.samples))
    click.echo(
        f"llmzip records: {size / count:.2f} bytes each, {8 * size / total:.3f} bits/byte; "
        f"dictionary {packed} bytes packed"
    )
    click.echo(
        f"{tokens / count:.0f} tokens a record; {there:,.0f} tokens/s there, {back:,.0f} back; "
        f"a single record {1000 * one:.0f} ms"
    )
    return size, packed


if __name__ == "__main__":
    main()
