"""Triton's kernels without a GPU: interpreted they give the reference's bits, compiled they hold no
operation that could not.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import subprocess
import sys
from typing import Any

import pytest
import torch

from llmzip import engine_loader
from llmzip.engine.torch_engine import TorchEngine
from tests.native_models import EXTREMES, random_model

needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="triton is not installed"
)
needs_cuda = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="no CUDA device on this machine"
)


def run(module: str, *arguments: str, **environment: str) -> str:
    """A process of its own: see the modules."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", module, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def interpreted(*cases: str) -> dict[str, list[str]]:
    """What is said of each case; one process has several of them, as starting it takes seconds."""
    out = run("tests.tools.interpreted_kernels", *cases, TRITON_INTERPRET="1")
    said: dict[str, list[str]] = {}
    for line in out.splitlines():
        if line.startswith("["):
            said[line.strip("[]")] = []
        else:
            said[list(said)[-1]].append(line)
    assert list(said) == [*cases]
    return said


@needs_triton
@pytest.mark.parametrize(
    "cases",
    [
        ["odd", "smallest"],
        ["sixteen", "one key head"],
        pytest.param(["many rows", "many slots"], marks=pytest.mark.slow),
    ],
    ids=" and ".join,
)
def test_every_kernel_gives_the_reference_bits(cases: list[str]) -> None:
    for case, lines in interpreted(*cases).items():
        names = {line.partition(":")[0] for line in lines if line.endswith(": equal")}
        assert len(names) == 17, case


@needs_triton
def test_whole_steps_give_the_reference_bits() -> None:
    interpreted("slides", "chunks")


@needs_triton
@pytest.mark.slow
def test_whole_steps_of_extreme_models() -> None:
    interpreted(*EXTREMES, "all seen")


@needs_triton
def test_compiled_kernels_hold_only_exact_operations() -> None:
    """A fused multiply-add or an approximate division would be another number."""
    run("tests.tools.compiled_kernels", "1", "80", "89", "90", "100", "120")


@needs_triton
@pytest.mark.slow
def test_compiled_kernels_of_other_shapes() -> None:
    run("tests.tools.compiled_kernels", "3", "90")


def test_without_triton_torch_serves(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made: list[Any] = []
    monkeypatch.setitem(sys.modules, "llmzip.engine.triton.engine", None)  # importing it fails
    monkeypatch.setattr(
        "llmzip.engine.torch_engine.TorchEngine", lambda *given, **more: made.append(given)
    )
    with caplog.at_level(logging.WARNING, "llmzip"):
        engine_loader._torch_engine(random_model(), "cuda", None)
    assert made[0][1] == "cuda"
    (notice,) = caplog.messages
    assert "llmzip[gpu]" in notice
    assert "the files are the same" in notice


@needs_triton
def test_an_old_device_is_served_by_torch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Imported before the class that it derives from is replaced.
    importlib.import_module("llmzip.engine.triton.engine")
    monkeypatch.setattr("llmzip.engine.torch_engine.TorchEngine", lambda *given, **more: given)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    with caplog.at_level(logging.WARNING, "llmzip"):
        made: Any = engine_loader._torch_engine(random_model(), "cuda", None)
    assert made[1] == "cuda"
    assert "(7, 5)" in caplog.text


@needs_triton
def test_a_kernel_that_fails_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """Without a GPU no kernel runs: all are replaced, and the session's steps have the right bits
    all the same.
    """
    from llmzip.engine.triton import self_test
    from llmzip.engine.triton.engine import TritonEngine
    from tests.test_torch_replay import assert_equal, fed

    if torch.cuda.is_available():
        pytest.skip("here kernels run")
    model = random_model()
    with caplog.at_level(logging.WARNING, "llmzip"):
        engine = TritonEngine(model, "cpu")
    assert len(caplog.messages) == 17
    assert "torch path" in caplog.messages[0]
    expected = fed(TorchEngine(model), 3, 9, [4], 30)
    assert_equal(
        [a.astype(b.dtype) for a, b in zip(fed(engine, 3, 9, [4], 30), expected, strict=True)],
        expected,
    )
    assert (
        self_test.differences(
            engine.transformer.operations,
            engine.transformer.operations,
            lambda run: (torch.ones(1),),
        )
        == ""
    )


@needs_triton
@needs_cuda
@pytest.mark.parametrize("streams", [1, 3, 40])
def test_cuda_gives_the_same_bits(streams: int) -> None:
    from llmzip.engine.triton.engine import TritonEngine
    from tests.test_torch_replay import assert_equal, fed

    model = random_model()
    expected = fed(TorchEngine(model), streams, 33, [9, 2])
    found = fed(TritonEngine(model), streams, 33, [9, 2])
    assert_equal([a.astype(b.dtype) for a, b in zip(found, expected, strict=True)], expected)
