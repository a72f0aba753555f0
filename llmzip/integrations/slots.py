"""Where the workers of a Ray cluster run: one for each GPU, or for each share of a machine's
processors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llmzip.engine.native_machine import useful_blocks
from llmzip.runtime import Runtime

MOST_THREADS = 16
"""Threads of a worker on CPUs, where nobody says: a process gains little by more (speed.md)."""
_GPU_BLOCKS = 32
"""Blocks for a GPU at once: the engine makes parts of them that fill a step."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where one worker runs."""

    node: str
    number: int
    """Among the slots of the node."""
    host: str
    threads: int
    gpu: bool
    together: int
    """How many blocks the worker gets at once."""

    def resources(self) -> dict[str, Any]:
        """The options of its actor: on this machine or nowhere, and never restarted by Ray, which
        would not say so.
        """
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        return {
            "num_cpus": self.threads,
            "num_gpus": int(self.gpu),
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(self.node, soft=False),
        }

    def runtime(self, of_all: Runtime) -> Runtime:
        """How this worker computes."""
        return dataclasses.replace(
            of_all,
            threads=self.threads or 1,
            jobs=of_all.jobs,
            device="cuda" if self.gpu else "cpu",
        )


def slots_of(nodes: Sequence[Mapping[str, Any]], runtime: Runtime) -> list[Slot]:
    """The slots of all machines that are up, as `ray.nodes()` gives them; none where a GPU is asked
    for and no machine has one.
    """
    up = [node for node in nodes if node["Alive"]]
    gpus = runtime.device == "cuda"
    if gpus and not any(node["Resources"].get("GPU", 0) >= 1 for node in up):
        return []
    return [slot for node in up for slot in _slots_of_node(node, runtime, gpus)]


def _slots_of_node(node: Mapping[str, Any], runtime: Runtime, gpus: bool) -> Iterator[Slot]:
    cpus = int(node["Resources"].get("CPU", 0))
    name, host = node["NodeID"], node.get("NodeManagerHostname") or node["NodeManagerAddress"]
    count = int(node["Resources"].get("GPU", 0)) if gpus else 0
    if count:
        together = runtime.jobs or _GPU_BLOCKS
        for number in range(count):
            yield Slot(name, number, host, cpus // count, True, together)
        return
    threads = min(cpus, runtime.threads or MOST_THREADS)
    for number in range(cpus // threads if threads else 0):
        together = min(threads, runtime.jobs or useful_blocks(threads))
        yield Slot(name, number, host, threads, False, together)
