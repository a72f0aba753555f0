"""A plan on paper: how long does a terabyte take on 1,000 GPUs or 10,000 processor cores, what do
failures and stragglers cost, and how much waits for its turn to be written?

A simulation, event by event, of what `llmzip.integrations.ray` does: blocks are given out in order,
so many at once to each worker; a worker's life is exponentially distributed, and what it had goes
back to the head of the queue; blocks are written in order, and none is begun that is more than a
window ahead of what is written. Speeds are those that were measured on one machine (docs/levels.md,
README, docs/notes/gpu.md); all else is calculated. Prices, lives and shares of slow workers are
assumptions, and options.

    python -m benchmarks.cluster
    python -m benchmarks.cluster --drivers 8
    python -m benchmarks.cluster --measure-driver FILE     # what one process can cut and write
    python -m benchmarks.cluster --life 50 --slow-share 0.05 --terabytes 0.1
"""

from __future__ import annotations

import dataclasses
import heapq
import io
import random
import time
from collections import deque
from concurrent.futures import Future
from typing import Any

import click

import llmzip
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.container.codec_ids import CodecId

MIB = 1 << 20


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is done, by whom."""

    name: str
    workers: int
    rate: float
    """Bytes a second of one worker."""
    together: int
    """Blocks that a worker gets at once."""
    price: float
    """Of an hour of one worker."""
    start: float
    """Seconds until a worker has imported llmzip and loaded the model."""


CORES = 4
"""Processor cores of a worker on CPUs."""
# Bytes a second: README, "Numbers" (eips2026a.md, two cores of an EPYC Zen 4) for the processors,
# docs/notes/gpu.md, "Files" (4 MiB of Python sources, one H100 with its host) for the GPUs.
PLANS = (
    Plan("10,000 cores, level 1, compress", 2500, CORES * 7300 / 2, 1, CORES * 0.03, 10),
    Plan("10,000 cores, level 1, decompress", 2500, CORES * 7000 / 2, 1, CORES * 0.03, 10),
    Plan("10,000 cores, level 6, compress", 2500, CORES * 4600 / 2, 1, CORES * 0.03, 10),
    Plan("10,000 cores, level 6, decompress", 2500, CORES * 1900 / 2, 1, CORES * 0.03, 10),
    Plan("1,000 GPUs, level 2, compress", 1000, 0.196e6, 16, 2.5, 60),
    Plan("1,000 GPUs, level 2, decompress", 1000, 0.300e6, 16, 2.5, 60),
)


@dataclasses.dataclass(frozen=True)
class World:
    """What the plans meet."""

    blocks: int
    block_bytes: int
    life: float
    """Mean seconds until a worker is lost."""
    slow_share: float
    slowness: float
    """Which part of the workers is slower, and how many times."""
    spread: float
    """The standard deviation of the logarithm of a worker's speed."""
    window: float
    """Blocks under way or waiting to be written, as a multiple of what all workers take at once."""
    driver: float
    """Bytes a second that the process which cuts and writes can do."""


@dataclasses.dataclass
class Outcome:
    """What became of a plan."""

    seconds: float
    lost_workers: int
    lost_share: float
    """Work that was lost, as a part of what was needed."""
    busy: float
    """Which part of their time workers computed."""
    most_waiting: int
    """Blocks that were done and waited for their turn, at most."""
    blocks_done: int


def simulate(plan: Plan, world: World, seed: int = 0) -> Outcome:
    """Run a plan to its end."""
    chance = random.Random(seed)
    speed = [
        plan.rate
        * chance.lognormvariate(0, world.spread)
        / (world.slowness if chance.random() < world.slow_share else 1)
        for _ in range(plan.workers)
    ]
    window = max(1, int(world.window * plan.workers * plan.together))
    events: list[tuple[float, int, int, bool, list[int]]] = []  # time, order, worker, lost, blocks
    order = 0
    for worker in range(plan.workers):
        heapq.heappush(events, (plan.start, order, worker, False, []))
        order += 1
    ends = [plan.start + chance.expovariate(1 / world.life) for _ in speed]
    again: list[int] = []  # lost blocks
    idle: deque[int] = deque()
    waiting: set[int] = set()
    next_block = written = done = lost_workers = most_waiting = 0
    busy = lost = now = driver_free = 0.0

    def give(worker: int) -> bool:
        """Begin the next blocks, as far as the window reaches."""
        nonlocal next_block, order, busy, lost, driver_free
        blocks: list[int] = []
        limit = min(world.blocks, written + window)
        while again and len(blocks) < plan.together:
            blocks.append(heapq.heappop(again))
        while next_block < limit and len(blocks) < plan.together:
            blocks.append(next_block)
            next_block += 1
        if not blocks:
            return False
        size = len(blocks) * world.block_bytes
        driver_free = max(now, driver_free) + size / world.driver
        begin = driver_free
        end = begin + size / speed[worker]
        is_lost = ends[worker] < end
        spent = max(0.0, min(end, ends[worker]) - begin)
        busy += spent
        lost += spent if is_lost else 0.0
        order += 1
        heapq.heappush(events, (max(now, min(end, ends[worker])), order, worker, is_lost, blocks))
        return True

    while written < world.blocks:
        now, _, worker, is_lost, blocks = heapq.heappop(events)
        if is_lost:
            lost_workers += 1
            for block in blocks:
                heapq.heappush(again, block)
            ready = now + plan.start
            ends[worker] = ready + chance.expovariate(1 / world.life)
            order += 1
            heapq.heappush(events, (ready, order, worker, False, []))
        else:
            waiting.update(blocks)
            done += len(blocks)
            while written in waiting:
                waiting.remove(written)
                written += 1
            most_waiting = max(most_waiting, len(waiting))
            idle.append(worker)
        for _ in range(len(idle)):
            if not give(idle[0]):
                break
            idle.popleft()
    needed = busy - lost
    return Outcome(
        now, lost_workers, lost / needed, needed / (now * plan.workers), most_waiting, done
    )


class Instant:
    """A pool that gives each block back as it is, at once."""

    pieces = 64

    def submit(self, job: object, piece: bytes) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(EncodedBlock(CodecId.RAW, len(piece), piece))
        return done


def driver_speed(data: bytes) -> float:
    """Bytes that one process cuts, checks and writes in a second of its processor."""
    begin = time.process_time()
    runtime = llmzip.Runtime(pool=Instant())
    llmzip.compress_stream(io.BytesIO(data), io.BytesIO(), runtime=runtime)
    return len(data) / (time.process_time() - begin)


@click.command()
@click.option("--terabytes", type=float, default=1.0, help="Of text.")
@click.option("--block-size", type=int, default=MIB, help="Bytes of a block.")
@click.option("--life", type=float, default=200.0, help="Mean hours until a worker is lost.")
@click.option("--slow-share", type=float, default=0.02, help="Which part of the workers is slow.")
@click.option("--slowness", type=float, default=3.0, help="How many times slower they are.")
@click.option("--spread", type=float, default=0.05, help="Of the logarithm of all speeds.")
@click.option("--window", type=float, default=4.0, help="Blocks under way, by all at once.")
@click.option("--driver", type=float, default=31e6, help="Bytes a second that one process cuts.")
@click.option("--drivers", type=int, default=1, help="How many files are coded at once.")
@click.option("--measure-driver", type=click.File("rb"), help="Measure that, with this text.")
def main(
    terabytes: float,
    block_size: int,
    life: float,
    slow_share: float,
    slowness: float,
    spread: float,
    window: float,
    driver: float,
    drivers: int,
    measure_driver: io.BufferedReader | None,
) -> None:
    """Print a table of what is calculated for each plan."""
    if measure_driver:
        data = measure_driver.read()
        speed = driver_speed(data * max(1, (64 << 20) // len(data)))
        click.echo(f"measured: {speed / 1e6:.0f} MB in a second of a processor")
        return
    blocks = max(1, round(terabytes * 1e12 / block_size))
    world = World(
        blocks, block_size, life * 3600, slow_share, slowness, spread, window, driver * drivers
    )
    click.echo("Calculated, not measured.\n")
    click.echo("| plan | hours | ideal | workers busy | lost | work lost | waiting | cost |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for plan in PLANS:
        found = simulate(plan, world)
        ideal = blocks * block_size / (plan.rate * plan.workers) / 3600
        hours = found.seconds / 3600
        click.echo(
            f"| {plan.name} | {hours:.2f} | {ideal:.2f} | {100 * found.busy:.0f} % "
            f"| {found.lost_workers} | {100 * found.lost_share:.2f} % "
            f"| {found.most_waiting * block_size / 1e9:.1f} GB "
            f"| ${hours * plan.price * plan.workers:,.0f} |"
        )


if __name__ == "__main__":
    main()
