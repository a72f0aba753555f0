"""Speed of the native engine against the ceiling of the machine, in one run.

    python -m benchmarks.engine MODEL.safetensors [--streams 1 8 32 64 128] [--context 1024]
        [--llama MODEL.gguf]

Prints first what the machine does at best: multiply-adds of its widest dot product on registers
alone, and bytes of memory read from one end to the other. Then medians: the products alone
(torch._int_mm and the native ones, in the model's own shapes), decoding (a step of one token per
stream, token weights and both frequency tables), encoding, the time of each part, and memory.

Ceiling means the longer of two times: that of a step's multiply-adds at the best rate (`multiply`),
and that of reading all weights and the cache once (`read`: a block of as many bytes, so that what
fits the processor's cache is read from there). Both are measured anew before each step, since other
programs and virtual machines take their part of a processor from one second to the next; a step
that is not counted lies between. The share of the ceiling is the median of the steps'. MODEL may be
the name of a shape, which then has random weights: smollm2-135m, qwen3-0.6b, gemma3-270m, half-
olmoe. With --llama, and llama-cpp-python installed (tried with 0.3.36 from PyPI), the rate of
llama.cpp behind the same context.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import math
import pathlib
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.ceiling import Ceiling, product_shapes, seconds_of
from benchmarks.random_model import SHAPES, random_model
from llmzip.engine.native_distributions import ROWS_AT_ONCE
from llmzip.engine.native_engine import NativeEngine
from llmzip.engine.native_session import NativeSession
from llmzip.model.integer_model import IntegerModel

WINDOW = 2048
# The first tensor of each stacked product, and its name here.
PRODUCTS = {"q": "qkv", "o": "o", "gate": "gate+up", "down": "down"}


def median_seconds(call: Callable[[], object], budget: float = 1.0) -> float:
    """Of the calls behind the first, which warms up: at least three, or one where the first took
    longer than the budget, as torch's products do on processors without VNNI.
    """
    least = 1 if seconds_of(call) > budget else 3
    times: list[float] = []
    while sum(times) < budget or len(times) < least:
        times.append(seconds_of(call))
    return statistics.median(times)


class Products:
    """All matrix products of a step and nothing else."""

    def __init__(self, engine: NativeEngine) -> None:
        shapes = product_shapes(engine.model.spec)
        self.engine = engine
        self.weights = [torch.randint(-127, 128, shape, dtype=torch.int8).t() for shape in shapes]
        self.widest = max(-(-k // 64) * 64 for _, k in shapes)
        self.columns = max(-(-n // 32) * 32 for n, _ in shapes) + 64

    def torch_seconds(self, rows: int) -> float:
        inputs = {
            w.shape[0]: torch.randint(-127, 128, (rows, w.shape[0]), dtype=torch.int8)
            for w in self.weights
        }
        return median_seconds(lambda: [torch._int_mm(inputs[w.shape[0]], w) for w in self.weights])

    def native_seconds(self, rows: int) -> float:
        if self.engine.model.spec.features.experts:
            return math.nan  # rows differ in the products that they need
        engine, layers = self.engine, self.engine.model.spec.layers
        x, out = (
            np.full((rows, self.widest), 200, np.uint8),
            np.empty((rows, self.columns), np.float32),
        )

        def step() -> None:
            for layer in range(layers):
                for name in PRODUCTS:
                    engine.product(name, layer, x, out)
            engine.product("head", 0, x, out)

        return median_seconds(step)


def filled_session(engine: NativeEngine, streams: int, context: int, chunk: int) -> NativeSession:
    session = engine.session(streams, WINDOW, chunk)
    tokens = (
        np.random.default_rng(0)
        .integers(0, engine.model.spec.vocab, (streams, context))
        .astype(np.int32)
    )
    for start in range(0, context, chunk):
        session.advance(tokens[:, start : start + chunk])
    return session


@dataclasses.dataclass
class Timed:
    """Steps, and what the machine could do at that time."""

    seconds: float
    """The median step."""
    multiply: float
    read: float
    share: float
    """Of the ceiling, the median."""
    parts: dict[str, float]
    """Mean seconds."""


def decoded(
    engine: NativeEngine, ceiling: Ceiling, streams: int, context: int, steps: int
) -> Timed:
    """Steps of one token per stream behind a context."""
    session = filled_session(engine, streams, context, 32)
    tokens = (
        np.random.default_rng(1)
        .integers(0, engine.model.spec.vocab, (streams, 2 * steps))
        .astype(np.int32)
    )

    def step(position: int) -> None:
        head = session.advance(tokens[:, position : position + 1])
        tables = engine.distributions(head.vectors[:, 0], head.scales[:, 0])
        tables.token_frequencies(tables.bucket_frequencies().argmax(axis=1))

    return _timed(engine, ceiling, step, range(2 * steps), streams, 1, context)


def encoded(
    engine: NativeEngine, ceiling: Ceiling, streams: int, chunk: int, context: int
) -> Timed:
    """Chunks over the whole context, from empty to full."""
    session = engine.session(streams, WINDOW, chunk)
    tokens = (
        np.random.default_rng(2)
        .integers(0, engine.model.spec.vocab, (streams, context))
        .astype(np.int32)
    )

    def step(position: int) -> None:
        part = tokens[:, position : position + chunk]
        head = session.advance(part)
        vectors, scales, known = (
            head.vectors.reshape(part.size, -1),
            head.scales.ravel(),
            part.ravel() // 256,
        )
        for row in range(0, part.size, ROWS_AT_ONCE):
            rows = slice(row, row + ROWS_AT_ONCE)
            tables = engine.distributions(vectors[rows], scales[rows])
            tables.bucket_frequencies()
            tables.token_frequencies(known[rows])

    return _timed(engine, ceiling, step, range(0, context, chunk), streams, chunk, 0)


def _timed(
    engine: NativeEngine,
    ceiling: Ceiling,
    step: Callable[[int], None],
    positions: range,
    streams: int,
    count: int,
    context: int,
) -> Timed:
    """Every second one of the steps, each `count` tokens a stream behind its position; context: the
    tokens before the first one.
    """
    seconds, limits = [], []
    engine.profile()
    for number, position in enumerate(positions):
        if number % 2 == 0:  # has the weights where a step leaves them, the limits do not
            limits.append(ceiling.seconds(streams, count, context + position + 1.5 * count))
        took = seconds_of(lambda position=position: step(position))  # type: ignore[misc]
        if number % 2:
            seconds.append(took)
    parts = {part: s / len(positions) for part, s in engine.profile().items()}
    both = list(zip(limits, seconds, strict=False))  # the last step may be one that is not counted
    return Timed(
        statistics.median(seconds),
        statistics.median(multiply for (multiply, _), _ in both),
        statistics.median(read for (_, read), _ in both),
        statistics.median(max(limit) / took for limit, took in both),
        parts,
    )


def llama_rate(path: str, threads: int, context: int, steps: int) -> str:
    """One stream, a token at a time, its logits included, behind a context: as `decode 1`, but for
    our frequency tables.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        return "not installed (pip install llama-cpp-python)"
    from llama_cpp import Llama, __version__

    llama = Llama(path, n_ctx=WINDOW, n_threads=threads, n_threads_batch=threads, verbose=False)
    tokens = np.random.default_rng(3).integers(1000, 2000, context + steps).tolist()
    llama.eval(tokens[:context])
    times = []
    for token in tokens[context:]:
        start = time.perf_counter()
        llama.eval([token])
        times.append(time.perf_counter() - start)
    return (
        f"{1 / statistics.median(times):.0f} tokens/s, one stream (llama-cpp-python {__version__})"
    )


def parts_text(parts: dict[str, float]) -> str:
    return "  ".join(f"{part} {seconds * 1e3:.1f}" for part, seconds in parts.items())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 64, 128])
    parser.add_argument(
        "--encode", type=int, nargs=2, default=[32, 16], metavar=("STREAMS", "CHUNK")
    )
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--cpu", help="kernels: amx, avx512vnni, avxvnni, avx2, i8mm, dotprod or portable"
    )
    parser.add_argument("--llama", help="a GGUF file for llama.cpp")
    arguments = parser.parse_args()

    path = arguments.model
    model = random_model(path.name) if str(path) in SHAPES else IntegerModel.load(path)
    engine = NativeEngine(model, arguments.threads, arguments.cpu)
    torch.set_num_threads(engine.threads)
    ceiling, products = Ceiling(engine), Products(engine)
    best = max(ceiling.multiply_adds_per_second() for _ in range(20))
    read = max(ceiling.bytes_per_second(ceiling.MOST_BYTES) for _ in range(9))
    print(
        f"{engine.kernels} kernels, {engine.threads} threads: at best "
        f"{best / 1e12:.2f} T multiply-adds/s, {read / 1e9:.1f} GB/s; milliseconds per step\n"
    )
    print(
        f"{'':>14} {'multiply':>9} {'read':>9} {'_int_mm':>9} {'native':>9} {'step':>9} "
        f"{'tokens/s':>9} {'of ceiling':>10}   parts"
    )

    def report(label: str, rows: int, timed: Timed) -> None:
        by_torch, native = products.torch_seconds(rows), products.native_seconds(rows)
        times = (timed.multiply, timed.read, by_torch, native, timed.seconds)
        numbers = " ".join(f"{1e3 * seconds:9.2f}" for seconds in times)
        print(
            f"{label:>14} {numbers} {rows / timed.seconds:9.0f} {timed.share:10.0%}   "
            f"{parts_text(timed.parts)}",
            flush=True,
        )

    context = arguments.context
    for streams in arguments.streams:
        timed = decoded(engine, ceiling, streams, context, arguments.steps)
        report(f"decode {streams}", streams, timed)
    streams, chunk = arguments.encode
    timed = encoded(engine, ceiling, streams, chunk, context)
    report(f"encode {streams}x{chunk}", streams * chunk, timed)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if arguments.llama:
        print(
            "llama.cpp:",
            llama_rate(arguments.llama, engine.threads, arguments.context, arguments.steps),
        )


if __name__ == "__main__":
    main()
