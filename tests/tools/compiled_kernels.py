"""Compile Triton's kernels for devices that are not there, as a launch would, and look for inexact
operations.

    python -m tests.tools.compiled_kernels SHAPES CAPABILITY ...

1 80 90: the first shape, for the compute capabilities 8.0 and 9.0.

Some seconds for each capability and shape; exit code 1 where a kernel's PTX holds a fused or
approximate operation. tests/test_triton.py starts it.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from llmzip.arithmetic.gemm import Int8Kernel
from llmzip.engine.torch_layers import RoPE
from llmzip.engine.torch_transformer import TorchTransformer
from llmzip.engine.triton import operations, self_test
from llmzip.engine.triton.operations import Operations
from llmzip.model.integer_model import IntegerModel
from tests.native_models import random_model


class Driver:
    """As much of a driver as Triton asks when it compiles."""

    def __init__(self, capability: int) -> None:
        self._target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def launches(
    transformer: TorchTransformer, rows: int, slots: int = self_test.SLOTS
) -> Iterator[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """The kernels that the self-test would start, each once: kernel, arguments and options."""
    seen: set[str] = set()
    found: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def note(
        kernel: Any,
        grid: Any,
        *arguments: Any,
        warps: int = 4,
        stages: int = 3,
        **constants: Any,
    ) -> None:
        options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": False, **constants}
        key = repr(
            (kernel.fn.__name__, [a if isinstance(a, int) else a.dtype for a in arguments], options)
        )
        if key not in seen:
            seen.add(key)
            found.append((kernel, arguments, options))

    with mock.patch.object(operations, "launch", note), torch.inference_mode():
        for _, run in self_test.all_cases(transformer, rows, slots):
            run(Operations(transformer.spec))
    yield from found


def compiled(
    kernel: Any, arguments: tuple[Any, ...], options: dict[str, Any], capability: int
) -> triton.compiler.CompiledKernel:
    """The kernel for a device of this capability (90: H100)."""
    driver.set_active(Driver(capability))  # there is no other one here
    kernel.device_caches.clear()
    return kernel.warmup(*arguments, grid=(1,), **options)


def transformer_of(model: IntegerModel) -> TorchTransformer:
    """As much of a transformer as `self_test` asks for operands; nothing is computed."""
    transformer, spec = object.__new__(TorchTransformer), model.spec
    transformer.spec, transformer.device, transformer.kernel = (
        spec,
        torch.device("cpu"),
        Unprepared(),
    )
    transformer.embedding = (
        torch.zeros(spec.vocab, spec.d_model, dtype=torch.int8),
        torch.zeros(spec.vocab),
    )
    transformer.rope = RoPE(torch.zeros(spec.max_positions, 2, spec.head_dim // 2))
    return transformer


class Unprepared(Int8Kernel):
    def prepare(self, weight: torch.Tensor) -> torch.Tensor:
        return weight


DIVIDE = {"rms_norm", "qkv", "values", "merge", "gate_up", "rotate"}
MULTIPLY = {"qkv", "scores", "values", "residual", "gate_up", "head"}


def faults(name: str, ptx: str) -> list[str]:
    """What must not be in a kernel's code, or is missing."""
    # Floor may take a subnormal number for 0: exp2 is the same.
    ptx = ptx.replace("cvt.rmi.ftz", "cvt.rmi")
    found = [word for word in ("fma.", ".approx", "ex2.", "rsqrt", ".ftz") if word in ptx]
    if name in DIVIDE and "div.rn.f32" not in ptx:
        found.append("no exact division")
    if name == "rms_norm" and "sqrt.rn.f32" not in ptx:
        found.append("no exact root")
    if name in MULTIPLY and not re.search(r"mma\S*\.(s32\.s8\.s8|kind::i8)", ptx):
        found.append("no integer matrix instruction")
    return found


CASES = (
    ("one key head, head size 64", 65),
    ("head size 128", 5),
    ("nothing is a multiple of 32", 5),
)
"""Models' shapes and rows."""


def main(cases: int, *capabilities: int) -> int:
    """Compile for so many of the shapes."""
    wrong = False
    for shape, rows in CASES[:cases]:
        started = list(launches(transformer_of(random_model(shape)), rows))
        for capability, (kernel, arguments, options) in itertools.product(capabilities, started):
            name = kernel.fn.__name__.removesuffix("_kernel")
            problems = faults(name, compiled(kernel, arguments, options, capability).asm["ptx"])
            print(capability, shape, rows, name, *(problems or ["sound"]), flush=True)
            wrong |= bool(problems)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
