"""What a single stream's decoding costs, and what drafts give it.

    python -m benchmarks.single_stream TEXT ... [--model NAME] [--bytes 12000] [--threads 2]

Measures evaluations of one to eight positions of one stream behind a context, and the head with its
tables for as many rows, in turns, and reading as many bytes as the weights have; the quickest fifth
counts, as other programs delay the rest. Then it decodes the first bytes of each text without and
with drafts (`llmzip/predictor/speculation.py`), in turns and in both orders: the seconds, and the
median of the ratios.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.ceiling import product_shapes
from llmzip.engine.native_engine import NativeEngine
from llmzip.engine_loader import EngineLoader
from llmzip.levels import LEVELS
from llmzip.mixing.base import capacity_bits_for
from llmzip.predictor.lockstep import decode_tokens, encode_tokens
from llmzip.predictor.stream_layout import StreamLayout

POSITIONS = (1, 2, 3, 4, 5, 6, 8)
CONTEXT = 1024


def quick(seconds: list[float]) -> float:
    """The median of the quickest fifth."""
    return statistics.median(sorted(seconds)[: max(1, len(seconds) // 5)])


def timed(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def evaluations(engine: NativeEngine, count: int) -> tuple[list[float], list[float]]:
    """Seconds of steps with so many positions in the layers, and in the head with both tables."""
    rng = np.random.default_rng(0)
    session = engine.session(1, CONTEXT, 64)
    for _ in range(0, CONTEXT, 64):
        session.advance(rng.integers(0, 4096, (1, 64)).astype(np.int32))
    vectors = np.full((max(POSITIONS), engine.model.spec.d_model), 3, np.int8)
    scales = np.full(max(POSITIONS), 0.01, np.float32)

    def tables(rows: int) -> None:
        found = engine.distributions(vectors[:rows], scales[:rows])
        found.token_frequencies(found.bucket_frequencies().argmax(axis=1))

    layers: dict[int, list[float]] = {positions: [] for positions in POSITIONS}
    heads: dict[int, list[float]] = {positions: [] for positions in POSITIONS}
    for _ in range(count):
        for positions in POSITIONS:
            tokens = rng.integers(0, 4096, (1, positions)).astype(np.int32)
            layers[positions].append(timed(functools.partial(session.advance, tokens)))
            heads[positions].append(timed(functools.partial(tables, positions)))
    return [quick(layers[n]) for n in POSITIONS], [quick(heads[n]) for n in POSITIONS]


@dataclasses.dataclass(frozen=True)
class Decoding:
    """A text's decoding without drafts and with."""

    tokens: int
    seconds: tuple[float, float]
    """Medians."""
    ratio: float
    """The median of the ratios of two runs side by side."""
    processor_ratio: float
    """The same of the processor's time."""


def decodings(engine: NativeEngine, text: bytes, repeats: int) -> Decoding:
    """Decode a text as files of the default level have it."""
    tokens = engine.model.tokenizer.encode(text)
    count = len(tokens.ids)
    bits = capacity_bits_for(count)
    layout = StreamLayout.for_level(LEVELS[6], count, engine.model.spec)
    coded = encode_tokens(engine, tokens, layout, engine.mixer(bits))
    usual, without = engine.batches, dataclasses.replace(engine.batches, draft_rows=0)
    runs: list[dict[bool, tuple[float, float]]] = []
    for i in range(repeats):
        runs.append({})
        for drafts in (False, True) if i % 2 else (True, False):
            engine.batches = usual if drafts else without
            mixer, begun = engine.mixer(bits), (time.perf_counter(), time.process_time())
            found = decode_tokens(engine, coded, layout, mixer)
            ended = time.perf_counter(), time.process_time()
            runs[-1][drafts] = ended[0] - begun[0], ended[1] - begun[1]
            if not np.array_equal(found.ids, tokens.ids):
                raise AssertionError("the tokens are not those that were encoded")
    engine.batches = usual
    seconds = [statistics.median(run[drafts][0] for run in runs) for drafts in (False, True)]
    ratios = [statistics.median(run[False][k] / run[True][k] for run in runs) for k in (0, 1)]
    return Decoding(count, (seconds[0], seconds[1]), *ratios)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=pathlib.Path, nargs="+")
    parser.add_argument("--model")
    parser.add_argument("--bytes", type=int, default=12_000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = EngineLoader(arguments.model).chosen_model()
    engine = NativeEngine(model, arguments.threads)
    weights = np.ones(sum(n * k for n, k in product_shapes(model.spec)) >> 20 << 20, np.uint8)
    read = quick([timed(lambda: engine.read(weights)) for _ in range(arguments.count)])
    for name, found in zip(
        ("layers", "head and tables"), evaluations(engine, arguments.count), strict=True
    ):
        print(f"{name}, {POSITIONS} positions: " + " ".join(f"{s * 1e3:.2f}" for s in found))
    print(f"reading {weights.nbytes / 1e6:.0f} MB of weights: {read * 1e3:.2f} ms")
    for path in arguments.texts:
        of = decodings(engine, path.read_bytes()[: arguments.bytes], arguments.repeats)
        print(
            f"{path.name}, {of.tokens} tokens: {of.seconds[0]:.2f} s without drafts, "
            f"{of.seconds[1]:.2f} with: {of.ratio:.2f} times as fast "
            f"({of.processor_ratio:.2f} by the processor's time)"
        )


if __name__ == "__main__":
    main()
