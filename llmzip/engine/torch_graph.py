"""CUDA graphs: work of fixed shapes is recorded once and replayed; other devices just do it.

A decoder's step of a model of 30 layers is some 5,000 small operations, which a GPU finishes sooner
than Python can start them; a graph starts them all at once. What is recorded must never wait for
the host, and work on the same memory each time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from llmzip.exclusive import new_lock

Work = Callable[..., tuple[Tensor, ...]]
"""Tensors of fixed shapes in and out.

Done twice with the same inputs, it leaves and returns what it did once.
"""

_log = logging.getLogger("llmzip")
_recording = new_lock()  # torch records on one stream for all
_without_graphs: set[torch.device] = set()  # where recording has failed


class Replay:
    """Repeats work, by a graph once the same shapes have come twice in a row."""

    def __init__(self, device: torch.device) -> None:
        """device: where the work's tensors are."""
        self._device = device
        self._graph: torch.cuda.CUDAGraph | None = None
        self._key: Hashable = None  # of the graph
        self._last: Hashable = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outputs: tuple[Tensor, ...] = ()
        self._lock = new_lock()

    @property
    def recorded(self) -> bool:
        """Whether there is a graph."""
        return self._graph is not None

    def __call__(
        self, key: Hashable, work: Work, *inputs: Tensor, copies: bool = True
    ) -> tuple[Tensor, ...]:
        """The work's results.

        key: all that changes the work and is not in its inputs. copies: whether the results stay
        when the work is repeated.
        """
        key = key, *(x.shape for x in inputs)
        with self._lock:
            if (
                key == self._last != self._key
                and self._device.type == "cuda"
                and self._device not in _without_graphs
            ):
                self._record(key, work, inputs)
            self._last = key
            if self._graph is None or key != self._key:
                return work(*inputs)
            for kept, given in zip(self._inputs, inputs, strict=True):
                kept.copy_(given)
            self._graph.replay()
            return tuple(x.clone() for x in self._outputs) if copies else self._outputs

    def _record(self, key: Hashable, work: Work, inputs: tuple[Tensor, ...]) -> None:
        """Record the work as torch's notes on CUDA graphs say: after one run on a side stream,
        which sets libraries up.
        """
        with _recording:
            self._record_alone(key, work, inputs)

    def _record_alone(self, key: Hashable, work: Work, inputs: tuple[Tensor, ...]) -> None:
        self._graph, self._outputs = None, ()  # frees the memory of the graph before
        self._inputs = tuple(x.clone() for x in inputs)
        try:
            with torch.cuda.device(self._device):
                side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                side.wait_stream(torch.cuda.current_stream())
                with torch.cuda.stream(side):
                    work(*self._inputs)
                torch.cuda.current_stream().wait_stream(side)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                    outputs = work(*self._inputs)
        except RuntimeError as error:  # the work itself is sound: without a graph it is only slower
            _without_graphs.add(self._device)
            _log.warning(
                "steps are not recorded as CUDA graphs and are slower (%s); the files are the same",
                error,
            )
        else:
            self._graph, self._key, self._outputs = graph, key, outputs
