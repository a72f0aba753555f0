"""How long kernels and whole steps take on a GPU, beside the rate at which it copies."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from benchmarks.ceiling import product_shapes
from benchmarks.sections import Report, Results
from llmzip.engine.triton import self_test
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.launch import POSITION_MULTIPLE, ceil_div
from llmzip.engine.triton.operations import Operations, Tuning
from llmzip.engine.triton.reference import TorchOperations
from llmzip.engine.triton.session import TritonSession
from llmzip.model.spec import ModelSpec

CONTEXT = 1024
COPIED_BYTES = 1 << 30
REPEATS = 20


def recorded_seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """Of a piece of the device's work, recorded so that starting it costs next to nothing."""
    work()
    graph = torch.cuda.CUDAGraph()
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            work()
    return replay_seconds(graph, 3) / repeats


def replay_seconds(graph: torch.cuda.CUDAGraph, times: int) -> float:
    """Median over some replays."""
    found: list[float] = []
    for _ in range(times + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in "se")  # type: ignore[no-untyped-call]
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        found.append(start.elapsed_time(end) / 1e3)
    return statistics.median(found[1:])


def copy_rate() -> float:
    """Bytes a second of a large copy, read and written."""
    source = torch.zeros(COPIED_BYTES, dtype=torch.int8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / recorded_seconds(lambda: target.copy_(source), 4)


def filled(engine: TritonEngine, rows: int, context: int = CONTEXT) -> TritonSession:
    """A session whose cache is full of random data, the window just sliding."""
    made = engine.session(rows, context, 1)
    assert isinstance(made, TritonSession)
    keys, values, key_scales, value_scales = made.cache.storage
    with torch.inference_mode():
        for heads in (keys, values):
            for layer in heads:
                layer.random_(-127, 128)
        for scales in (key_scales, value_scales):
            scales.uniform_(0.002, 0.02)
        made.cache.largest_value.fill_(0.02)
        made.cache.slot_positions.copy_(torch.arange(made.cache.slots))
    made.position = made.cache.slots
    return made


def operation_table(
    report: Report, engine: TritonEngine, rows: int, rate: float, context: int, figures: Results
) -> None:
    """Microseconds of each kernel alone."""
    made = filled(engine, rows, context)
    spec, transformer, run = engine.model.spec, engine.transformer, engine.transformer.operations
    d, f, width = spec.d_model, spec.d_ff, spec.heads * spec.head_dim
    used, held = used_slots(made), made.cache
    space = made._new_workspace(rows)
    position = torch.full((1,), made.position, device=engine.device)
    weights, cache = transformer.layer_weights[0], made.cache.kernel_layer(0, rows)
    ids = torch.zeros(rows, dtype=torch.int64, device=engine.device)
    q = torch.randint(-127, 128, (rows, d), dtype=torch.int8, device=engine.device)
    scale = torch.full((rows,), 0.01, device=engine.device)
    prediction = transformer.prediction(q, scale)
    parts = torch.empty(32, rows, width, dtype=torch.int32, device=engine.device)
    chosen = torch.zeros(rows, dtype=torch.int32, device=engine.device)
    tokens = torch.zeros(rows, 73, dtype=torch.int32, device=engine.device)
    replaced = torch.ones(rows, 73, dtype=torch.int64, device=engine.device)
    table = torch.empty(rows, 256, dtype=torch.int32, device=engine.device)
    run.embed(ids, *transformer.embedding, space.x)
    p, zeros, chosen_weights = prediction, torch.zeros_like(scale), torch.empty_like(tokens)
    half_cache = rows * used * spec.kv_heads * (spec.head_dim + 4)
    scores = rows * used * spec.heads * 4
    works: dict[str, tuple[Callable[[], None], int, int]] = {  # what, bytes, multiplications
        "assign_slot": (
            lambda: run.assign_slot(
                position, held.window, held.ring, held.padded_positions, held.visible
            ),
            0, 0,
        ),
        "embed": (lambda: run.embed(ids, *transformer.embedding, space.x), rows * d * 5, 0),
        "rms_norm": (lambda: run.rms_norm(space.x, space.q, space.scale), rows * d * 5, 0),
        "qkv": (
            lambda: run.qkv(
                q, scale, weights.qkv, transformer.rope.table, position, held.ring,
                space.queries, space.query_scales, cache,
            ),
            weights.qkv.weight.numel() + rows * (d + weights.qkv.weight.shape[0]),
            rows * weights.qkv.weight.numel(),
        ),
        "scores": (
            lambda: run.scores(
                space.queries, space.query_scales, cache, held.visible, used,
                space.scores, space.maxima,
            ),
            half_cache + scores, rows * used * width,
        ),
        "values": (
            lambda: run.values(space.scores, space.maxima, cache, used, parts),
            half_cache + scores, rows * used * width,
        ),
        "merge": (
            lambda: run.merge(
                parts[: run.splits(rows, used)], cache.largest, space.attended, space.row_scale
            ),
            run.splits(rows, used) * rows * width * 4, 0,
        ),
        "residual o": (
            lambda: run.residual(space.attended, zeros, weights.o, space.x),
            rows * d * 8, rows * weights.o.weight.numel(),
        ),
        "gate_up": (
            lambda: run.gate_up(q, scale, weights.gate_up, space.inner),
            weights.gate_up.weight.numel() + rows * f * 4, rows * weights.gate_up.weight.numel(),
        ),
        "rotate": (
            lambda: run.rotate(space.inner, scale, space.rotated, space.row_scale),
            rows * f * 5, 0,
        ),
        "residual down": (
            lambda: run.residual(space.rotated, space.row_scale, weights.down, space.x),
            rows * (f + d * 8), rows * weights.down.weight.numel(),
        ),
        "head": (
            lambda: run.head(q, transformer.head_weights, p.found, p.maxima),
            p.found.numel() * 4, rows * spec.vocab * d,
        ),
        "bucket_sums": (
            lambda: run.bucket_sums(p.found, p.scales, p.maxima, p.sums), p.found.numel() * 4, 0
        ),
        "top": (lambda: run.top(p.found, p.maxima, p.top), 0, 0),
        "bucket_table": (lambda: run.bucket_table(p.sums, p.table, p.totals), 0, 0),
        "token_table": (
            lambda: run.token_table(p.found, p.scales, p.maxima, chosen, tokens, replaced, table),
            0, 0,
        ),
        "weights_of": (
            lambda: run.weights_of(p.found, p.scales, p.maxima, tokens, chosen_weights), 0, 0
        ),
        "replace": (
            lambda: run.replace(p.found, p.scales, p.maxima, tokens, replaced, p.sums), 0, 0
        ),
    }  # fmt: skip
    layer = 0.0
    for name, (work, size, products) in works.items():
        try:
            seconds = recorded_seconds(work)
        except Exception as error:
            report.say(f"{name:14} failed: {error!r}")
            continue
        layer += seconds * {"rms_norm": 2}.get(name, 1) * (name in _IN_LAYERS)
        rates = (
            f"{size / seconds / 1e9:7.0f} GB/s ({size / seconds / rate:4.0%})   "
            f"{2 * products / seconds / 1e12:6.1f} Tops"
        )
        report.say(f"{name:14} {seconds * 1e6:8.1f} us   {rates}")
        figures[name] = {
            "us": seconds * 1e6,
            "GB/s": size / seconds / 1e9,
            "Tops": 2 * products / seconds / 1e12,
        }
    report.say(
        f"a layer, one kernel after the other: {layer * 1e6:.1f} us, "
        f"of {spec.layers}: {layer * spec.layers * 1e3:.2f} ms"
    )
    figures["layers_ms"] = layer * spec.layers * 1e3


_IN_LAYERS = {
    "rms_norm",
    "qkv",
    "scores",
    "values",
    "merge",
    "residual o",
    "gate_up",
    "rotate",
    "residual down",
}


def used_slots(made: TritonSession) -> int:
    """How many slots a step looks at when the window is full."""
    return ceil_div(made.cache.slots, POSITION_MULTIPLE) * POSITION_MULTIPLE


def step_bytes(spec: ModelSpec, rows: int, slots: int) -> int:
    """What a step reads at least: weights once, and the cache of all rows."""
    weights = sum(n * k for n, k in product_shapes(spec))
    return weights + rows * slots * spec.layers * spec.kv_heads * 2 * (spec.head_dim + 4)


def time_steps(
    report: Report,
    engine: TritonEngine,
    made: TritonSession,
    rate: float,
    label: str,
    figures: Results,
) -> None:
    """Of whole steps: the recorded graph alone, and with all that the host does."""
    spec, rows = engine.model.spec, made.streams
    tokens = np.random.default_rng(0).integers(0, spec.vocab, (rows, 1)).astype(np.int32)
    for _ in range(3):
        made.advance(tokens)
    assert made.replay._graph is not None, "no graph was recorded"
    device = replay_seconds(made.replay._graph, 10)
    walls = []
    for _ in range(12):
        start = time.perf_counter()
        head = made.advance(tokens)
        tables = engine.distributions(head.vectors[:, 0], head.scales[:, 0])
        chosen = tables.bucket_frequencies().argmax(axis=1)
        tables.token_frequencies(chosen)
        walls.append(time.perf_counter() - start)
    wall = statistics.median(walls[2:])
    floor = step_bytes(spec, rows, used_slots(made)) / rate
    report.say(
        f"{label}: device {device * 1e3:.3f} ms = {rows / device:,.0f} tokens/s; "
        f"with the host {wall * 1e3:.3f} ms = {rows / wall:,.0f} tokens/s; "
        f"reading alone {floor * 1e3:.3f} ms = {floor / device:.0%}"
    )
    figures[label] = {
        "device_ms": device * 1e3, "wall_ms": wall * 1e3, "floor_ms": floor * 1e3,
        "tokens_per_s": rows / device, "tokens_per_s_with_host": rows / wall,
    }  # fmt: skip


def time_rows(
    report: Report, engine: TritonEngine, rows: int, rate: float, context: int, figures: Results
) -> None:
    """Whole steps of so many rows."""
    time_steps(report, engine, filled(engine, rows, context), rate, f"{rows} rows", figures)


VALUES = (
    Tuning(),
    Tuning(values_positions=256, values_warps=4, values_stages=3),
    Tuning(values_positions=128, values_warps=4, values_stages=4, values_scan=1024),
    Tuning(values_positions=64),
)
QKV = (Tuning(), Tuning(qkv_rows=32), Tuning(qkv_rows=64))
"""What is tried beside the usual sizes: only a device can tell which is quicker."""


def tune(report: Report, engine: TritonEngine, rows: int, context: int, figures: Results) -> Tuning:
    """Other sizes of the programs of attention and of qkv; the quickest together."""
    made = filled(engine, rows, context)
    used, spec = used_slots(made), engine.model.spec
    space, cache = made._new_workspace(rows), made.cache.kernel_layer(0, rows)
    space.queries.random_(-127, 128)
    space.query_scales.fill_(0.001)
    made.cache.visible.fill_(1)
    parts = torch.empty(
        32, rows, spec.heads * spec.head_dim, dtype=torch.int32, device=engine.device
    )
    q = torch.randint(-127, 128, (rows, spec.d_model), dtype=torch.int8, device=engine.device)
    scale = torch.full((rows,), 0.01, device=engine.device)
    position = torch.full((1,), made.position, device=engine.device)
    weights, rope = engine.transformer.layer_weights[0].qkv, engine.transformer.rope.table

    def seconds(tuning: Tuning, name: str) -> float:
        run = Operations(spec, tuning)
        queries = space.queries, space.query_scales
        works: dict[str, Callable[[], None]] = {
            "scores": lambda: run.scores(
                *queries, cache, made.cache.visible, used, space.scores, space.maxima
            ),
            "values": lambda: run.values(space.scores, space.maxima, cache, used, parts),
            "qkv": lambda: run.qkv(
                q, scale, weights, rope, position, made.cache.ring, *queries, cache
            ),
        }
        changed = {k: v for k, v in vars(tuning).items() if v != getattr(Tuning(), k)}
        try:
            found = recorded_seconds(works[name])
        except Exception as error:
            report.say(f"{name} {changed} failed: {error!r}")
            return float("inf")
        report.say(f"{found * 1e6:8.1f} us  {name} {changed}")
        figures[f"{name} {changed}"] = found * 1e6
        return found

    def quickest(tried: Sequence[Tuning], name: str) -> Tuning:
        times = [seconds(tuning, name) if report.left > 8 else float("inf") for tuning in tried]
        return tried[times.index(min(times))]

    seconds(Tuning(), "scores")  # `values` reads its results
    best = quickest(VALUES, "values")
    best = dataclasses.replace(best, qkv_rows=quickest(QKV, "qkv").qkv_rows)
    report.say(f"quickest: {best}")
    figures["quickest"] = str(best)
    return best


def time_tunings(
    report: Report,
    engine: TritonEngine,
    best: Tuning,
    sizes: Sequence[int],
    context: int,
    rate: float,
    figures: Results,
) -> None:
    """Whole steps with the usual sizes and with the quickest; each is compared with torch first.
    The quickest stays.
    """
    reference = TorchOperations(engine.transformer)
    times: dict[Tuning, float] = {}

    def measure(tuning: Tuning) -> None:
        run = Operations(engine.model.spec, tuning)
        for name, case in self_test.all_cases(engine.transformer, 65):
            if name in ("qkv", "values"):
                problem = self_test.differences(run, reference, case)
                if problem:
                    report.wrong = True
                    report.say(f"DIFFERENT: {name} with {tuning}: {problem}")
                    return
        engine.transformer.operations = run
        total = 0.0
        for rows in sizes:
            label = f"{rows} rows, {tuning}"
            time_steps(report, engine, filled(engine, rows, context), rate, label, figures)
            total += figures[label]["device_ms"] / rows
        times[tuning] = total

    for tuning in dict.fromkeys((Tuning(), best)):
        try:
            measure(tuning)
        except Exception as error:  # the others may work
            report.say(f"{tuning} failed: {error!r}")
            figures[f"failed: {tuning}"] = repr(error)
    chosen = min(times, key=lambda tuning: times[tuning])
    engine.transformer.operations = Operations(engine.model.spec, chosen)
    report.say(f"chosen: {chosen}")
    figures["chosen"] = str(chosen)
