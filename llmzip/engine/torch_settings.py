"""Settings of torch for the engine's work, without effect on the host program's, and without effect
of those.

Some settings belong to a thread (autocast, inference mode, gradients, the current CUDA device and
stream) and are replaced for the time of the work. Those of the whole process are replaced by the
first thread that comes, and given back by the last. The
default dtype and device must not be touched, as other threads would see it: the engine names both
wherever it makes a tensor.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import torch

from llmzip.arithmetic.gemm import precise_products
from llmzip.errors import LLMZipError
from llmzip.exclusive import new_lock

_lock = new_lock()
_working = 0  # threads
_give_back: Callable[[], None] | None = None
_forked = False
_own = threading.local()  # .stream: of this thread, instead of the device's default one


def _note_fork() -> None:
    global _forked, _working
    _forked = True
    if _working and _give_back:  # by threads that do not exist here
        _working = 0
        _give_back()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


@contextlib.contextmanager
def own_settings(device: torch.device, threads: int | None = None) -> Iterator[None]:
    """Exact float products, no autocast, no gradients, no demand for other algorithms, on the
    device's default stream or that of `on_stream`.

    threads: how many compute on a CPU, None: as many as the host program says. Raises LLMZipError
    for a CUDA device in a forked process.
    """
    if _forked and device.type == "cuda":
        raise LLMZipError(
            "CUDA cannot be used in a process that was forked after its first use: "
            "start one with 'spawn'"
        )
    with (
        torch.inference_mode(),
        torch.autocast(device.type, enabled=False),
        _process_settings(),
        _on_device(device),
        # The other threads do not survive a fork, and would be waited for.
        _on_threads(1 if _forked else threads),
    ):
        yield


@contextlib.contextmanager
def _process_settings() -> Iterator[None]:
    global _working, _give_back
    with _lock:
        if not _working:
            _give_back = _replace()
        _working += 1
    try:
        yield
    finally:
        with _lock:
            _working = max(_working - 1, 0)  # a forked process has begun to count anew
            if not _working and _give_back:
                _give_back()


def _replace() -> Callable[[], None]:
    """Replace the process's settings; returns the function that restores them."""
    restore_products = precise_products()
    # What use_deterministic_algorithms sets, which itself imports a compiler.
    demand = torch.get_deterministic_debug_mode()
    if demand:  # integers are the same in any order, but torch refuses some products
        torch.set_deterministic_debug_mode(0)

    def give_back() -> None:
        restore_products()
        if demand:
            torch.set_deterministic_debug_mode(demand)

    return give_back


@contextlib.contextmanager
def _on_device(device: torch.device) -> Iterator[None]:
    if device.type != "cuda":
        yield
        return
    stream = getattr(_own, "stream", None) or torch.cuda.default_stream(device)
    with torch.cuda.device(device), torch.cuda.stream(stream):
        yield


@contextlib.contextmanager
def on_stream(device: torch.device, stream: torch.cuda.Stream) -> Iterator[None]:
    """This thread's work goes on that stream, after what has been begun on the default one, which
    in turn goes on after it.
    """
    default = torch.cuda.default_stream(device)
    stream.wait_stream(default)
    before = getattr(_own, "stream", None)
    _own.stream = stream
    try:
        yield
    finally:
        _own.stream = before
        default.wait_stream(stream)


@contextlib.contextmanager
def _on_threads(threads: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if threads in (None, before):
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
