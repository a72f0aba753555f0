"""What decoders have beyond the plain Llama decoder, in torch (docs/arithmetic.md, sections 2.6 and
4.9): activations, biases, soft caps, norms of heads and of what is added.

Shapes as in `torch_layers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from llmzip.arithmetic.constants import (
    EXP2_MAX,
    EXP2_MIN,
    GELU_ERF_A,
    GELU_ERF_B,
    GELU_ERF_C,
    GELU_LIMIT,
    GELU_TANH_A,
    GELU_TANH_B,
    INT16_MAX,
    LOG2_E,
    NORM_MAX,
    WIDE_INNER_MAX,
)
from llmzip.arithmetic.elementwise import exp2_, round_to_range_
from llmzip.engine.torch_attention import HeadAttention
from llmzip.engine.torch_cache import LayerCache, View
from llmzip.engine.torch_layers import HadamardRotation, Linear
from llmzip.engine.torch_wide import (
    Limbs,
    NormedInput,
    UnnormedInput,
    limbs_,
    product,
    products,
    scaled,
)

GELU: dict[str, tuple[float, float, float]] = {
    "gelu_tanh": (GELU_TANH_A, GELU_TANH_B, 0.0),
    "gelu_erf": (GELU_ERF_A, GELU_ERF_B, GELU_ERF_C),
}
"""The coefficients of each form."""


@dataclasses.dataclass(frozen=True)
class SoftCap:
    """cap * tanh(x / cap), by the exact power of two."""

    cap: float

    def __call__(self, x: Tensor) -> Tensor:
        """Overwrites x, of any shape, and returns a new tensor."""
        steepness = 2.0 * LOG2_E / self.cap
        e = exp2_(x.mul_(steepness).clamp_(EXP2_MIN, EXP2_MAX)).add_(1.0)
        tanh = torch.full_like(e, 2.0).div_(e).neg_().add_(1.0)
        return tanh.mul_(self.cap)


def soft_cap(cap: float) -> SoftCap | None:
    """The cap of a specification; 0: none."""
    return SoftCap(cap) if cap else None


@dataclasses.dataclass(frozen=True)
class GainNorm:
    """Root-mean-square norm of float vectors, with its gain."""

    gain: Tensor  # [..., n] float32
    epsilon: Tensor  # [] float32

    def __call__(self, y: Tensor) -> Tensor:
        """[..., n] float32 -> the same, in place."""
        q, maximum = round_to_range_(y.clone(), NORM_MAX)
        squares = q.to(torch.int64).square_().sum(dim=-1, keepdim=True).to(torch.float32)
        inverse = torch.full_like(maximum, NORM_MAX).div_(maximum)
        root = squares.mul_(1.0 / y.shape[-1]).add_(inverse.square().mul_(self.epsilon))
        root = root.to(torch.float64).sqrt_().to(torch.float32)
        return y.mul_(inverse.div_(root)).mul_(self.gain)


@dataclasses.dataclass(frozen=True)
class PostNorm:
    """The norm of what attention or the MLP gives, before it is added to the rotated residual."""

    norm: GainNorm
    rotation: HadamardRotation

    def __call__(self, y: Tensor) -> Tensor:
        """[M, d] float32 -> [M, d] float32, rotated."""
        whole, maximum = round_to_range_(self.norm(y), INT16_MAX)
        return self.rotation(whole).mul_(maximum.mul_(1.0 / INT16_MAX))


@dataclasses.dataclass(frozen=True)
class HeadNorms:
    """The norms of queries and keys."""

    queries: GainNorm
    keys: GainNorm
    heads: int
    kv_heads: int
    head_dim: int
    together: bool
    """Whether all heads of a position are normalized as one vector."""

    def __call__(self, y: Tensor) -> None:
        """Normalizes the queries and keys of qkv rows [M, (H + 2G) * D] in place."""
        start = 0
        for norm, heads in ((self.queries, self.heads), (self.keys, self.kv_heads)):
            part = y[:, start : start + heads * self.head_dim]
            norm(part if self.together else part.view(len(y), heads, self.head_dim))
            start += heads * self.head_dim


@dataclasses.dataclass(frozen=True)
class FeaturedAttention(HeadAttention):
    """Attention with biases, norms of heads and capped scores."""

    bias: Tensor | None = None  # [(H + 2G) * D] float32
    norms: HeadNorms | None = None
    wide: bool = False
    """Whether the input of `o` has 16 bits."""

    def __call__(self, read: Limbs, cache: LayerCache, view: View) -> list[Tensor]:
        """Vectors of width d -> what is to be added, [M, d] float32 each."""
        y = product(self.qkv, read)
        if self.bias is not None:
            y.add_(self.bias)
        if self.norms is not None:
            self.norms(y)
        one = torch.ones(len(y), 1, dtype=torch.float32, device=y.device)
        return products(self.o, limbs_(self.attended(y, one, cache, view), self.wide))


@dataclasses.dataclass(frozen=True)
class FeaturedMLP:
    """The MLP with any activation, with or without a gate; gate and up are stacked."""

    gate_up: Linear
    down: Linear
    rotation: HadamardRotation
    bias: Tensor | None  # [2F] or [F] float32
    gated: bool
    gelu: tuple[float, float, float] | None
    """None: SiLU, whose gate's weight scale holds the factor -log2(e)."""
    wide: bool
    """Whether the input of `down` has 16 bits."""

    def __call__(self, read: Limbs, weight: Tensor | None = None) -> list[Tensor]:
        """As `FeaturedAttention`; weight: of each row [M, 1]."""
        y = product(self.gate_up, read)
        if self.bias is not None:
            y.add_(self.bias)
        gate, up = y.chunk(2, dim=-1) if self.gated else (y, None)
        e = exp2_(self._exponent(gate).clamp_(EXP2_MIN, EXP2_MAX)).add_(1.0)
        inner = (gate * up if up is not None else gate.clone()).div_(e)
        limit = WIDE_INNER_MAX if self.wide else INT16_MAX
        whole, maximum = round_to_range_(inner, limit)
        rotated = scaled(limbs_(self.rotation(whole), self.wide), maximum.mul_(1.0 / limit))
        return products(self.down, rotated if weight is None else scaled(rotated, weight))

    def _exponent(self, gate: Tensor) -> Tensor:
        if self.gelu is None:
            return gate.clone()
        a, b, c = self.gelu
        t = (gate * gate).clamp_(max=GELU_LIMIT)
        return (t * c).add_(b).mul_(t).add_(a).mul_(gate)


@dataclasses.dataclass(frozen=True)
class FeaturedBlock:
    """One layer of a decoder with features."""

    inputs: tuple[NormedInput | UnnormedInput, NormedInput | UnnormedInput]
    """Of attention and of the MLP."""
    attention: FeaturedAttention
    mlp: Callable[[Limbs], list[Tensor]]
    parallel: bool
    biases: tuple[Tensor | None, Tensor | None]  # of o and down, [d] float32
    post_norms: tuple[PostNorm, PostNorm] | None

    def __call__(self, x: Tensor, cache: LayerCache, view: View) -> None:
        """Adds to the residual vectors [M, d] what the layer gives."""
        read = self.inputs[0](x)
        self._add(x, self.attention(read, cache, view), 0)
        self._add(x, self.mlp(read if self.parallel else self.inputs[1](x)), 1)

    def _add(self, x: Tensor, given: list[Tensor], which: int) -> None:
        to = x if self.post_norms is None else torch.zeros_like(x)
        for y in given:
            to.add_(y)
        bias = self.biases[which]
        if bias is not None:
            to.add_(bias)
        if self.post_norms is not None:
            x.add_(self.post_norms[which](to))
