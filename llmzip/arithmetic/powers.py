"""Powers of two and logarithms in numpy, one correctly rounded float32 operation at a time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import EXP2_C1, EXP2_C2, EXP2_C3, LOG2_C1, LOG2_C2, LOG2_C3
from llmzip.types import Float32Array

_E1, _E2, _E3, _L1, _L2, _L3 = map(
    np.float32, (EXP2_C1, EXP2_C2, EXP2_C3, LOG2_C1, LOG2_C2, LOG2_C3)
)
_ONE = np.float32(1)
_MANTISSA_BITS, _BIAS = 23, 127


def exp2(x: Float32Array) -> Float32Array:
    """2**x for float32 x in [-30, 30] (docs/arithmetic.md, section 1.3)."""
    whole = np.floor(x)
    r = x - whole
    y: Float32Array = ((_E3 * r + _E2) * r + _E1) * r + _ONE  # [1, 2]
    return (y.view(np.int32) + (whole.astype(np.int32) << _MANTISSA_BITS)).view(np.float32)


def log2(x: Float32Array) -> Float32Array:
    """The binary logarithm of normal positive float32 numbers (docs/arithmetic.md, section 1.5)."""
    bits = x.view(np.int32)
    exponent = ((bits >> _MANTISSA_BITS) - _BIAS).astype(np.float32)
    # [1, 2)
    mantissa = ((bits & ((1 << _MANTISSA_BITS) - 1)) | (_BIAS << _MANTISSA_BITS)).view(np.float32)
    r = mantissa - _ONE
    y: Float32Array = ((_L3 * r + _L2) * r + _L1) * r
    return exponent + y


def quotient(a: npt.NDArray[np.integer], b: npt.NDArray[np.integer]) -> Float32Array:
    """The quotient of the float32 numbers nearest to two integers."""
    numerator: Float32Array = a.astype(np.float32)
    numerator /= b.astype(np.float32)
    return numerator
