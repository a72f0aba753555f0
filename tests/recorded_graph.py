"""What torch.cuda.CUDAGraph does, on any machine: operations are recorded with the memory they use,
and done again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class RecordedGraph(TorchDispatchMode):
    """Replaying sees nothing of Python: a number that Python has put in stays as it was."""

    made: int = 0
    """How many there have been."""

    def __init__(self) -> None:
        super().__init__()
        self._operations: list[tuple[Any, Any, Any, Any]] = []
        type(self).made += 1

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        self._operations.append((function, args, kwargs or {}, out))
        return out

    def replay(self) -> None:
        for function, args, kwargs, out in self._operations:
            for old, new in zip(
                tree_leaves(out), tree_leaves(function(*args, **kwargs)), strict=True
            ):
                if old.data_ptr() != new.data_ptr():  # else a view, or done in place
                    old.copy_(new)


class Stream:
    def wait_stream(self, other: Stream) -> None:
        pass


class BrokenGraph:
    def __init__(self) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")


def pretend(monkeypatch: Any, graph: type = RecordedGraph) -> None:
    """Let torch.cuda record on this machine."""

    @contextlib.contextmanager
    def record(graph: RecordedGraph, capture_error_mode: str) -> Iterator[None]:
        assert capture_error_mode == "thread_local"
        with graph:
            yield

    monkeypatch.setattr(torch.cuda, "device", lambda device: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: contextlib.nullcontext())
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", graph)
    monkeypatch.setattr(torch.cuda, "graph", record)
