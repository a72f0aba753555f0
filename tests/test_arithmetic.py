"""The exact primitives against their definitions."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from llmzip.arithmetic import gemm
from llmzip.arithmetic.elementwise import exp2_, quantize_
from llmzip.arithmetic.frequencies import frequencies
from llmzip.arithmetic.hadamard import matrix, rotate
from llmzip.arithmetic.rope import inverse_frequencies, rope_table
from llmzip.errors import LLMZipError
from tests.reference_decoder import float32
from tests.reference_decoder.range_decoder import cumulative_frequencies


def test_exp2_is_close_continuous_and_monotone() -> None:
    x = torch.linspace(-30, 30, 1 << 18)
    y = exp2_(x.clone())
    assert (y / torch.exp2(x.double()) - 1).abs().max() < 1.1e-4
    assert (y.diff() >= 0).all()
    whole = torch.arange(-30.0, 31.0)
    assert torch.equal(exp2_(whole.clone()), torch.exp2(whole.double()).float())


def test_exp2_known_bits() -> None:
    x = torch.tensor([-29.999, -7.3, -0.5, -1e-9, 0.3, 12.75])
    assert [v.hex() for v in exp2_(x).tolist()] == [
        "0x1.002d900000000p-30",
        "0x1.9fe16c0000000p-8",
        "0x1.6a00a80000000p-1",
        "0x1.0000000000000p+0",
        "0x1.3b29e80000000p+0",
        "0x1.ae900e0000000p+12",
    ]


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=40))
def test_quantize_matches_the_document(row: list[float]) -> None:
    q, maximum = quantize_(torch.tensor([row]))
    expected, expected_maximum = float32.quantize(np.array(row, np.float32))
    assert q[0].tolist() == expected.tolist()
    assert maximum.item() == expected_maximum


def test_hadamard_is_orthogonal_and_of_sylvester_order() -> None:
    h = matrix(64)
    assert (h == float32.hadamard(64)).all()
    assert (h @ h.T == 64 * np.eye(64)).all()
    rows = np.arange(128.0).reshape(1, 128)
    assert (rotate(rows, 64)[0, :64] == rows[0, :64] @ h).all()


def test_rope_table_is_exact() -> None:
    table = rope_table(inverse_frequencies(100000.0, 64), 300)
    assert table[0, 0].tolist() == [16384] * 32
    for p, i in [(1, 0), (299, 0), (123, 7), (299, 31)]:
        angle = p * 100000.0 ** (-2 * i / 64)
        assert table[p, 0, i] == math.floor(16384 * math.cos(angle) + 0.5)
        assert table[p, 1, i] == math.floor(16384 * math.sin(angle) + 0.5)


@given(st.lists(st.integers(0, 1 << 31), min_size=1, max_size=300))
def test_frequencies_match_the_document(weights: list[int]) -> None:
    got = frequencies(np.array([weights]))[0]
    assert got.tolist() == np.diff(cumulative_frequencies(weights)).tolist()
    assert got.min() >= 1
    assert got.sum() == 1 << 24


@pytest.mark.parametrize(
    "weights", [[0] * 200, [1 << 31] * 1000, [0, 0, 1 << 31], [1 << 23] * 65536]
)
def test_frequencies_of_extreme_weights(weights: list[int]) -> None:
    got = frequencies(np.array([weights, weights[::-1]]))
    assert got[0].tolist() == np.diff(cumulative_frequencies(weights)).tolist()
    assert got[1].tolist() == np.diff(cumulative_frequencies(weights[::-1])).tolist()


def test_frequencies_stay_close_to_the_weights() -> None:
    weights = np.random.Generator(np.random.PCG64(1)).integers(0, 1 << 23, (20, 256))
    got = frequencies(weights) / 2**24
    assert np.abs(got - weights / weights.sum(axis=1, keepdims=True)).max() < 2**-15


KERNELS = [*gemm.int8_kernels(torch.device("cpu")), gemm.PaddedIntegerKernel()]
"""All of them run on CPUs."""


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_int8_kernels_pass_their_self_test_or_are_refused(kernel: gemm.Int8Kernel) -> None:
    exact = gemm.int8_kernel_is_exact(kernel, torch.device("cpu"))
    # The float kernels work everywhere, int8 products need VNNI.
    assert exact or isinstance(kernel, gemm.IntegerKernel)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
@given(data=st.data())
def test_int8_kernels_are_exact_on_any_shape(kernel: gemm.Int8Kernel, data: st.DataObject) -> None:
    if not gemm.int8_kernel_is_exact(kernel, torch.device("cpu")):
        pytest.skip("this CPU's int8 products saturate")
    rows, columns, depth = (
        data.draw(st.integers(low, high)) for low, high in ((1, 40), (1, 70), (2, 2200))
    )
    generator = np.random.Generator(np.random.PCG64(data.draw(st.integers(0, 99))))
    x, w = (generator.integers(-127, 128, (n, depth)) for n in (rows, columns))
    prepared = kernel.prepare(torch.from_numpy(w).to(torch.int8))
    got = kernel.multiply(torch.from_numpy(x).to(torch.int8), prepared, columns)
    assert torch.equal(got, torch.from_numpy(x @ w.T).to(torch.float32))


class SaturatingKernel(gemm.FloatKernel):
    """What int8 products do on CPUs that add pairs in 16 bits."""

    def multiply(self, x: torch.Tensor, weight: torch.Tensor, columns: int) -> torch.Tensor:
        unsigned = x[:, :, None].float() + 128  # they want one operand without sign
        pairs = unsigned[:, 0::2] * weight[0::2] + unsigned[:, 1::2] * weight[1::2]
        return pairs.clamp(-32768, 32767).sum(1) - 128 * weight.sum(0)


def test_the_self_test_refuses_a_saturating_kernel() -> None:
    saturating, good = SaturatingKernel(torch.float32), gemm.FloatKernel(torch.float64)
    assert gemm.select_int8_kernel(torch.device("cpu"), [saturating, good]) is good
    with pytest.raises(LLMZipError, match="no matrix product"):
        gemm.select_int8_kernel(torch.device("cpu"), [saturating])


@pytest.mark.parametrize(("int8", "float32", "slow"), [(0.9, 0.1, True), (0.2, 0.1, False)])
def test_slow_int8_products_come_last(
    monkeypatch: pytest.MonkeyPatch, int8: float, float32: float, slow: bool
) -> None:
    """Where torch multiplies int8 in a plain loop; a clock stands still but for products."""
    clock = [0.0]

    def lasting(seconds: float) -> Callable[..., torch.Tensor]:
        def multiply(kernel: object, x: torch.Tensor, weight: torch.Tensor, n: int) -> torch.Tensor:
            clock[0] += seconds
            return torch.mm(x.double(), weight.double()).float()

        return multiply

    monkeypatch.setattr(gemm.IntegerKernel, "multiply", lasting(int8))
    monkeypatch.setattr(gemm.FloatKernel, "multiply", lasting(float32))
    monkeypatch.setattr(gemm, "perf_counter", lambda: clock[0])
    gemm.int8_products_are_slow.cache_clear()
    try:
        assert gemm.int8_products_are_slow() is slow
        cpu = torch.device("cpu")
        assert gemm.select_int8_kernel(cpu).name == ("float32" if slow else "int8")
        assert gemm.select_int8_kernel(cpu, [gemm.IntegerKernel()]).name == "int8"
    finally:
        gemm.int8_products_are_slow.cache_clear()


def bfloat16(x: torch.Tensor) -> torch.Tensor:
    return x.bfloat16().float()


def tf32(x: torch.Tensor) -> torch.Tensor:
    """Rounded to 11 bits, as tensor cores take it."""
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


@pytest.mark.parametrize("lower", [bfloat16, tf32])
@pytest.mark.parametrize("product", ["bmm", "matmul"])
def test_low_precision_float_products_are_refused(
    monkeypatch: pytest.MonkeyPatch, product: str, lower: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    real = getattr(torch, product)
    monkeypatch.setattr(
        torch,
        product,
        lambda a, b: real(lower(a), lower(b)) if a.dtype == torch.float32 else real(a, b),
    )
    assert gemm.select_float_type(torch.device("cpu")) is torch.float64


def test_torch_rounds_single_operations_correctly() -> None:
    """What the reference relies on, against exact rationals."""
    generator = np.random.Generator(np.random.PCG64(3))
    a, b = (torch.from_numpy(generator.integers(1, 1 << 24, 500).astype(np.float32)) for _ in "ab")
    for got, exact in [
        (a / b, lambda x, y: Fraction(x) / Fraction(y)),
        (a * b, lambda x, y: Fraction(x) * Fraction(y)),
    ]:
        for x, y, z in zip(a.tolist(), b.tolist(), got.tolist(), strict=True):
            spacing = Fraction(float(np.spacing(np.float32(z))))
            assert abs(exact(x, y) - Fraction(z)) * 2 <= spacing
    root = a.to(torch.float64).sqrt().to(torch.float32)
    assert torch.equal(root, torch.from_numpy(np.sqrt(a.numpy())))
