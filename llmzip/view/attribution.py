"""Which expert of the mixer saved how many bits of a token."""

from __future__ import annotations

import numpy as np

from llmzip.mixing.mixer import MAX_BITS
from llmzip.types import BoolArray, Float64Array, IdArray, Int64Array

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_NODES, _WEIGHTS = (_NODES + 1) / 2, _WEIGHTS / 2  # on 0 to 1


def saved_bits(
    weights: IdArray,
    corrected: Int64Array,
    totals: Int64Array,
    evidence: Float64Array,
    observed: BoolArray,
    observed_weights: Float64Array,
) -> Float64Array:
    """How many bits each expert saved of A observed tokens; negative where it cost some: [A, E].

    weights, corrected: of the candidates, by the model and by the mixer, [A, C], 0 where there is
    none. totals: the sums of the model's weights, [A]. evidence: of each candidate by each expert
    [bits], [A, C, E]. observed: which candidate is the observed token, [A, C]; none where the token
    is no candidate. observed_weights: the model's weight of it, [A].

    Evidence for one token is evidence against all others, and it counts less where the token is
    nearly certain already, so parts are not evidence. Let all evidence grow together from nothing
    to what it is: each expert gets the change of the code length that its own growth makes along
    the way (integrated gradients: Sundararajan, Taly and Yan 2017, section 3; Aumann and Shapley
    1974). The parts of a token add up to what mixing saved of it.
    """
    model_weights = weights.astype(np.float64)
    bits = evidence.sum(axis=2)  # [A, C]
    bounded = np.clip(bits, -MAX_BITS, MAX_BITS)
    scale = np.divide(bounded, bits, out=np.ones_like(bits), where=bits != 0)
    evidence = evidence * scale[:, :, None]
    rest = np.maximum(totals - model_weights.sum(axis=1), 0)  # of the tokens that are no candidates
    start = np.maximum(model_weights, 1) * (corrected > 0)  # what rounds to 0 has no part
    grown = start[:, :, None] * np.exp2(bounded[:, :, None] * _NODES)  # [A, C, nodes]
    shares = grown / (grown.sum(axis=1) + rest[:, None])[:, None, :] @ _WEIGHTS  # [A, C]
    parts: Float64Array = np.einsum("ac,ace->ae", observed - shares, evidence)
    return _adding_up(parts, mixing_gain(weights, corrected, totals, observed, observed_weights))


def mixing_gain(
    weights: IdArray,
    corrected: Int64Array,
    totals: Int64Array,
    observed: BoolArray,
    observed_weights: Float64Array,
) -> Float64Array:
    """How many bits shorter the corrected weights make the observed tokens: [A]; arguments as of
    `saved_bits`.
    """
    after = np.where(observed.any(axis=1), (corrected * observed).sum(axis=1), observed_weights)
    corrected_totals = totals + (corrected - weights.astype(np.int64)).sum(axis=1)
    gain: Float64Array = np.log2(np.maximum(after, 1) / np.maximum(observed_weights, 1)) - np.log2(
        np.maximum(corrected_totals, 1) / totals
    )
    return gain


def _adding_up(parts: Float64Array, sums: Float64Array) -> Float64Array:
    """Parts [A, E] with these sums [A]: what rounding and the integral left is spread over them."""
    sizes = np.abs(parts)
    all_sizes = sizes.sum(axis=1, keepdims=True)
    shares = np.divide(sizes, all_sizes, out=np.zeros_like(sizes), where=all_sizes > 0)
    whole: Float64Array = parts + shares * (sums - parts.sum(axis=1))[:, None]
    return whole
