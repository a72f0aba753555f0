"""Information capacity: compression gain per order of magnitude of compute (arXiv 2511.08066)."""

from __future__ import annotations

import dataclasses
import math

SAMPLE_TOKENS = 1024
"""Length of a sample, and the T at which FLOPs are counted."""

BIASES = {"mixed_text": -24.0, "Ch-FineWeb-Edu": -18.7}
"""The authors' b [bits/token] for files of that name, `.jsonl` there, or `.parquet`."""

DEFAULT_BIAS = -27.0
"""Their b for every other file."""


def bias(name: str) -> float:
    """The b that the authors' script takes for a file of that name; capacities compare only on one
    file, so b = 0 is always printed beside it.

    >>> bias("datasets/mixed_text.jsonl.gz"), bias("NextCoder.jsonl")
    (-24.0, -27.0)
    """
    endings = (".jsonl", ".parquet")
    return next(
        (b for file, b in BIASES.items() if any(file + ending in name for ending in endings)),
        DEFAULT_BIAS,
    )


@dataclasses.dataclass(frozen=True)
class Shape:
    """A decoder's shape, as far as its FLOPs depend on it."""

    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    vocab: int
    gated: bool = True
    """Whether the MLP has three matrices (SwiGLU) or two."""
    experts: int = 1
    """The number of experts of a mixture of experts, whose router costs FLOPs, too."""
    active_experts: int = 1
    """How many experts of width `d_ff` a token passes."""


def flops_per_token_paper(shape: Shape, length: int = SAMPLE_TOKENS) -> int:
    """N as the paper counts it: layers [4 d^2 + 4 d d_kv + 6 d d_ff + 2 n_h d_k (T-1)] + 2 d V with
    d_k = d / n_h.

    It ignores an explicit head size and counts three MLP matrices for every model.
    """
    d, d_k = shape.d_model, shape.d_model // shape.heads
    d_kv = shape.kv_heads * d_k
    mlp = 6 * d * shape.d_ff * shape.active_experts
    attention = 2 * shape.heads * d_k * (length - 1)
    return shape.layers * (4 * d * d + 4 * d * d_kv + mlp + attention) + 2 * d * shape.vocab


def flops_per_token_exact(shape: Shape, length: int = SAMPLE_TOKENS) -> int:
    """Multiplications and additions of all matrix products: the true head size, the MLP's own
    matrices, the router.

    A token at position t attends to t + 1 keys, so the mean over T positions is (T + 1) / 2 of
    them, at 4 FLOPs per element of a head.
    """
    d, inner, keys = shape.d_model, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    mlp = 2 * (3 if shape.gated else 2) * d * shape.d_ff * shape.active_experts
    router = 2 * d * shape.experts if shape.experts > 1 else 0
    attention = 2 * inner * (length + 1)
    return (
        shape.layers * (4 * d * inner + 4 * d * keys + mlp + router + attention)
        + 2 * d * shape.vocab
    )


def information_capacity(ts: float, nll: float, flops: float, b: float = 0.0) -> float:
    """IC = (TS - NLL + b) / log2(N), in bits/token per doubling of FLOPs.

    ts, nll, b: bits/token. flops: N, per token.

    >>> round(information_capacity(34.0, 4.0, 2.0**30), 3)
    1.0
    """
    return (ts - nll + b) / math.log2(flops)
