"""What blocks side by side give on machines with more cores than this one.

    python -m benchmarks.many_cores TEXT [--model NAME] [--streams 48] [--context 1024]

Measures first, here: a step of one block of a text behind a context, decoding and encoding, on one
thread; which part of it one thread of a group does alone (mixing, learning), and for which part of
it Python's lock is held; a meeting of two threads; two blocks side by side with a thread each
against one on both. Other programs delay steps: the quickest fifth counts. Then it calculates, by
a simulation of steps, what machines of 8, 64 and 128 cores do with groups of so many cores:

- what can be divided takes its time on one core, divided by the group's cores;
- threads that have 16 rows or more take streams of their own and do not meet; more threads than
  that meet MEETINGS times a layer, each time for half of what two take, times the group's cores,
  as each of them changes a line of memory that all look at;
- the memory gives what the machine's bandwidth is, shared by all groups; an evaluation reads all
  weights and the cache of its streams once;
- Python's lock is held by one lane at a time.

The numbers of a machine that is not here are calculated, not measured.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import heapq
import itertools
import pathlib
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.ceiling import product_shapes
from llmzip.engine.native_engine import NativeEngine
from llmzip.engine_loader import EngineLoader
from llmzip.mixing.base import capacity_bits_for
from llmzip.model.integer_model import IntegerModel
from llmzip.model.tokenizer import Tokens
from llmzip.predictor import lockstep
from llmzip.predictor.schedule import Start
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import TokenProgress

MACHINES = ((8, 50e9), (64, 200e9), (128, 400e9))
"""Cores, and bytes per second that their memory gives all of them together."""
JITTER = 0.05
"""By which part steps differ, at random."""
SIMULATED_STEPS = 200
MEETINGS = 9
"""Of threads in a layer (engine/native/step.c)."""
ROWS_PER_THREAD = 16
"""With which threads take streams of their own, but for tiles (kernels_all.h)."""


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds of a step of one block, and what else it takes."""

    streams: int
    divided: float
    """On one thread, of what a group of threads divides."""
    alone: float
    """Of what one thread of a group does, outside of Python's lock."""
    locked: float
    """Of what holds Python's lock."""
    meetings: float
    """Of all meetings of two threads, where threads meet."""
    most_apart: int
    """How many threads do not meet."""
    bytes: float
    """That are read."""

    def computing(self, cores: int) -> float:
        """Seconds of a step on so many cores, but for the lock and the memory."""
        meetings = self.meetings * cores / 2 if cores > self.most_apart else 0.0
        return self.divided / cores + self.alone + meetings


def tokens_per_second(costs: Costs, cores: int, bandwidth: float, group: int) -> float:
    """Of a machine whose cores are divided into groups of so many, with a block each: a simulation
    in which lanes compute at the same time and take turns with the lock.
    """
    lanes = max(1, cores // group)
    computing = max(costs.computing(group), costs.bytes * lanes / bandwidth)
    generator = random.Random(0)
    ready = [(computing * generator.random(), lane) for lane in range(lanes)]
    heapq.heapify(ready)
    free = now = 0.0
    for _ in range(SIMULATED_STEPS * lanes):
        now, lane = heapq.heappop(ready)
        free = max(free, now) + costs.locked
        step = computing * (1 + JITTER * (2 * generator.random() - 1))
        heapq.heappush(ready, (free + step, lane))
    return SIMULATED_STEPS * lanes * costs.streams / now


class _Clock:
    """The C core, and how long its functions take: without Python's lock, as ctypes calls them."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.seconds: dict[str, float] = collections.defaultdict(float)

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.library, name)

        def timed(*arguments: Any) -> Any:
            begun = time.perf_counter()
            result = function(*arguments)
            self.seconds[name] += time.perf_counter() - begun
            return result

        setattr(self, name, timed)
        return timed


@dataclasses.dataclass
class Step:
    """Seconds of a step in one direction."""

    whole: float
    alone: float
    """Of what one thread computes while the others of its group wait."""
    locked: float


class Work:
    """Blocks of a text, and engines with one thread and two that code them."""

    def __init__(self, model: IntegerModel, text: bytes, streams: int, context: int, steps: int):
        ids = model.tokenizer.encode(text).ids
        size, self.steps = streams * steps, steps
        if len(ids) < context + 2 * size:
            raise SystemExit(f"{len(ids)} tokens of text: {context + 2 * size} are needed")
        self._context = ids[:context]
        self._parts = [ids[begin : begin + size] for begin in (context, context + size)]
        self._escape = model.spec.escape_token
        self.layout = StreamLayout(size, streams, 8128, context, capacity_bits_for(1 << 18))
        self.engines = {
            "one thread": NativeEngine(model, 1),
            "two threads": NativeEngine(model, 2, jobs=1),
            "side by side": NativeEngine(model, 2, jobs=2),
        }
        self._starts = {name: self._start(engine) for name, engine in self.engines.items()}
        self._coded = self._encode("side by side", (0, 1), lambda done: None)

    def _start(self, engine: NativeEngine) -> Start:
        session = engine.session(1, len(self._context), 64)
        fed = np.concatenate([[engine.model.spec.start_token], self._context[:-1]])
        for first in range(0, len(fed), 64):
            session.advance(fed[None, first : first + 64].astype(np.int32))
        return Start(engine, self._context, session)

    def _encode(self, name: str, parts: Sequence[int], report: TokenProgress) -> list[bytes]:
        engine = self.engines[name]
        blocks = [
            lockstep.TokenBlock(
                Tokens(self._parts[i], bytes(int((self._parts[i] == self._escape).sum()))),
                self.layout,
                engine.mixer(self.layout.capacity_bits),
            )
            for i in parts
        ]
        return lockstep.encode_blocks(engine, blocks, self._starts[name], report)

    def _decode(self, name: str, parts: Sequence[int], report: TokenProgress) -> None:
        engine = self.engines[name]
        blocks = [
            lockstep.CodedBlock(
                self._coded[i], self.layout, engine.mixer(self.layout.capacity_bits)
            )
            for i in parts
        ]
        found = lockstep.decode_blocks(engine, blocks, self._starts[name], report)
        for i, tokens in zip(parts, found, strict=True):
            assert isinstance(tokens, Tokens)
            assert np.array_equal(tokens.ids, self._parts[i])

    def chunk(self, decoding: bool) -> int:
        """Steps that are evaluated at once."""
        engine = self.engines["one thread"]
        return 1 if decoding else engine.batches.encode // self.layout.streams

    def meeting_seconds(self) -> float:
        """Of two threads: a job of nearly nothing has two of them, its beginning and its end."""

        def quick(engine: NativeEngine) -> float:
            times = []
            for _ in range(2000):
                begun = time.perf_counter()
                engine.peak(1)
                times.append(time.perf_counter() - begun)
            return statistics.median(sorted(times)[: len(times) // 5])

        names = ("two threads", "one thread")
        both, one = (quick(self.engines[name]) for name in names)
        return max(0.0, both - one) / 2

    def steps_of(self, name: str, decoding: bool, parts: Sequence[int] = (0,)) -> list[Step]:
        """Of one block, of several the first one's, without what comes before the first step."""
        engine = self.engines[name]
        clock = _Clock(engine._handle.core)
        seen: list[tuple[float, float, float]] = []
        alone = 0.0

        def note(done: int) -> None:
            nonlocal alone
            profile = engine.profile()
            alone += profile["mix"] + profile["learn"]
            seconds = clock.seconds
            serial = alone + seconds["weights_of"] + seconds["replace"]
            seen.append((time.perf_counter(), serial, sum(seconds.values())))

        engine._handle.core = clock if len(parts) == 1 else clock.library
        try:
            (self._decode if decoding else self._encode)(name, parts, note)
        finally:
            engine._handle.core = clock.library
        # What encoders evaluate at once counts as a whole: from one such chunk's first step on.
        chunk = self.chunk(decoding)
        ends = seen[::chunk]
        parts_of_steps = [
            Step(*((b - a) / chunk for a, b in zip(*pair, strict=True)))
            for pair in itertools.pairwise(ends)
        ]
        return [Step(step.whole, step.alone, step.whole - step.locked) for step in parts_of_steps]


def _quick(steps: Sequence[Step]) -> Step:
    """What the quickest fifth of the steps takes: other programs delay the rest."""
    quickest = sorted(steps, key=lambda step: step.whole)[: max(1, len(steps) // 5)]
    columns = zip(*map(dataclasses.astuple, quickest), strict=True)
    return Step(*map(statistics.median, columns))


def _mean(steps: Sequence[Step]) -> float:
    return statistics.fmean(step.whole for step in steps)


def costs_of(work: Work, decoding: bool, repeats: int) -> Costs:
    """Measured, with what two blocks side by side give."""
    one: list[Step] = []
    two: list[Step] = []
    together: list[Step] = []
    for _ in range(repeats):  # in turns: a machine's speed changes
        one.extend(work.steps_of("one thread", decoding))
        two.extend(work.steps_of("two threads", decoding))
        together.extend(work.steps_of("side by side", decoding, (0, 1)))
    single, double, lane = map(_quick, (one, two, together))
    spec, layout = work.engines["one thread"].model.spec, work.layout
    weights = sum(n * k for n, k in product_shapes(spec))
    cache = layout.streams * (layout.context + work.steps / 2) * spec.layers * spec.kv_heads
    chunk = work.chunk(decoding)
    costs = Costs(
        streams=layout.streams,
        divided=single.whole - single.alone - single.locked,
        alone=single.alone,
        locked=single.locked,
        meetings=work.meeting_seconds() * MEETINGS * spec.layers / chunk,
        most_apart=max(1, layout.streams * chunk // ROWS_PER_THREAD),
        bytes=(weights + cache * (2 * spec.head_dim + 12)) / chunk,
    )
    print(
        f"{'decoding' if decoding else 'encoding'}: a step of {layout.streams} tokens behind "
        f"{layout.context} takes {single.whole * 1e3:.1f} ms on one thread, "
        f"{double.whole * 1e3:.1f} on two; on one of them alone {costs.alone * 1e3:.2f}, with "
        f"Python's lock {costs.locked * 1e3:.2f}, meetings of two {costs.meetings * 1e3:.2f}; "
        f"{costs.bytes / 1e6:.0f} MB are read\n"
        f"two blocks side by side, a thread each: {2 * double.whole / lane.whole:.2f} times the "
        f"speed of one after the other on two threads ({2 * _mean(two) / _mean(together):.2f} with "
        "the delays of other programs)"
    )
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--model")
    parser.add_argument("--streams", type=int, default=48)
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=51)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    model = EngineLoader(arguments.model).chosen_model()
    text = arguments.text.read_bytes()
    work = Work(model, text, arguments.streams, arguments.context, arguments.steps)
    for decoding in (True, False):
        costs = costs_of(work, decoding, arguments.repeats)
        print("tokens/s, calculated:")
        groups = [1, 2, 4, 8, 16, 32, 64, 128]
        print("cores   GB/s" + "".join(f"{f'{g} a block':>12}" for g in groups))
        for cores, bandwidth in MACHINES:
            rates = (tokens_per_second(costs, cores, bandwidth, g) for g in groups if g <= cores)
            print(f"{cores:5} {bandwidth / 1e9:6.0f}" + "".join(f"{rate:12.0f}" for rate in rates))


if __name__ == "__main__":
    main()
