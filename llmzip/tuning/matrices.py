"""What is trained of a matrix: a low-rank product beside its frozen numbers (LoRA, arXiv
2106.09685), or all of them.

A module serves one matrix [N, K], or the same matrix of all layers [L, N, K]. What it returns has
been rounded as it will be stored.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from llmzip.errors import LLMZipError
from llmzip.model.adapter import Factors
from llmzip.tuning.quantizers import as_bfloat16, factor, factor_integers, factor_step

LORA_SCALE = 32.0
"""B·A is multiplied with this over the rank (arXiv 2106.09685, section 4.1), so that one rate fits
all ranks.
"""


class LowRank(nn.Module):
    """B·A beside one matrix, or beside the same matrix of all layers."""

    def __init__(self, base: Tensor, rank: int) -> None:
        """base: [N, K] or [L, N, K]."""
        super().__init__()
        *many, rows, columns = base.shape
        self.register_buffer("base", base, persistent=False)
        self.b = nn.Parameter(torch.zeros(*many, rows, rank))
        self.a = nn.Parameter(
            torch.empty(*many, rank, columns).uniform_(-1, 1) / math.sqrt(columns)
        )
        self.scale = LORA_SCALE / rank

    def _sides(self) -> tuple[Tensor, Tensor]:
        """B and A as they will be stored, the scale with A."""
        return factor(self.b), factor(self.a * self.scale)

    def merged(self) -> Tensor:
        """The matrix with its change: [..., N, K]."""
        b, a = self._sides()
        return self.get_buffer("base") + b @ a

    def rows(self, ids: Tensor) -> Tensor:
        """Some rows of the matrix: [...] -> [..., K]."""
        b, a = self._sides()
        return functional.embedding(ids, self.get_buffer("base")) + functional.embedding(ids, b) @ a

    def stored(self, layer: int | None) -> tuple[Factors, Factors]:
        """The factors of one layer, or of the one matrix, for an adapter's file."""

        def side(x: Tensor) -> Factors:
            x = x.detach() if layer is None else x.detach()[layer]
            step = factor_step(x)
            integers = factor_integers(x, step).to(torch.int8)
            return Factors(integers.cpu().numpy(), step.squeeze(-1).cpu().numpy())

        return side(self.b), side(self.a * self.scale)

    @torch.no_grad()
    def start_from(self, layer: int | None, b: Factors, a: Factors) -> None:
        """Take over the factors of one layer, or of the one matrix; a smaller rank leaves the
        others as they are.
        """
        rank = len(a.scales)
        if rank > self.a.shape[-2]:
            raise LLMZipError(
                f"the base comes with an adapter of rank {rank}, "
                f"and rank {self.a.shape[-2]} cannot hold it; "
                f"choose rank {rank} or more, or a base without an adapter"
            )
        mine_b, mine_a = (x if layer is None else x[layer] for x in (self.b, self.a))
        mine_b[:, :rank] = torch.from_numpy(b.values())
        mine_a[:rank] = torch.from_numpy(a.values() / self.scale)


class FullRank(nn.Module):
    """All numbers of one matrix, or of the same matrix of all layers, as bfloat16 numbers."""

    def __init__(self, base: Tensor) -> None:
        """base: where they start, [N, K] or [L, N, K]."""
        super().__init__()
        self.weight = nn.Parameter(base.clone())

    def merged(self) -> Tensor:
        """The matrix as it will be stored: [..., N, K]."""
        return as_bfloat16(self.weight)

    def rows(self, ids: Tensor) -> Tensor:
        """Some rows of the matrix: [...] -> [..., K]."""
        return as_bfloat16(functional.embedding(ids, self.weight))

    @torch.no_grad()
    def start_from(self, layer: int | None, b: Factors, a: Factors) -> None:
        """Add a product to one layer's matrix, or to the one matrix."""
        mine = self.weight if layer is None else self.weight[layer]
        mine += torch.from_numpy(b.values() @ a.values()).to(mine.dtype)

    def stored(self, layer: int | None) -> npt.NDArray[np.float32]:
        """One layer's matrix, or the one matrix."""
        return bfloat16_array(self.weight if layer is None else self.weight[layer])


def bfloat16_array(x: Tensor) -> npt.NDArray[np.float32]:
    """The nearest bfloat16 numbers, as an adapter takes them."""
    return x.detach().to(torch.bfloat16).to(torch.float32).cpu().numpy()
