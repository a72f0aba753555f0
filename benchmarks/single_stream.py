"""What a single stream's decoding costs, and what drafts would give it.

    python -m benchmarks.single_stream TEXT ... [--model NAME] [--bytes 12000] [--threads 2]

Measures evaluations of one to five positions of one stream behind a context, the head with its
tables, and reading as many bytes as the weights have; the quickest fifth counts, as other programs
delay the rest. Then it calculates, for the first bytes of each text, what drafts would give: the
tokens that followed the last occurrence of the latest ones are evaluated with the step, and those
that come true need no step of their own. All else that a token needs stays as it is.
"""

from __future__ import annotations

import argparse
import functools
import pathlib
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.engine import product_shapes
from llmzip.engine.native_engine import NativeEngine
from llmzip.engine_loader import EngineLoader

MOST_DRAFTS = 4
CONTEXT = 1024


def quick_seconds(call: Callable[[], object], count: int) -> float:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(sorted(times)[: max(1, count // 5)])


def evaluations(engine: NativeEngine, count: int) -> list[float]:
    """Seconds of one position, of two, ...: what a step with so many drafts takes."""
    found = []
    rng = np.random.default_rng(0)
    for positions in range(1, MOST_DRAFTS + 2):
        session = engine.session(1, CONTEXT + count * positions, 64)
        for _ in range(0, CONTEXT, 64):
            session.advance(rng.integers(0, 4096, (1, 64)).astype(np.int32))
        tokens = rng.integers(0, 4096, (1, positions)).astype(np.int32)
        found.append(quick_seconds(functools.partial(session.advance, tokens), count))
    return found


def heads(engine: NativeEngine, count: int) -> list[float]:
    """Seconds of the head and both tables for one position, two, ..."""

    def tables(rows: int) -> None:
        vectors = np.full((rows, engine.model.spec.d_model), 3, np.int8)
        found = engine.distributions(vectors, np.full(rows, 0.01, np.float32))
        found.token_frequencies(found.bucket_frequencies().argmax(axis=1))

    positions = range(1, MOST_DRAFTS + 2)
    return [quick_seconds(functools.partial(tables, rows), count) for rows in positions]


def drafted(ids: Sequence[int], least: int) -> list[int]:
    """How many drafts each step would evaluate where the latest `least` tokens have occurred: the
    steps, in order.
    """
    last: dict[tuple[int, ...], int] = {}
    steps, t = [], 0
    while t < len(ids):
        # Token t is known once the step before has been decoded; its evaluation may carry drafts.
        known = tuple(ids[max(0, t + 1 - least) : t + 1])
        at = last.get(known, -1)
        drafts = ids[at : min(at + MOST_DRAFTS, t + 1)] if at >= 0 else []
        right = 0
        while right < len(drafts) and t + 1 + right < len(ids):
            if drafts[right] != ids[t + 1 + right]:
                break
            right += 1
        steps.append(len(drafts))
        for i in range(t, min(t + right + 1, len(ids))):
            if i + 1 >= least:
                last[tuple(ids[i + 1 - least : i + 1])] = i + 1
        t += right + 1
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=pathlib.Path, nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--bytes", type=int, default=12_000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--count", type=int, default=60)
    arguments = parser.parse_args()
    model = EngineLoader(arguments.model).chosen_model()
    engine = NativeEngine(model, arguments.threads)
    weights = np.ones(sum(n * k for n, k in product_shapes(model.spec)) >> 20 << 20, np.uint8)
    read = quick_seconds(lambda: engine.read(weights), arguments.count)
    steps, tables = evaluations(engine, arguments.count), heads(engine, arguments.count)
    for name, seconds in (("layers", steps), ("head and tables", tables)):
        print(
            f"{name}, 1 to {len(seconds)} positions: " + " ".join(f"{s * 1e3:.2f}" for s in seconds)
        )
    print(f"reading {weights.nbytes / 1e6:.0f} MB of weights: {read * 1e3:.2f} ms")
    whole = steps[0] + tables[0]
    for path in arguments.texts:
        ids = model.tokenizer.encode(path.read_bytes()[: arguments.bytes]).ids.tolist()
        gains = []
        for least in (1, 2, 3, 4, 6):
            cost = sum(steps[n] + tables[n] for n in drafted(ids, least))
            gains.append(f"{least}: {len(ids) * whole / cost:.2f}")
        print(f"{path.name}, {len(ids)} tokens, by the least match: " + ", ".join(gains))


if __name__ == "__main__":
    main()
