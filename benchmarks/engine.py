"""Speed of the native engine against the ceiling of the machine, in one run.

    python -m benchmarks.engine MODEL.safetensors [--streams 1 8 32 64 128] [--context 1024]
        [--llama MODEL.gguf]

Prints first what the machine does at best: multiply-adds of its widest dot product on registers
alone, and bytes of memory read from one end to the other. Then medians: the products alone
(torch._int_mm and the native ones, in the model's own shapes), decoding (a step of one token per
stream, token weights and both frequency tables), encoding, the time of each part, and memory.

Ceiling means the longer of two times: that of a step's multiply-adds at the best rate (`multiply`),
and that of reading all weights and the cache once (`read`: a block of as many bytes, so that what
fits the processor's cache is read from there). MODEL may be the name of a shape, which then has
random weights: smollm2-135m, qwen3-0.6b, gemma3-270m, half-olmoe. With --llama, and
llama-cpp-python installed (tried with 0.3.36 from PyPI), the rate of llama.cpp behind the same
context.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import pathlib
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.random_model import SHAPES, random_model
from llmzip.engine.native_distributions import ROWS_AT_ONCE
from llmzip.engine.native_engine import NativeEngine
from llmzip.engine.native_session import NativeSession
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec

WINDOW = 2048
# The first tensor of each stacked product, and its name here.
PRODUCTS = {"q": "qkv", "o": "o", "gate": "gate+up", "down": "down"}


def median_seconds(call: Callable[[], object], budget: float = 1.0) -> float:
    """Of the calls behind the first, which warms up: at least three, or one where the first took
    longer than the budget, as torch's products do on processors without VNNI.
    """
    least = 1 if _seconds(call) > budget else 3
    times: list[float] = []
    while sum(times) < budget or len(times) < least:
        times.append(_seconds(call))
    return statistics.median(times)


class Ceiling:
    """What the machine does at best, and what of it a step needs."""

    MOST_BYTES = 1 << 30

    def __init__(self, engine: NativeEngine) -> None:
        self.engine = engine
        self.rounds = 1000
        while self._peak_seconds(self.rounds) < 0.02:
            self.rounds *= 4
        self.multiply_adds_per_second = 0.0
        self.measure()

    def measure(self) -> None:
        """The best so far: beside other programs a single measurement may miss it."""
        seconds = min(self._peak_seconds(self.rounds) for _ in range(20))
        rate = self.engine.peak(1) * self.rounds / seconds
        self.multiply_adds_per_second = max(rate, self.multiply_adds_per_second)

    def _peak_seconds(self, rounds: int) -> float:
        return _seconds(lambda: self.engine.peak(rounds))

    def bytes_per_second(self, size: float) -> float:
        """Of reading as many bytes, again and again."""
        block = np.ones(min(int(size), self.MOST_BYTES) >> 20 << 20, np.uint8)
        self.engine.read(block)
        return block.nbytes / min(_seconds(lambda: self.engine.read(block)) for _ in range(9))

    def seconds(self, streams: int, count: int, context: float) -> tuple[float, float]:
        """Of multiply-adds alone and of reading alone: a step of `count` tokens per stream behind
        `context` tokens.
        """
        spec = self.engine.model.spec
        weights = sum(n * k for n, k in product_shapes(spec))
        # Scores take one product with the keys, weighted sums one for each byte of the weights.
        attention = 3 * context * spec.layers * spec.heads * spec.head_dim
        cache = streams * context * spec.layers * spec.kv_heads * (2 * spec.head_dim + 12)
        experts = expert_weights(spec)
        part = spec.features.experts_used / max(spec.features.experts, 1)
        # Of the experts those that some row chooses, if each is chosen as often as the others.
        read = weights + cache + experts * (1 - (1 - part) ** (streams * count) - part)
        return (
            streams * count * (weights + attention) / self.multiply_adds_per_second,
            read / self.bytes_per_second(read),
        )


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def product_shapes(spec: ModelSpec) -> list[tuple[int, int]]:
    """Outputs and inputs of each product that a token passes."""
    d, q, kv, f = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.d_ff
    features, inputs = spec.features, 1 + spec.features.gated
    shapes = []
    for layer in range(spec.layers):
        shapes += [(q + 2 * kv, d), (d, q)]
        if features.has_experts(layer):
            own, shared = features.expert_ff, features.shared_ff
            shapes += [(features.experts + features.shared_weighted, d)]
            shapes += [(inputs * own, d), (d, own)] * features.experts_used
            shapes += [(inputs * shared, d), (d, shared)] if shared else []
        else:
            shapes += [(inputs * f, d), (d, f)]
    return [*shapes, (spec.vocab, d)]


def expert_weights(spec: ModelSpec) -> int:
    """Those of all experts that are chosen or not."""
    features = spec.features
    layers = sum(features.has_experts(layer) for layer in range(spec.layers))
    one = (2 + features.gated) * spec.d_model * features.expert_ff
    return layers * features.experts * one


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


def decode_seconds(
    engine: NativeEngine, streams: int, context: int, steps: int
) -> tuple[float, dict[str, float]]:
    """Median seconds of a step, and the mean seconds of its parts."""
    session = filled_session(engine, streams, context, 32)
    tokens = (
        np.random.default_rng(1)
        .integers(0, engine.model.spec.vocab, (streams, steps))
        .astype(np.int32)
    )
    times = []
    engine.profile()
    for t in range(steps):
        start = time.perf_counter()
        head = session.advance(tokens[:, t : t + 1])
        tables = engine.distributions(head.vectors[:, 0], head.scales[:, 0])
        tables.token_frequencies(tables.bucket_frequencies().argmax(axis=1))
        times.append(time.perf_counter() - start)
    return statistics.median(times), {part: s / steps for part, s in engine.profile().items()}


def encode_seconds(
    engine: NativeEngine, streams: int, chunk: int, context: int
) -> tuple[float, dict[str, float]]:
    """Mean seconds of a chunk over the whole context, from empty to full, and of its parts."""
    session = engine.session(streams, WINDOW, chunk)
    tokens = (
        np.random.default_rng(2)
        .integers(0, engine.model.spec.vocab, (streams, context))
        .astype(np.int32)
    )
    engine.profile()
    start = time.perf_counter()
    for position in range(0, context, chunk):
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
    steps = context // chunk
    return (time.perf_counter() - start) / steps, {
        part: s / steps for part, s in engine.profile().items()
    }


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
    print(
        f"{engine.kernels} kernels, {engine.threads} threads: at best "
        f"{ceiling.multiply_adds_per_second / 1e12:.2f} T multiply-adds/s, "
        f"{ceiling.bytes_per_second(ceiling.MOST_BYTES) / 1e9:.1f} GB/s; milliseconds per step\n"
    )
    print(
        f"{'':>14} {'multiply':>9} {'read':>9} {'_int_mm':>9} {'native':>9} {'step':>9} "
        f"{'tokens/s':>9} {'of ceiling':>10}   parts"
    )

    def report(
        label: str,
        streams: int,
        count: int,
        context: float,
        timed: tuple[float, dict[str, float]],
    ) -> None:
        rows = streams * count
        ceiling.measure()
        multiply, read = ceiling.seconds(streams, count, context)
        by_torch, native = products.torch_seconds(rows), products.native_seconds(rows)
        seconds, parts = timed
        milliseconds = (1e3 * s for s in (multiply, read, by_torch, native, seconds))
        numbers = " ".join(f"{x:9.2f}" for x in milliseconds)
        share = max(multiply, read) / seconds
        print(
            f"{label:>14} {numbers} {rows / seconds:9.0f} {share:10.0%}   {parts_text(parts)}",
            flush=True,
        )

    context = arguments.context
    for streams in arguments.streams:
        timed = decode_seconds(engine, streams, context, arguments.steps)
        report(f"decode {streams}", streams, 1, context + arguments.steps / 2, timed)
    streams, chunk = arguments.encode
    timed = encode_seconds(engine, streams, chunk, context)
    report(f"encode {streams}x{chunk}", streams, chunk, context / 2, timed)
    print(f"\npeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    if arguments.llama:
        print(
            "llama.cpp:",
            llama_rate(arguments.llama, engine.threads, arguments.context, arguments.steps),
        )


if __name__ == "__main__":
    main()
