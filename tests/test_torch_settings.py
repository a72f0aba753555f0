"""The torch engine inside programs with settings of their own: the same bytes, and their settings
as they were.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

import llmzip
from llmzip.codecs.llm import LLMCodec
from llmzip.engine.torch_engine import TorchEngine
from llmzip.model.integer_model import IntegerModel
from tests.conftest import tiny

DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]

TEXT = b"The value of the expression is a list."


@contextlib.contextmanager
def changed(setter: Callable[[Any], object], value: object, before: object) -> Iterator[None]:
    setter(value)
    try:
        yield
    finally:
        setter(before)


@contextlib.contextmanager
def on_a_stream() -> Iterator[None]:
    with (
        torch.cuda.stream(torch.cuda.Stream())
        if torch.cuda.is_available()
        else contextlib.nullcontext()
    ):
        yield


@contextlib.contextmanager
def all_at_once() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for name in (
            "autocast cpu",
            "float64",
            "device meta",
            "deterministic",
            "grad",
            "precision",
            "stream",
        ):
            stack.enter_context(SETTINGS[name]())
        yield


SETTINGS: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "none": contextlib.nullcontext,
    "autocast cpu": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "autocast cuda": lambda: torch.autocast(
        "cuda", dtype=torch.float16, enabled=torch.cuda.is_available()
    ),
    "float64": lambda: changed(torch.set_default_dtype, torch.float64, torch.float32),
    "float16": lambda: changed(torch.set_default_dtype, torch.float16, torch.float32),
    "bfloat16": lambda: changed(torch.set_default_dtype, torch.bfloat16, torch.float32),
    "device meta": lambda: torch.device("meta"),
    "default device": lambda: changed(torch.set_default_device, "meta", None),
    "deterministic": lambda: changed(torch.set_deterministic_debug_mode, "error", "default"),
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": torch.enable_grad,
    "threads": lambda: changed(torch.set_num_threads, 3, 1),
    "precision": lambda: changed(torch.set_float32_matmul_precision, "medium", "highest"),
    "flush": lambda: changed(torch.set_flush_denormal, True, False),
    "stream": on_a_stream,
    "all": all_at_once,
}


def state() -> list[object]:
    """What the host program can ask for."""
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_grad_enabled(),
        torch.get_num_threads(),
        torch.get_float32_matmul_precision(),
    ]


@pytest.fixture(scope="module", params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def outside(tiny_model: IntegerModel, device: str) -> LLMCodec:
    return LLMCodec(TorchEngine(tiny_model, device))


@pytest.fixture(scope="module")
def expected(tiny_model: IntegerModel) -> bytes:
    return llmzip.compress(TEXT, model=tiny_model)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_change_no_bit(outside: LLMCodec, device: str, name: str) -> None:
    payload = outside.encode(TEXT)
    with SETTINGS[name]():
        before = state()
        inside = LLMCodec(TorchEngine(tiny(), device, threads=1))
        assert inside.encode(TEXT) == payload
        assert inside.decode(payload, len(TEXT)) == TEXT
        assert outside.decode(payload, len(TEXT)) == TEXT
        assert state() == before
    assert inside.decode(payload, len(TEXT)) == TEXT


def test_whole_frames(expected: bytes, device: str) -> None:
    runtime = llmzip.Runtime(engine="torch", device=device, threads=1)
    with all_at_once():
        assert llmzip.compress(TEXT, model=tiny(), runtime=runtime) == expected
        assert llmzip.decompress(expected, model=tiny(), runtime=runtime) == TEXT


def test_threads_share_the_settings_of_the_process(tiny_model: IntegerModel) -> None:
    """The first thread that is done gives nothing back while another computes."""
    engine = TorchEngine(tiny_model)
    inside, leave = threading.Event(), threading.Event()
    seen = []

    def stay() -> None:
        with engine.working():
            inside.set()
            leave.wait()
            seen.append(
                (torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled())
            )

    with SETTINGS["deterministic"](), SETTINGS["precision"]():
        first = threading.Thread(target=stay)
        with engine.working():
            first.start()
            inside.wait()
        leave.set()
        first.join()
        assert seen == [("highest", False)]
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.are_deterministic_algorithms_enabled()
