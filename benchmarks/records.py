"""Small records, each a file of its own, without and with a dictionary: `python -m
benchmarks.records [--records 1000]`.

Records are JSON objects of some 300 bytes; the dictionary is a few hundred others. Every message is
decoded and compared. zstd with a trained dictionary stands beside: it is what such records are
packed with otherwise.
"""

from __future__ import annotations

import json
import random
import statistics
import time

import click
import zstandard

import llmzip

_SERVICES = ("checkout", "inventory", "gateway", "billing", "search", "mailer", "sessions")
_PATHS = (
    "/v1/orders",
    "/v1/orders/{}/items",
    "/v2/users/{}",
    "/v2/users/{}/avatar",
    "/health",
    "/v1/search?q={}",
)
_MESSAGES = (
    "request completed", "upstream timed out, will retry", "cache refreshed from replica",
    "payment authorized", "rate limit reached for client", "background job finished",
    "connection closed by peer",
)  # fmt: skip


def record(generator: random.Random, row: int) -> bytes:
    """One record; identifiers and measurements are random, the rest is chosen."""
    seconds = row * 3 + int(generator.random() * 3)
    entry = {
        "time": f"2026-06-{1 + row // 9000:02}"
        f"T{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z",
        "level": generator.choices(("info", "warning", "error"), (8, 1, 1))[0],
        "service": generator.choice(_SERVICES),
        "instance": f"i-{generator.getrandbits(20):05x}",
        "request": {
            "id": f"{generator.getrandbits(32):08x}",
            "method": generator.choice(("GET", "POST", "PUT")),
            "path": generator.choice(_PATHS).format(generator.getrandbits(16)),
        },
        "status": generator.choices((200, 201, 404, 429, 500), (70, 10, 10, 5, 5))[0],
        "duration_ms": round(generator.expovariate(0.02), 1),
        "message": generator.choice(_MESSAGES),
        "region": generator.choice(("eu-west-1", "us-east-2")),
    }
    return json.dumps(entry).encode()


def trained(records: list[bytes]) -> zstandard.ZstdCompressor:
    dictionary = zstandard.train_dictionary(1 << 14, [*records])
    return zstandard.ZstdCompressor(
        level=19, dict_data=dictionary, write_dict_id=False, write_content_size=False
    )


@click.command()
@click.option("--records", "count", type=int, default=1000)
@click.option("--dictionary-records", "others", type=int, default=300)
@click.option("--threads", type=int, help="As for llmzip.")
def main(count: int, others: int, threads: int | None) -> None:
    generator = random.Random(2026)
    lines = [record(generator, row) for row in range(others + count)]
    reference, records = lines[:others], lines[others:]
    size = sum(map(len, records))
    runtime = llmzip.Runtime(threads=threads)
    dictionary = llmzip.Dictionary(b"\n".join(reference) + b"\n")
    click.echo(f"{count} records of {size / count:.0f} bytes, with a dictionary of {others} others")
    zstd = trained(reference)
    total = sum(len(zstd.compress(r)) for r in records)
    click.echo(f"zstd -19 with a trained dictionary: {8 * total / size:.3f} bits/byte")
    for name, known, mixing in (
        ("llmzip", None, True),
        ("llmzip, dictionary", dictionary, True),
        ("llmzip, dictionary, no mixing", dictionary, False),
    ):
        total, times = 0, []
        for r in records:
            begun = time.perf_counter()
            packed = llmzip.compress(r, dictionary=known, mixing=mixing, runtime=runtime)
            middle = time.perf_counter()
            assert llmzip.decompress(packed, dictionary=known, runtime=runtime) == r
            times.append((middle - begun, time.perf_counter() - middle))
            total += len(packed)
        there, back = (1000 * statistics.median(t) for t in zip(*times, strict=True))
        click.echo(
            f"{name}: {8 * total / size:.3f} bits/byte, {there:.0f} ms to pack, "
            f"{back:.0f} ms to unpack one"
        )


if __name__ == "__main__":
    main()
