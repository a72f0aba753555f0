"""A pool out of any `concurrent.futures.Executor`: processes of this machine, Dask's
`client.get_executor()`.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import Executor, Future
from typing import Any, TypeVar

from llmzip.errors import LLMZipError
from llmzip.runtime import DEFAULT_RUNTIME, Job, Runtime

_Done = TypeVar("_Done")


class ExecutorPool:
    """A `Pool` whose workers are those of an executor.

    >>> pool = ExecutorPool(ProcessPoolExecutor(8), pieces=16, runtime=Runtime(threads=1))
    >>> packed = compress(data, runtime=Runtime(pool=pool))
    """

    def __init__(self, executor: Executor, pieces: int, runtime: Runtime = DEFAULT_RUNTIME) -> None:
        """executor: stays the caller's; its workers import llmzip, and have the model in their
        store. pieces: how many blocks are under way, at most: twice as many as there are workers
        keep them busy. runtime: how a worker computes.

        Raises ValueError for less than one piece.
        """
        if pieces < 1:
            raise ValueError(f"{pieces} pieces: 1 or more are under way")
        self.pieces = pieces
        self._executor = executor
        self._runtime = dataclasses.replace(runtime, pool=None, download_progress=None)

    def submit(self, job: Job[Any, _Done], piece: Any) -> Future[_Done]:
        """See `Pool.submit`."""
        return self._executor.submit(do, job, piece, self._runtime)


def do(job: Job[Any, _Done], piece: Any, runtime: Runtime) -> _Done:
    """What a job makes of one piece. Raises the LLMZipError that it gives instead."""
    (done,) = job([piece], runtime)
    if isinstance(done, LLMZipError):
        raise done
    return done
