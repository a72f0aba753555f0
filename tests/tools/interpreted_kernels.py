"""Run Triton's kernels in its interpreter against the torch reference; some seconds a case, and as
many to begin.

    TRITON_INTERPRET=1 python -m tests.tools.interpreted_kernels CASE ...

A CASE is a key of KERNELS, STEPS or EXTREMES. A process of its own, because Triton decides when it
is imported whether to compile or to interpret; tests/test_triton.py starts it.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from unittest import mock

import numpy as np
import torch

from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.triton import operations, self_test, session
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.operations import Operations, Tuning
from llmzip.engine.triton.reference import TorchOperations
from llmzip.model.integer_model import IntegerModel
from tests.native_models import EXTREMES, extreme_model, random_model
from tests.test_torch_replay import assert_equal, fed

KERNELS = {
    "odd": ("nothing is a multiple of 32", 5, 80),
    "smallest": ("smallest", 4, 32),
    "sixteen": ("head size 16", 3, 48),
    "one key head": ("one key head, head size 64", 2, 144),
    "many rows": ("head size 34", 33, 48),
    "many slots": ("smallest", 1, 1104),
}
"""Each kernel alone: the model's shape, rows, slots."""

TUNINGS = {"many slots": Tuning(scores_positions=16)}
"""Scores come in tiles of positions, whose maxima `values` reads 32 at a time: of the least size,
fewer slots have more of them than that."""

STEPS = {
    "slides": ("nothing is a multiple of 32", 1, 5, 12),
    "chunks": ("smallest", 3, 4, 11),
    "all seen": ("head size 34", 2, 40, 8),
}
"""Whole steps after a chunk: the model's shape, streams, window, tokens."""


def check_kernels(shape: str, rows: int, slots: int, tuning: Tuning | None) -> bool:
    model = random_model(shape, positions=100)
    transformer = TorchEngine(model).transformer
    equal = True
    tuned = mock.patch.object(operations, "Tuning", lambda: tuning) if tuning else nullcontext()
    with torch.inference_mode(), tuned:
        kernels, reference = Operations(model.spec), TorchOperations(transformer)
        assert not tuning or kernels.score_tiles(slots - 16) > 32
        for name, run in self_test.all_cases(transformer, rows, slots):
            problem = self_test.differences(kernels, reference, run)
            print(f"{name}: {problem or 'equal'}", flush=True)
            equal &= not problem
    return equal


def check_steps(
    model: IntegerModel,
    streams: int,
    window: int,
    tokens: int,
    chunks: tuple[int, ...] = (4,),
) -> bool:
    session.STEP_STREAMS = 2  # chunks of several streams token by token
    expected = fed(TorchEngine(model), streams, window, [*chunks], tokens, 2)
    engine = TritonEngine(model, "cpu", replays=True, operations=Operations(model.spec))
    found = fed(engine, streams, window, [*chunks], tokens, 2)
    assert_equal(
        [np.asarray(a).astype(b.dtype) for a, b in zip(found, expected, strict=True)], expected
    )
    return True


def check(case: str) -> bool:
    """Whether one case has the reference's bits."""
    if case in KERNELS:
        return check_kernels(*KERNELS[case], TUNINGS.get(case))
    if case in EXTREMES:
        # One layer: what several make of each other is in STEPS.
        return check_steps(extreme_model(case, layers=1), 1, 3, 4, (2,))
    shape, *sizes = STEPS[case]
    streams, window, tokens = sizes
    return check_steps(random_model(shape), streams, window, tokens)


def main(*cases: str) -> int:
    assert os.environ.get("TRITON_INTERPRET") == "1"
    torch.set_num_threads(1)
    equal = True
    for case in cases:
        print(f"[{case}]", flush=True)
        equal &= check(case)
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
