"""Run Triton's kernels in its interpreter against the torch reference; some 10 seconds to a minute
a case.

    TRITON_INTERPRET=1 python -m tests.tools.interpreted_kernels CASE

CASE is a key of KERNELS, STEPS or EXTREMES. A process of its own, because Triton decides when it is
imported whether to compile or to interpret; tests/test_triton.py starts it.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import torch

from llmzip.engine.torch_engine import TorchEngine
from llmzip.engine.triton import self_test, session
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.operations import Operations
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
    "many slots": ("smallest", 1, 8720),
}
"""Each kernel alone: the model's shape, rows, slots."""

STEPS = {
    "slides": ("nothing is a multiple of 32", 1, 5, 12),
    "chunks": ("smallest", 3, 9, 14),
    "all seen": ("head size 34", 2, 40, 12),
}
"""Whole steps after a chunk: the model's shape, streams, window, tokens."""


def check_kernels(shape: str, rows: int, slots: int) -> bool:
    model = random_model(shape, positions=100)
    transformer = TorchEngine(model).transformer
    kernels, reference = Operations(model.spec), TorchOperations(transformer)
    equal = True
    with torch.inference_mode():
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
    expected = fed(TorchEngine(model), streams, window, [*chunks], tokens)
    engine = TritonEngine(model, "cpu", replays=True, operations=Operations(model.spec))
    found = fed(engine, streams, window, [*chunks], tokens)
    assert_equal(
        [np.asarray(a).astype(b.dtype) for a, b in zip(found, expected, strict=True)], expected
    )
    return True


def main(case: str) -> int:
    assert os.environ.get("TRITON_INTERPRET") == "1"
    torch.set_num_threads(1)
    if case in KERNELS:
        return 0 if check_kernels(*KERNELS[case]) else 1
    if case in EXTREMES:
        return 0 if check_steps(extreme_model(case), 1, 3, 6, (2,)) else 1
    shape, *sizes = STEPS[case]
    streams, window, tokens = sizes
    return 0 if check_steps(random_model(shape), streams, window, tokens) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
