"""Lanes: parts of a batch on threads of their own. A device computes one's step while the host
mixes and codes another's; of a processor with many cores, each lane has some.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import TypeVar

from llmzip.engine.base import Engine
from llmzip.predictor.stream_layout import StreamLayout
from llmzip.types import TokenProgress

_Result = TypeVar("_Result")

_REPORT_SECONDS = 0.2
"""How often progress is reported once the first lane is done."""

_LEAST_BUSY = 0.8
"""Which part of the time of lanes side by side they must be busy: two of one thread each did 1.2
times as much as one of two (docs/notes/speed.md, "Many cores").
"""
_WEIGHT_ROWS = 5
"""The rows whose computation takes as long as what a step takes with any number of rows: between 3
and 7 on the machines of docs/notes/speed.md.
"""


class StoppedError(Exception):
    """Another lane has failed."""


def parts_for(engine: Engine, layouts: Sequence[StreamLayout]) -> list[list[int]]:
    """The numbers of the blocks of each lane: about as many rows in each, one lane where there are
    few.
    """
    rows = sum(layout.streams for layout in layouts)
    most = engine.batches
    count = max(1, min(most.lanes, len(layouts), rows // most.lane_rows))
    lanes: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    for number in sorted(range(len(layouts)), key=lambda i: -layouts[i].streams):
        least = filled.index(min(filled))
        lanes[least].append(number)
        filled[least] += layouts[number].streams
    return [sorted(lane) for lane in lanes if lane]


def are_balanced(engine: Engine, layouts: Sequence[StreamLayout]) -> bool:
    """Whether blocks side by side end soon enough after each other: where lanes divide the
    processors, those of a lane that has ended are idle, which costs more than lanes gain.
    """
    if not engine.batches.divided:
        return True
    times = [
        max(layouts[number].positions for number in part)
        * (_WEIGHT_ROWS + sum(layouts[number].streams for number in part))
        for part in parts_for(engine, layouts)
    ]
    return sum(times) >= _LEAST_BUSY * max(times) * len(times)


def run(
    engine: Engine,
    works: Sequence[Callable[[TokenProgress], _Result]],
    progress: TokenProgress | None,
) -> list[_Result]:
    """The results of all works, the first done by this thread.

    A work calls what it is given with its tokens done, at each step; it ends there with an
    exception where another lane has failed. Progress is reported by this thread alone.
    """
    done = [0] * len(works)
    stop = threading.Event()

    def reporter(lane: int) -> TokenProgress:
        def report(tokens: int) -> None:
            if stop.is_set():
                raise StoppedError
            done[lane] = tokens
            if progress and lane == 0:
                progress(sum(done))

        return report

    def guarded(lane: int) -> _Result:
        try:
            with engine.lane(lane, len(works)):
                return works[lane](reporter(lane))
        except BaseException:
            stop.set()
            raise

    if len(works) == 1:
        return [guarded(0)]
    with futures.ThreadPoolExecutor(len(works) - 1, "llmzip lane") as pool:
        others: list[futures.Future[_Result]] = []
        try:
            try:
                others += (pool.submit(guarded, lane) for lane in range(1, len(works)))
            except RuntimeError:  # at the interpreter's end no thread begins any more
                if others:
                    raise
                return [guarded(lane) for lane in range(len(works))]
            first = guarded(0)
            while futures.wait(others, _REPORT_SECONDS, futures.FIRST_EXCEPTION).not_done:
                if stop.is_set():
                    raise StoppedError
                if progress:
                    progress(sum(done))
            results = [first, *(other.result() for other in others)]
        except StoppedError:  # the error is another lane's
            raise _failure(others) from None
        except BaseException:
            stop.set()
            raise
    if progress:
        progress(sum(done))
    return results


def _failure(lanes: Sequence[futures.Future[_Result]]) -> BaseException:
    """What has made lanes stop."""
    errors = [lane.exception() for lane in lanes]
    return next(error for error in errors if error and not isinstance(error, StoppedError))
