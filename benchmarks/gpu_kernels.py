"""Triton's kernels on a GPU: are they right, how fast is each, and how fast is a decoder's whole step?

    python -m benchmarks.gpu_kernels [--model FILE | --random] [--rows 64 256 512 1024 2048] [--seconds 150] [--output FILE]

Each section stands alone: where one fails, the others go on. `--random` makes a model of the default model's shape with
random weights, so that nothing else is needed; of third-party packages only numpy, torch and Triton are.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import platform
import statistics
import sys
import time
import traceback
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

try:
    import llmzip
except ModuleNotFoundError:  # something that only files need: the engines do without the package's front door
    llmzip = types.ModuleType("llmzip")
    llmzip.__path__ = [str(pathlib.Path(__file__).parents[1] / "llmzip")]
    sys.modules["llmzip"] = llmzip

from llmzip.engine.base import Engine
from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.triton import self_test, session
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.operations import Operations, Tuning
from llmzip.engine.triton.reference import TorchOperations
from llmzip.engine.triton.session import TritonSession
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary

CONTEXT = 1024
COPIED_BYTES = 1 << 30
REPEATS = 20

Results = dict[str, Any]


def random_model(layers: int = 30, positions: int = 2048) -> IntegerModel:
    """The default model's shape, with weights that keep activations finite and attention neither flat nor sharp."""
    spec = ModelSpec(
        layers=layers, d_model=576, heads=9, kv_heads=3, head_dim=64, d_ff=1536, vocab=49152,
        max_positions=positions, norm_eps=1e-5, start_token=0, escape_token=0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    d, q, kv, f = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.d_ff
    parts = {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q), "gate": (f, d), "up": (f, d), "down": (d, f)}
    shapes = {f"layers.{i}.{part}": shape for i in range(layers) for part, shape in parts.items()}
    shapes |= {"embedding": (spec.vocab, d), "head": (spec.vocab, d)}
    angles = np.arange(positions)[:, None] * 1e5 ** (-np.arange(0, spec.head_dim, 2) / spec.head_dim)
    tensors: dict[str, npt.NDArray[Any]] = {
        "rope": np.stack([np.floor(16384 * t + 0.5) for t in (np.cos(angles), np.sin(angles))], 1).astype(np.int16)
    }
    sizes = {"q": 0.2, "gate": -1.44, "down": -1 / 1.44 / 512**0.5, "head": 3.0, "embedding": d**0.5}
    for name, (rows, columns) in shapes.items():
        size = sizes.get(name.rpartition(".")[2], 1.0) / (73.0 * columns**0.5)
        tensors[f"{name}.weight"] = rng.integers(-127, 128, (rows, columns), np.int8)
        tensors[f"{name}.scale"] = (size * rng.uniform(0.5, 1.5, rows)).astype(np.float32)
    return IntegerModel(spec, Vocabulary((b"",) * spec.vocab, 0, 0, ""), tensors, b"")


class Report:
    """Prints as it goes, and keeps all figures."""

    def __init__(self, seconds: float, output: pathlib.Path | None) -> None:
        self.results: Results = {}
        self.wrong = False
        """Whether anything differed or failed."""
        self._end = time.monotonic() + seconds
        self._output = output

    @property
    def left(self) -> float:
        return self._end - time.monotonic()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def section(self, name: str, work: Callable[[Results], object], least: float = 5.0) -> None:
        """What goes wrong in the work is said, and nothing else suffers. Less than `least` seconds left: nothing is done."""
        figures: Results = {}
        self.results[name] = figures
        start = time.monotonic()
        self.say(f"\n== {name} ({self.left:.0f} s left)")
        try:
            if self.left < least:
                raise TimeoutError("no time left")
            work(figures)
        except Exception as error:
            figures["error"] = repr(error)
            self.wrong |= not isinstance(error, TimeoutError)
            self.say(traceback.format_exc())
        figures["seconds"] = time.monotonic() - start
        if self._output:
            self._output.write_text(json.dumps(self.results, indent=1, default=str))


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
    found = []
    for _ in range(times + 1):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in "se")
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


def check_kernels(report: Report, engine: TritonEngine, figures: Results) -> None:
    """Each kernel against torch; one that differs is replaced, so that the rest of the figures mean something."""
    reference = TorchOperations(engine)
    for rows in self_test.ROWS:
        for name, run in self_test.all_cases(engine, rows):
            start = time.monotonic()
            try:
                problem = self_test.differences(engine.operations, reference, run)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                report.say(traceback.format_exc())
            report.say(
                f"{rows:4} rows  {name:13} {time.monotonic() - start:6.2f} s  {'DIFFERENT: ' * bool(problem)}{problem or 'equal'}"
            )
            if problem:
                figures.setdefault(name, []).append(f"{rows} rows: {problem}")
    for name in [name for name in figures if hasattr(reference, name)]:
        setattr(engine.operations, name, getattr(reference, name))
    report.say("all equal" if not figures else f"DIFFERENT: {', '.join(figures)}")
    report.wrong |= bool(figures)
    figures["equal"] = not figures


def told(engine: Engine, session: Any, tokens: npt.NDArray[np.int32]) -> dict[str, npt.NDArray[Any]]:
    """All that a step gives."""
    head = session.advance(tokens)
    tables = engine.distributions(np.ascontiguousarray(head.vectors[:, -1]), np.ascontiguousarray(head.scales[:, -1]))
    top = tables.top_tokens()
    found = {"vectors": head.vectors, "scales": head.scales, "top": top, "totals": tables.totals()}
    found["weights"] = tables.weights_of(0, top)
    found["buckets"] = tables.bucket_frequencies()
    found["tokens"] = tables.token_frequencies(tokens[:, -1] // 256)
    tables.replace(0, np.ascontiguousarray(top[:, :3]), found["weights"][:, :3].astype(np.int64) * 1000)
    found["mixed buckets"] = tables.bucket_frequencies()
    found["mixed tokens"] = tables.token_frequencies(top[:, 0] // 256)
    return found


def compare_steps(
    report: Report, engine: Engine, other: Engine, streams: int, window: int, chunks: list[int], figures: Results
) -> None:
    """Chunks, then single tokens, the last ones of fewer streams; every difference is counted."""
    rng = np.random.default_rng(streams)
    tokens = rng.integers(0, engine.model.spec.vocab, (streams, sum(chunks))).astype(np.int32)
    sessions = [e.session(streams, window, max(chunks)) for e in (engine, other)]
    at = 0
    wrong: dict[str, int] = {}
    for i, count in enumerate(chunks):
        active = max(1, streams - 1) if i >= len(chunks) - 2 else streams
        part = np.ascontiguousarray(tokens[:active, at : at + count])
        at += count
        found, expected = (told(e, s, part) for e, s in zip((engine, other), sessions, strict=True))
        for name, value in expected.items():
            unequal = int((found[name] != value).sum())
            if unequal:
                if name not in wrong:
                    report.say(f"  {name}: first differs in step {i}, {unequal} of {value.size}")
                wrong[name] = wrong.get(name, 0) + unequal
    label = f"{streams} streams, window {window}, {len(chunks)} steps against {type(other).__name__}"
    report.say(f"{label}: {'DIFFERENT ' + str(wrong) if wrong else 'equal'}")
    report.wrong |= bool(wrong)
    figures[label] = wrong or "equal"


def filled(engine: TritonEngine, rows: int) -> TritonSession:
    """A session whose cache is full of random data, the window just sliding."""
    made = engine.session(rows, CONTEXT, 1)
    assert isinstance(made, TritonSession)
    keys, values, key_scales, value_scales = made._storage
    with torch.inference_mode():
        for cache in (keys, values):
            for layer in cache:
                layer.random_(-127, 128)
        for scales in (key_scales, value_scales):
            scales.uniform_(0.002, 0.02)
        made.largest_value.fill_(0.02)
        slots = len(made.slot_positions)
        made.slot_positions.copy_(torch.arange(slots))
    made.position = slots
    return made


def operation_table(report: Report, engine: TritonEngine, rows: int, rate: float, figures: Results) -> None:
    """Microseconds of each kernel alone."""
    made = filled(engine, rows)
    spec, run = engine.model.spec, engine.operations
    d, f, width = spec.d_model, spec.d_ff, spec.heads * spec.head_dim
    used = made._storage[0].shape[3]
    space = made._new_workspace(rows)
    position = torch.full((1,), made.position, device="cuda")
    weights, cache = engine.layer_weights[0], made._layer_cache(0)
    ids = torch.zeros(rows, dtype=torch.int64, device="cuda")
    q = torch.randint(-127, 128, (rows, d), dtype=torch.int8, device="cuda")
    scale = torch.full((rows,), 0.01, device="cuda")
    prediction = engine.predict(q, scale)
    parts = torch.empty(run.parts(rows, used), rows, width, dtype=torch.int32, device="cuda")
    chosen = torch.zeros(rows, dtype=torch.int32, device="cuda")
    tokens = torch.zeros(rows, 73, dtype=torch.int32, device="cuda")
    replaced = torch.ones(rows, 73, dtype=torch.int64, device="cuda")
    table = torch.empty(rows, 256, dtype=torch.int32, device="cuda")
    run.embed(ids, *engine.embedding, space.x)
    p, zeros, chosen_weights = prediction, torch.zeros_like(scale), torch.empty_like(tokens)
    half_cache = rows * used * spec.kv_heads * (spec.head_dim + 4)
    scores = rows * used * spec.heads * 4
    works: dict[str, tuple[Callable[[], None], int, int]] = {  # what, bytes, multiplications
        "place": (lambda: run.place(position, made.window, made.ring, made._padded_positions, made._visible), 0, 0),
        "embed": (lambda: run.embed(ids, *engine.embedding, space.x), rows * d * 5, 0),
        "normalise": (lambda: run.normalise(space.x, space.q, space.scale), rows * d * 5, 0),
        "qkv": (
            lambda: run.qkv(q, scale, weights.qkv, engine.rope, position, made.ring, space.queries, space.query_scales, cache),
            weights.qkv.weight.numel() + rows * (d + weights.qkv.weight.shape[0]), rows * weights.qkv.weight.numel(),
        ),
        "scores": (
            lambda: run.scores(space.queries, space.query_scales, cache, made._visible, used, space.scores, space.maxima),
            half_cache + scores, rows * used * width,
        ),
        "values": (lambda: run.values(space.scores, space.maxima, cache, used, parts), half_cache + scores, rows * used * width),
        "merge": (lambda: run.merge(parts, cache.largest, space.attended, space.row_scale), parts.numel() * 4, 0),
        "residual o": (
            lambda: run.residual(space.attended, zeros, weights.o, space.x), rows * d * 8, rows * weights.o.weight.numel()
        ),
        "gate_up": (
            lambda: run.gate_up(q, scale, weights.gate_up, space.inner),
            weights.gate_up.weight.numel() + rows * f * 4, rows * weights.gate_up.weight.numel(),
        ),
        "rotate": (lambda: run.rotate(space.inner, scale, space.rotated, space.row_scale), rows * f * 5, 0),
        "residual down": (
            lambda: run.residual(space.rotated, space.row_scale, weights.down, space.x),
            rows * (f + d * 8), rows * weights.down.weight.numel(),
        ),
        "head": (
            lambda: run.head(q, engine.head_weights, p.found, p.maxima), p.found.numel() * 4, rows * spec.vocab * d
        ),
        "bucket_sums": (lambda: run.bucket_sums(p.found, p.scales, p.maxima, p.sums), p.found.numel() * 4, 0),
        "top": (lambda: run.top(p.found, p.maxima, p.top), 0, 0),
        "bucket_table": (lambda: run.bucket_table(p.sums, p.table, p.totals), 0, 0),
        "token_table": (lambda: run.token_table(p.found, p.scales, p.maxima, chosen, tokens, replaced, table), 0, 0),
        "weights_of": (lambda: run.weights_of(p.found, p.scales, p.maxima, tokens, chosen_weights), 0, 0),
        "replace": (lambda: run.replace(p.found, p.scales, p.maxima, tokens, replaced, p.sums), 0, 0),
    }  # fmt: skip
    layer = 0.0
    for name, (work, size, products) in works.items():
        try:
            seconds = recorded_seconds(work)
        except Exception as error:
            report.say(f"{name:14} failed: {error!r}")
            continue
        layer += seconds * {"normalise": 2}.get(name, 1) * (name in _IN_LAYERS)
        rates = f"{size / seconds / 1e9:7.0f} GB/s ({size / seconds / rate:4.0%})   {2 * products / seconds / 1e12:6.1f} Tops"
        report.say(f"{name:14} {seconds * 1e6:8.1f} us   {rates}")
        figures[name] = {"us": seconds * 1e6, "GB/s": size / seconds / 1e9, "Tops": 2 * products / seconds / 1e12}
    report.say(
        f"a layer, one kernel after the other: {layer * 1e6:.1f} us, of {spec.layers}: {layer * spec.layers * 1e3:.2f} ms"
    )
    figures["layers_ms"] = layer * spec.layers * 1e3


_IN_LAYERS = {"normalise", "qkv", "scores", "values", "merge", "residual o", "gate_up", "rotate", "residual down"}


def step_bytes(spec: ModelSpec, rows: int, slots: int) -> int:
    """What a step reads at least: weights once, and the cache of all rows."""
    return spec.weight_bytes - spec.vocab * spec.d_model + rows * slots * spec.cache_bytes_per_token


def time_steps(
    report: Report, engine: TritonEngine, made: TritonSession, rate: float, label: str, figures: Results
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
    floor = step_bytes(spec, rows, made._storage[0].shape[3]) / rate
    report.say(
        f"{label}: device {device * 1e3:.3f} ms = {rows / device:,.0f} tokens/s; with the host {wall * 1e3:.3f} ms = "
        f"{rows / wall:,.0f} tokens/s; reading alone {floor * 1e3:.3f} ms = {floor / device:.0%}"
    )
    figures[label] = {
        "device_ms": device * 1e3, "wall_ms": wall * 1e3, "floor_ms": floor * 1e3, "tokens_per_s": rows / device,
        "tokens_per_s_with_host": rows / wall,
    }  # fmt: skip


def time_rows(report: Report, engine: TritonEngine, rows: int, rate: float, figures: Results) -> None:
    """Whole steps of so many rows."""
    time_steps(report, engine, filled(engine, rows), rate, f"{rows} rows", figures)


def compare_branches(report: Report, engine: TritonEngine, rows: int, rate: float, figures: Results) -> None:
    """Into how many branches a step should be cut."""
    made = filled(engine, rows)
    before = session.BRANCHES, session.BRANCH_ROWS
    try:
        for count in (1, 2, 3, 4):
            session.BRANCHES, session.BRANCH_ROWS = count, 1
            made._workspaces.clear()
            made.replay = session.Replay(engine.device)
            made.position = len(made.slot_positions)
            time_steps(report, engine, made, rate, f"{rows} rows in {count} branches", figures)
    finally:
        session.BRANCHES, session.BRANCH_ROWS = before


def tune(report: Report, engine: TritonEngine, rows: int, figures: Results) -> None:
    """Other sizes of the programs of attention."""
    made = filled(engine, rows)
    used, spec = made._storage[0].shape[3], engine.model.spec
    space, cache = made._new_workspace(rows), made._layer_cache(0)
    space.queries.random_(-127, 128)
    space.query_scales.fill_(0.01)
    made._visible.fill_(1)
    parts = torch.empty(32, rows, spec.heads * spec.head_dim, dtype=torch.int32, device="cuda")
    scored, valued = [], []
    for positions in (128, 256, 512):
        scored += [Tuning(scores_positions=positions, scores_warps=warps) for warps in (2, 4, 8)]
    for positions, warps, stages in (
        (128, 4, 2),
        (128, 4, 3),
        (128, 4, 4),
        (128, 2, 3),
        (256, 4, 3),
        (256, 8, 3),
        (64, 4, 4),
    ):
        valued.append(Tuning(values_positions=positions, values_warps=warps, values_stages=stages))
    valued.append(Tuning(values_scan=1024))
    for tuning, is_scores in [(t, True) for t in scored] + [(t, False) for t in valued]:
        if report.left < 8:
            break
        run = Operations(spec, tuning)
        if is_scores:
            work = functools.partial(
                run.scores,
                space.queries,
                space.query_scales,
                cache,
                made._visible,
                used,
                space.scores,
                torch.empty(rows, spec.heads, run.score_tiles(used), device="cuda"),
            )
        else:
            work = functools.partial(run.values, space.scores, space.maxima, cache, used, parts)
        changed = {k: v for k, v in vars(tuning).items() if k.startswith("scores" if is_scores else "values")}
        try:
            seconds = recorded_seconds(work)
        except Exception as error:
            report.say(f"{changed} failed: {error!r}")
            continue
        report.say(f"{seconds * 1e6:8.1f} us  {changed}")
        figures[str(changed)] = seconds * 1e6


def versions(report: Report, figures: Results) -> None:
    import triton

    properties = torch.cuda.get_device_properties(0)
    figures |= {
        "device": properties.name, "memory_gib": properties.total_memory / 2**30, "torch": torch.__version__,
        "capability": f"{properties.major}.{properties.minor}", "processors": properties.multi_processor_count,
        "triton": triton.__version__, "cuda": torch.version.cuda, "python": platform.python_version(), "numpy": np.__version__,
    }  # fmt: skip
    report.say(", ".join(f"{k} {v}" for k, v in figures.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", type=pathlib.Path, help="an integer model; without it, random weights")
    which.add_argument("--random", action="store_true", help="random weights (the default)")
    parser.add_argument("--rows", type=int, nargs="+", default=[512, 1024, 256, 64, 2048])
    parser.add_argument("--seconds", type=float, default=150.0, help="after which no section begins")
    parser.add_argument("--output", type=pathlib.Path)
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error(f"torch {torch.__version__} finds no CUDA device")
    report = Report(options.seconds, options.output)
    report.section("versions", lambda figures: versions(report, figures))
    model = IntegerModel.load(options.model) if options.model else random_model()
    engine = TritonEngine(model, "cuda", operations=Operations(model.spec))
    rate = copy_rate()
    report.results["copy_GB/s"] = rate / 1e9
    report.say(f"{engine.kernel.name} products in the torch path; copies at {rate / 1e9:.0f} GB/s")

    def with_kernels(work: Callable[..., None], *given: object) -> Callable[[Results], None]:
        def run(figures: Results) -> None:
            torch.cuda.empty_cache()
            with engine.working():
                work(report, engine, *given, figures)

        return run

    def whole_steps(rows: int) -> None:
        report.section(f"whole steps, {rows} rows", with_kernels(time_rows, rows, rate))

    def steps_against_torch(figures: Results) -> None:
        plain = TorchEngine(model, "cuda")
        compare_steps(report, engine, plain, 5, 16, [9, *[1] * 30], figures)
        compare_steps(report, engine, plain, 300, 1000, [*[1] * 8], figures)
        compare_steps(report, engine, plain, 1, 40, [30, *[1] * 20], figures)

    def steps_against_the_cpu(figures: Results) -> None:
        from llmzip.engine.native_engine import NativeEngine

        compare_steps(report, engine, NativeEngine(model), 4, 16, [5, *[1] * 24], figures)

    report.section("kernels against torch", with_kernels(check_kernels))
    report.section("steps against torch", steps_against_torch)
    report.section("steps against the CPU", steps_against_the_cpu)
    whole_steps(options.rows[0])
    report.section("kernels at 512 rows", with_kernels(operation_table, 512, rate))
    report.section("branches", with_kernels(compare_branches, 512, rate))
    for rows in options.rows[1:]:
        whole_steps(rows)
    report.section("sizes of attention's programs at 512 rows", with_kernels(tune, 512), 15)
    report.section("kernels at 64 rows", with_kernels(operation_table, 64, rate), 10)
    report.say(
        f"\n{'SOMETHING DIFFERS OR FAILED' if report.wrong else 'all equal'}; {options.seconds - report.left:.0f} s"
    )
    return int(report.wrong)


if __name__ == "__main__":
    sys.exit(main())
