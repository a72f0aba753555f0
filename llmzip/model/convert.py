"""Float weights -> rotated integer weights (docs/arithmetic.md, section 3), the same bits on every
machine.

Every step is element-wise in float64 (butterflies of adds included) or an exact maximum; no matrix
product and no library function whose rounding could differ is involved.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import INT8_MAX, LOG2_E
from llmzip.arithmetic.hadamard import rotate
from llmzip.arithmetic.rope import inverse_frequencies, rope_table
from llmzip.errors import UnsupportedModelError
from llmzip.model.bounds import check_scales
from llmzip.model.float_model import FloatModel
from llmzip.model.integer_model import IntegerModel

Matrix = npt.NDArray[np.float64]


def convert(source: FloatModel, progress: Callable[[int, int], None] | None = None) -> IntegerModel:
    """Rotate and quantize a float model. `progress(done, total)` is called after each layer.

    Raises UnsupportedModelError for weights that are not finite, of another shape, or too large
    (docs/arithmetic.md, section 2.5).
    """
    spec = source.spec
    tensors: dict[str, npt.NDArray[np.generic]] = {}

    def load(name: str, *shape: int) -> Matrix:
        array = source.tensor(name)
        if array.shape != shape:
            raise UnsupportedModelError(f"{name}: shape {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            raise UnsupportedModelError(f"{name}: holds numbers that are not finite")
        return array.astype(np.float64)

    def put(name: str, rows: Matrix, factor: float = 1.0) -> None:
        weight, scale = quantize_rows(rows, factor)
        check_scales(name, scale)
        tensors[f"{name}.weight"], tensors[f"{name}.scale"] = weight, scale

    d, inner, keys = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim
    put("embedding", _orthonormal(load("embedding", spec.vocab, d), spec.model_rotation))
    for i in range(spec.layers):
        name = f"layers.{i}."
        gain = load(name + "attention_norm", d)
        q, k, v = (
            load(name + part, n, d) * gain for part, n in (("q", inner), ("k", keys), ("v", keys))
        )
        v = _orthonormal(v.T, spec.head_rotation).T
        put(name + "q", _orthonormal(q, spec.model_rotation), LOG2_E / math.sqrt(spec.head_dim))
        put(name + "k", _orthonormal(k, spec.model_rotation))
        put(name + "v", _orthonormal(v, spec.model_rotation))
        o = _orthonormal(load(name + "o", d, inner), spec.head_rotation)
        put(name + "o", _orthonormal(o.T, spec.model_rotation).T)
        gain = load(name + "mlp_norm", d)
        put(
            name + "gate",
            _orthonormal(load(name + "gate", spec.d_ff, d) * gain, spec.model_rotation),
            -LOG2_E,
        )
        put(name + "up", _orthonormal(load(name + "up", spec.d_ff, d) * gain, spec.model_rotation))
        down = rotate(load(name + "down", d, spec.d_ff), spec.mlp_rotation)
        put(
            name + "down",
            _orthonormal(down.T, spec.model_rotation).T,
            -1.0 / (LOG2_E * spec.mlp_rotation),
        )
        if progress:
            progress(i + 1, spec.layers)
    put(
        "head",
        _orthonormal(load("head", spec.vocab, d) * load("norm", d), spec.model_rotation),
        LOG2_E,
    )
    tensors["rope"] = rope_table(
        inverse_frequencies(source.rope_theta, spec.head_dim), spec.max_positions
    )
    return IntegerModel.build(spec, source.vocabulary, tensors)


def _orthonormal(rows: Matrix, block: int) -> Matrix:
    """Each row times the normalized block Hadamard matrix."""
    return rotate(np.ascontiguousarray(rows), block) * (1.0 / math.sqrt(block))


def quantize_rows(
    rows: Matrix, factor: float
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """int8 rows and one float32 scale each: row ~ weight * scale / factor.

    The scale is raised to 2**-40 (a row of zeros), so that no product at run time is subnormal.
    """
    step = np.maximum(np.abs(rows).max(axis=1) / INT8_MAX, 2.0**-40)
    weight = np.rint(rows / step[:, None]).astype(np.int8)
    with np.errstate(over="ignore"):  # such scales are refused by whoever asked
        return weight, (step * factor).astype(np.float32)
