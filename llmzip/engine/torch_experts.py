"""Mixtures of experts in torch (docs/arithmetic.md, section 4.9): the router, its weights, and the
experts that it chooses.

Shapes as in `torch_layers`; E experts, of which each row passes K.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from llmzip.arithmetic.constants import EXP2_MIN, ROUTING_BITS, WEIGHT_BITS
from llmzip.arithmetic.elementwise import exp2_, largest
from llmzip.engine.torch_features import FeaturedMLP
from llmzip.engine.torch_layers import Linear
from llmzip.engine.torch_wide import Limbs


@dataclasses.dataclass(frozen=True)
class Router:
    """Which experts a row passes, and with which weights."""

    product: Linear
    used: int
    normalized: bool
    """Whether the weights of the chosen add up to 1, rather than those of all."""

    def __call__(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        """[M, d] int8, row scales [M, 1] -> experts [M, K] int64, weights [M, K] float32."""
        y = self.product(x)
        chosen = largest(y, self.used)
        parts = _softmax_parts(y.mul_(scale))
        of_chosen = parts.gather(1, chosen)
        total = (of_chosen if self.normalized else parts).sum(dim=-1, keepdim=True)
        return chosen, _weights(of_chosen, total)


@dataclasses.dataclass(frozen=True)
class SharedExpert:
    """The expert that every row passes."""

    mlp: FeaturedMLP
    router: Linear | None
    """Gives its weight; None: the weight is 1."""

    def __call__(self, x: Tensor, scale: Tensor) -> Tensor:
        """[M, d] int8, row scales [M, 1] -> [M, d] float32."""
        weight = None
        if self.router is not None:
            t = self.router(x).mul_(scale)
            parts = _softmax_parts(torch.cat([t, torch.zeros_like(t)], dim=-1))
            weight = _weights(parts[:, :1], parts.sum(dim=-1, keepdim=True))
        (z,) = self.mlp([(x, scale)], weight)
        return z


@dataclasses.dataclass(frozen=True)
class Experts:
    """All experts of a layer. Which of them compute is decided by the rows: this waits for the
    device.
    """

    router: Router
    experts: tuple[FeaturedMLP, ...]
    shared: SharedExpert | None

    def __call__(self, read: Limbs) -> list[Tensor]:
        """int8 [M, d] and row scales [M, 1] -> what is to be added, [M, d] float32."""
        ((x, scale),) = read
        chosen, weights = self.router(x, scale)
        z = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
        for number in sorted({*chosen.flatten().tolist()}):
            rows, place = (chosen == number).nonzero(as_tuple=True)
            weight = weights[rows, place][:, None]
            (own,) = self.experts[number]([(x[rows], scale[rows])], weight)
            z[rows] += own
        return [z if self.shared is None else z.add_(self.shared(x, scale))]


def _softmax_parts(t: Tensor) -> Tensor:
    """Powers of two as token weights have them: [M, E] float32, overwritten -> [M, E] int64."""
    t.sub_(t.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
    return exp2_(t).mul_(2.0**WEIGHT_BITS).to(torch.int64)


def _weights(parts: Tensor, total: Tensor) -> Tensor:
    """Shares of a total, rounded to 2**-14."""
    shares = parts.to(torch.float32).div_(total.to(torch.float32))
    return shares.mul_(2.0**ROUTING_BITS).round_().mul_(2.0**-ROUTING_BITS)
