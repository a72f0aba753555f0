"""A pool of Ray actors, each with an engine of its own: many processes, many machines, CPUs and
GPUs, mixed as they are there.

Workers may fail at any moment. What a lost worker had is given to another one; what was done is
never done again.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import llmzip
from llmzip.errors import LLMZipError, ModelError
from llmzip.extras import needing
from llmzip.integrations.slots import Slot, slots_of
from llmzip.runtime import DEFAULT_RUNTIME, Job, Runtime

_Done = TypeVar("_Done")

ATTEMPTS = 3
"""How often a piece is begun, and a slot's worker started without any success, before it is given
up.
"""
_LOOK_SECONDS, _NODES_SECONDS = 0.1, 2.0
"""How often new work is looked for, and how often new machines and lost workers."""
_REACH_SECONDS = 15
"""How long a cluster's address may take to answer."""
_WINDOW = 4
"""Blocks under way, as a multiple of what all workers take at once: so that others need not wait
for one that is three times slower (`python -m benchmarks.cluster`).
"""
_START_SECONDS = 600
"""How long no worker at all may be ready."""


class Worker:
    """What runs in an actor: jobs, on an engine that stays loaded."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def version(self) -> str:
        """That of llmzip where the actor runs."""
        return llmzip.__version__

    def run(self, job: Job[Any, Any], pieces: list[Any]) -> list[Any]:
        """What the job makes of the pieces; errors of models say on which machine."""
        return [
            type(done)(f"on the machine {socket.gethostname()}: {done}")
            if isinstance(done, ModelError)
            else done
            for done in job(pieces, self._runtime)
        ]


@dataclasses.dataclass(order=True)
class _Task:
    """A piece to be worked on."""

    number: int
    job: Job[Any, Any] = dataclasses.field(compare=False)
    piece: Any = dataclasses.field(compare=False)
    future: Future[Any] = dataclasses.field(compare=False, default_factory=Future)
    attempts: int = dataclasses.field(compare=False, default=0)


@dataclasses.dataclass
class _Hired:
    """A worker that runs, or starts."""

    slot: Slot
    actor: Any
    ready: bool = False
    tasks: list[_Task] = dataclasses.field(default_factory=list)


class RayPool:
    """A `Pool` of the actors of a Ray cluster: one for each GPU, or for each share of a machine's
    processors. Use it as a context, or call `close`.

    >>> with RayPool("auto") as pool:
    ...     packed = llmzip.compress(data, runtime=Runtime(pool=pool))
    """

    def __init__(self, address: str, runtime: Runtime = DEFAULT_RUNTIME) -> None:
        """Connect, and start the workers.

        address: "local", a cluster of this machine for as long as the pool lives; "auto", the
        running one that this machine belongs to; HOST:PORT; ray://HOST:PORT. Where the process is
        connected already, that cluster serves. runtime: of the workers; device "cuda": on machines
        with GPUs a worker for each, on others the CPU. threads: of a worker on CPUs.

        Raises LLMZipError where Ray is missing, there is no such cluster, or no machine that fits.
        """
        self._runtime = dataclasses.replace(runtime, pool=None, download_progress=None)
        with needing("ray", "a cluster"), _own_signals():
            import ray

        self._ray = ray
        self._address = address
        self._connected = not ray.is_initialized()
        if self._connected:
            _connect(ray, address)
        self._lock = threading.Condition()
        self._numbers = itertools.count()
        self._queue: list[_Task] = []
        self._hired: dict[Slot, _Hired] = {}
        self._running: dict[Any, _Hired] = {}  # by what their current call will give
        self._failures: dict[Slot, int] = {}
        self._jobs: dict[int, tuple[Job[Any, Any], Any]] = {}  # where a job was put
        self._last_error = ""
        self._looked = self._last_ready = time.monotonic()
        self._closing, self._reason = False, "the pool of workers is closed"
        self._thread = threading.Thread(target=self._serve, name="llmzip ray", daemon=True)
        try:
            self._hire()
        except BaseException:
            self._disconnect()
            raise
        self._thread.start()

    @property
    def pieces(self) -> int:
        """See `Pool.pieces`."""
        with self._lock:
            return _WINDOW * max(1, sum(slot.together for slot in self._hired))

    def submit(self, job: Job[Any, _Done], piece: Any) -> Future[_Done]:
        """See `Pool.submit`. Raises LLMZipError where the pool is closed or the cluster gone."""
        with self._lock:
            if self._closing:
                raise LLMZipError(self._reason)
            task = _Task(next(self._numbers), job, piece)
            heapq.heappush(self._queue, task)
            self._lock.notify()
        return task.future

    def close(self) -> None:
        """End the workers, and leave the cluster; one that was started for this pool ends."""
        with self._lock:
            self._closing = True
            self._lock.notify()
        self._thread.join()
        for task in self._queue:
            task.future.cancel()
        with suppress(Exception):  # the cluster may be gone
            for hired in self._hired.values():
                self._ray.kill(hired.actor)
        self._disconnect()

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _disconnect(self) -> None:
        if self._connected:
            self._connected = False
            self._ray.shutdown()

    # ---- the thread that gives out the work ------------------------------------------------------

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._step()
        except LLMZipError as error:
            self._give_up(str(error))
        except Exception as error:  # the cluster is gone, or a fault of ours: nobody may wait
            self._give_up(f"the cluster cannot be used any more: {_brief(error)}")

    def _step(self) -> None:
        if time.monotonic() - self._looked > _NODES_SECONDS:
            self._hire()
        with self._lock:
            if not self._running and not self._queue:
                self._lock.wait(_NODES_SECONDS)
            self._assign()
        if self._running:
            done, _ = self._ray.wait(
                list(self._running), num_returns=1, timeout=_LOOK_SECONDS, fetch_local=True
            )
            for reference in done:
                self._take(reference)
        elif self._queue:
            time.sleep(_LOOK_SECONDS)
        self._check()

    def _hire(self) -> None:
        """Start a worker in each slot of the cluster that has none. Raises LLMZipError where the
        cluster has none at all.
        """
        slots = slots_of(self._ray.nodes(), self._runtime)
        if not slots and not self._hired and not self._queue:
            wanted = "a GPU" if self._runtime.device == "cuda" else "a processor"
            raise LLMZipError(f"no machine of the cluster at {self._address} has {wanted} for Ray")
        remote = self._ray.remote(Worker)
        for slot in slots:
            if slot in self._hired or self._failures.get(slot, 0) >= ATTEMPTS:
                continue
            actor = remote.options(**slot.resources()).remote(slot.runtime(self._runtime))
            hired = _Hired(slot, actor)
            with self._lock:
                self._hired[slot] = hired
            self._running[actor.version.remote()] = hired
        self._looked = time.monotonic()

    def _assign(self) -> None:
        """Give the first pieces to the workers that have none, to each about as many."""
        self._queue = [task for task in self._queue if not task.future.cancelled()]
        heapq.heapify(self._queue)
        free = [hired for hired in self._hired.values() if hired.ready and not hired.tasks]
        for number, hired in enumerate(free):
            share = -(-len(self._queue) // (len(free) - number))
            hired.tasks = self._next_tasks(min(share, hired.slot.together))
            if not hired.tasks:
                return
            job, pieces = hired.tasks[0].job, [task.piece for task in hired.tasks]
            self._running[hired.actor.run.remote(self._placed(job), pieces)] = hired

    def _next_tasks(self, most: int) -> list[_Task]:
        """The first ones of one job. What a worker was lost with goes alone: it may be the
        reason.
        """
        tasks: list[_Task] = []
        while self._queue and len(tasks) < most:
            first = self._queue[0]
            if tasks and (first.job is not tasks[0].job or first.attempts or tasks[0].attempts):
                break
            heapq.heappop(self._queue)
            if first.attempts or first.future.set_running_or_notify_cancel():
                tasks.append(first)
        return tasks

    def _placed(self, job: Job[Any, Any]) -> Any:
        """The job in the cluster's memory, where it is put once, with its dictionary."""
        if id(job) not in self._jobs:
            while len(self._jobs) > 8:
                del self._jobs[next(iter(self._jobs))]
            self._jobs[id(job)] = job, self._ray.put(job)
        return self._jobs[id(job)][1]

    def _take(self, reference: Any) -> None:
        """Take what a worker has done, or learn that it is lost."""
        hired = self._running.pop(reference)
        try:
            found = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._lose(hired, error)
            return
        self._failures.pop(hired.slot, None)
        self._last_ready = time.monotonic()
        if not hired.ready:
            if found != llmzip.__version__:
                raise LLMZipError(
                    f"llmzip {found} is installed on {hired.slot.host}, here it is "
                    f"{llmzip.__version__}: install the same version on all machines"
                )
            hired.ready = True
            return
        tasks, hired.tasks = hired.tasks, []
        for task, done in zip(tasks, found, strict=True):
            if isinstance(done, LLMZipError):
                task.future.set_exception(done)
            else:
                task.future.set_result(done)

    def _lose(self, hired: _Hired, error: Exception) -> None:
        """A worker is lost, or has failed: others get its pieces."""
        self._last_error = f"{hired.slot.host}: {_brief(error)}"
        _log.warning("a worker is lost (%s); its blocks are given to others", self._last_error)
        self._failures[hired.slot] = self._failures.get(hired.slot, 0) + 1
        with suppress(Exception):
            self._ray.kill(hired.actor)
        with self._lock:
            self._hired.pop(hired.slot, None)
            for task in hired.tasks:
                task.attempts += 1
                if task.attempts < ATTEMPTS:
                    heapq.heappush(self._queue, task)
                else:
                    task.future.set_exception(
                        LLMZipError(
                            f"a block was begun {ATTEMPTS} times, and each time its worker was "
                            f"lost, the last time on {self._last_error}"
                        )
                    )
        self._looked = 0.0  # look for a replacement at once

    def _check(self) -> None:
        """Raise LLMZipError where nobody will do the work."""
        if any(hired.ready for hired in self._hired.values()):
            self._last_ready = time.monotonic()
        elif self._queue and not self._hired and self._failures:
            raise LLMZipError(f"no worker is left; the last one was lost on {self._last_error}")
        elif self._queue and time.monotonic() - self._last_ready > _START_SECONDS:
            raise LLMZipError(
                f"no worker has started within {_START_SECONDS} seconds: `ray status` says whether "
                "the cluster's processors are taken by other work"
            )

    def _give_up(self, reason: str) -> None:
        with self._lock:
            self._closing, self._reason = True, reason
            waiting = [*self._queue, *(task for h in self._hired.values() for task in h.tasks)]
            self._queue.clear()
        for task in waiting:
            with suppress(Exception):  # cancelled meanwhile
                task.future.set_exception(LLMZipError(reason))


_log = logging.getLogger("llmzip")


def _connect(ray: Any, address: str) -> None:
    """Connect this process to a cluster. Raises LLMZipError where there is none."""
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == "local":
        quiet["include_dashboard"] = False
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with _own_signals():
        try:
            _check_reachable(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
            ray.init(address, **quiet)
        except Exception as error:  # Ray raises many kinds
            raise LLMZipError(
                f"no Ray cluster at {address}: {_brief(error)}; `ray start --head` begins one, "
                "and the address `local` needs none"
            ) from error


def _check_reachable(address: str) -> None:
    """Raise OSError where nothing listens at HOST:PORT: Ray would wait for minutes."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        with socket.create_connection((host.strip("[]"), int(port)), _REACH_SECONDS):
            pass


def _brief(error: Exception) -> str:
    """The first line of an error that says something; Ray's have many."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        error = cause
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)


@contextmanager
def _own_signals() -> Iterator[None]:
    """What the process does at signals stays as it was: Ray installs handlers of its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
