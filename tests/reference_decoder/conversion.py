"""Published float weights to the integers all compute with (docs/arithmetic.md, 2.4 and 3)."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference_decoder.model import Spec

Matrix = npt.NDArray[np.float64]
Tensors = dict[str, npt.NDArray[Any]]

LOG2_E = 1.0 / math.log(2.0)
_BITS = 192
"""Of the fixed-point numbers from which the rotary table is rounded."""


def block_size(width: int, limit: int = 64) -> int:
    """The largest power of two that divides a width, up to a limit."""
    return min(width & -width, limit)


def butterflies(rows: Matrix, block: int) -> Matrix:
    """Each block of entries of each row times the Hadamard matrix, by stages of sums and
    differences."""
    x, half = np.ascontiguousarray(rows).reshape(-1, block), 1
    while half < block:
        pairs = x.reshape(-1, block // (2 * half), 2, half)
        a, b = pairs[:, :, 0], pairs[:, :, 1]
        x = np.stack((a + b, a - b), axis=2).reshape(-1, block)
        half *= 2
    return x.reshape(rows.shape)


def rotate(rows: Matrix, block: int) -> Matrix:
    """The same with the factor that keeps lengths."""
    return butterflies(rows, block) * (1.0 / math.sqrt(block))


def quantize_rows(rows: Matrix, factor: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """int8 rows, and a float32 scale each."""
    step = np.maximum(np.abs(rows).max(axis=1) / 127, 2.0**-40)
    return np.rint(rows / step[:, None]).astype(np.int8), (step * factor).astype(np.float32)


def convert(spec: Spec, load: Callable[[str], Matrix], theta: float) -> Tensors:
    """All tensors of the integer model; `load` reads one by its Hugging Face name without
    `.weight`."""
    tensors: Tensors = {}
    model, head = block_size(spec.d_model), block_size(spec.head_dim)
    mlp = block_size(spec.d_ff, 512)

    def put(name: str, rows: Matrix, factor: float = 1.0) -> None:
        tensors[name + ".weight"], tensors[name + ".scale"] = quantize_rows(rows, factor)

    def outputs_rotated(rows: Matrix, block: int) -> Matrix:
        return rotate(rows.T, block).T

    put("embedding", rotate(load("model.embed_tokens"), model))
    for i in range(spec.layers):
        of, to = f"model.layers.{i}.", f"layers.{i}."
        gain = load(of + "input_layernorm")
        q, k, v = (load(f"{of}self_attn.{part}_proj") * gain for part in "qkv")
        put(to + "q", rotate(q, model), LOG2_E / math.sqrt(spec.head_dim))
        put(to + "k", rotate(k, model))
        put(to + "v", rotate(outputs_rotated(v, head), model))
        o = rotate(load(of + "self_attn.o_proj"), head)
        put(to + "o", outputs_rotated(o, model))
        gain = load(of + "post_attention_layernorm")
        put(to + "gate", rotate(load(of + "mlp.gate_proj") * gain, model), -LOG2_E)
        put(to + "up", rotate(load(of + "mlp.up_proj") * gain, model))
        down = butterflies(load(of + "mlp.down_proj"), mlp)
        put(to + "down", outputs_rotated(down, model), -1.0 / (LOG2_E * mlp))
    put("head", rotate(load("lm_head") * load("model.norm"), model), LOG2_E)
    tensors["rope"] = rotary_table(theta, spec.head_dim, spec.max_positions)
    return tensors


def rotary_table(theta: float, head_dim: int, positions: int) -> npt.NDArray[np.int16]:
    """Cosines and sines of every position, in units of 2**-14: [positions, 2, head_dim / 2].

    They are those of the exact real numbers, so they are computed with integers of 192 bits behind
    the point.
    """
    table = np.empty((positions, 2, head_dim // 2), np.int16)
    for i in range(head_dim // 2):
        step_cosine, step_sine = cosine_and_sine(theta, i, head_dim)
        cosine, sine = 1 << _BITS, 0
        for p in range(positions):
            table[p, :, i] = to_grid(cosine), to_grid(sine)
            cosine, sine = (
                (cosine * step_cosine - sine * step_sine) >> _BITS,
                (sine * step_cosine + cosine * step_sine) >> _BITS,
            )
    return table


def to_grid(number: int) -> int:
    """To the nearest multiple of 2**-14."""
    return (number + (1 << _BITS - 15)) >> _BITS - 14


def cosine_and_sine(theta: float, i: int, head_dim: int) -> tuple[int, int]:
    """Of frequency i, theta ** (-2i / head_dim), in units of 2**-192, by their power series."""
    with decimal.localcontext() as context:
        context.prec = 80
        angle = (decimal.Decimal(theta).ln() * (-2 * i) / head_dim).exp()
        sums, term = [decimal.Decimal(0), decimal.Decimal(0)], decimal.Decimal(1)
        for n in range(60):  # 1 / 60! is below 2 ** -270
            sums[n % 2] += term if n % 4 < 2 else -term
            term = term * angle / (n + 1)
        cosine, sine = (int(total * (1 << _BITS)) for total in sums)
    return cosine, sine
