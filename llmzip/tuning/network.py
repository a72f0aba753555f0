"""The integer model as a trainable float network: the same rotations, the same roundings, gradients through both.

Base weights are frozen; a low-rank product B·A per matrix and a factor per norm gain are trained. The weights that
products use are made anew in each step as conversion makes them (docs/arithmetic.md, section 3): merged, rotated,
quantised by rows. Shapes: B sequences, T tokens of each, L layers, H heads, G key/value heads, D head size, r rank.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from llmzip.arithmetic.constants import ROPE_BITS
from llmzip.arithmetic.rope import inverse_frequencies, rope_table
from llmzip.model.adapter import Adapter, Factors
from llmzip.model.sources import FloatModel
from llmzip.tuning.quantisers import (
    factor,
    factor_integers,
    factor_step,
    normalised,
    quantised,
    rotated,
    rotation,
)

LAYER_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
LAYER_NORMS = ("attention_norm", "mlp_norm")
LORA_SCALE = 32.0
"""B·A is multiplied with this over the rank (arXiv 2106.09685, section 4.1), so that one rate fits all ranks."""


class Weights(NamedTuple):
    """A matrix as products use it."""

    integers: Tensor  # [..., N, K], in the type of products
    scales: Tensor  # [..., N] float32


class LayerWeights(NamedTuple):
    """What one layer multiplies with."""

    qkv: Weights
    o: Weights
    gate_up: Weights
    down: Weights


class LowRank(nn.Module):
    """B·A for one matrix, or for the same matrix of all layers."""

    def __init__(self, shape: tuple[int, ...], rank: int) -> None:
        """shape: [N, K] or [L, N, K]."""
        super().__init__()
        *many, rows, columns = shape
        self.b = nn.Parameter(torch.zeros(*many, rows, rank))
        self.a = nn.Parameter(torch.empty(*many, rank, columns).uniform_(-1, 1) / math.sqrt(columns))
        self.scale = LORA_SCALE / rank

    def sides(self) -> tuple[Tensor, Tensor]:
        """B and A as they will be stored, the scale with A."""
        return factor(self.b), factor(self.a * self.scale)

    def delta(self) -> Tensor:
        """[..., N, K]."""
        b, a = self.sides()
        return b @ a

    def stored(self, layer: int | None) -> tuple[Factors, Factors]:
        """The factors of one layer, for an adapter's file."""

        def side(x: Tensor) -> Factors:
            x = x.detach() if layer is None else x.detach()[layer]
            step = factor_step(x)
            return Factors(
                factor_integers(x, step).to(torch.int8).cpu().numpy(), step.squeeze(-1).to(torch.float32).cpu().numpy()
            )

        return side(self.b), side(self.a * self.scale)


class Network(nn.Module):
    """A model's logits under its exact arithmetic, differentiable in an adapter's numbers."""

    def __init__(self, source: FloatModel, rank: int, positions: int, dtype: torch.dtype = torch.float32) -> None:
        """Load the base weights.

        rank: of all products. positions: the longest sequence. dtype: of the operands of products; bfloat16 holds the
        integers exactly too.
        """
        super().__init__()
        spec = self.spec = source.spec
        self.rank, self.dtype = rank, dtype
        self.low_rank = nn.ModuleDict()
        self.gains = nn.ParameterDict()
        for part in LAYER_MATRICES + LAYER_NORMS:
            self._add(part, torch.stack([loaded(source, f"layers.{i}.{part}") for i in range(spec.layers)]))
        for part in ("embedding", "head", "norm"):
            self._add(part, loaded(source, part))
        table = rope_table(inverse_frequencies(source.rope_theta, spec.head_dim), min(positions, spec.max_positions))
        turns = torch.from_numpy(table).to(torch.float32) * 2.0**-ROPE_BITS  # [T, 2, D/2]
        self.register_buffer("cosine", turns[:, 0].contiguous(), persistent=False)
        self.register_buffer("sine", turns[:, 1].contiguous(), persistent=False)
        for name in ("model", "head", "mlp"):
            block = getattr(spec, f"{name}_rotation")
            self.register_buffer(f"turn_{name}", rotation(block, "cpu"), persistent=False)
        self.run_layer = self.layer  # a compiled one may take its place
        self.run_loss = self.token_losses

    def _add(self, name: str, weight: Tensor) -> None:
        self.register_buffer(f"base_{name}", weight.to(torch.float32), persistent=False)
        if name.endswith("norm"):
            self.gains[name] = nn.Parameter(torch.zeros_like(weight, dtype=torch.float32))
        else:
            self.low_rank[name] = LowRank(tuple(weight.shape), self.rank)

    def _merged(self, name: str) -> Tensor:
        """A matrix with its change: [..., N, K] float32."""
        return self.get_buffer(f"base_{name}") + self.low_rank[name].delta()

    def _gain(self, name: str) -> Tensor:
        """A norm's gains with their change: [..., d]; the change is a bfloat16 number, as it will be stored."""
        change = self.gains[name]
        change = change + (change.to(torch.bfloat16).to(torch.float32) - change).detach()
        return self.get_buffer(f"base_{name}") * (1.0 + change)

    def _weights(self, rows: Tensor) -> Weights:
        integers, scales = quantised(rows)
        return Weights(integers.to(self.dtype), scales.squeeze(-1))

    def weights(self) -> tuple[list[LayerWeights], Weights]:
        """All layers' weights and the head's, as conversion makes them."""
        model, head, mlp = self.turn_model, self.turn_head, self.turn_mlp
        attention, inner = self._gain("attention_norm")[:, None], self._gain("mlp_norm")[:, None]

        def output(rows: Tensor, matrix: Tensor) -> Tensor:  # rotate what comes out: [..., N, K]
            return rotated(rows.transpose(-1, -2), matrix).transpose(-1, -2)

        q, k = (rotated(self._merged(name) * attention, model) for name in "qk")
        v = rotated(output(self._merged("v") * attention, head), model)
        gate, up = (rotated(self._merged(name) * inner, model) for name in ("gate", "up"))
        stacks = (
            self._weights(torch.cat((q, k, v), dim=1)),
            self._weights(output(rotated(self._merged("o"), head), model)),
            self._weights(torch.cat((gate, up), dim=1)),
            self._weights(output(rotated(self._merged("down"), mlp), model)),
        )
        split = [(w.integers.unbind(0), w.scales.unbind(0)) for w in stacks]
        layers = [
            LayerWeights(*(Weights(integers[i], scales[i]) for integers, scales in split))
            for i in range(self.spec.layers)
        ]
        return layers, self._weights(rotated(self._merged("head") * self._gain("norm"), model))

    def embedded(self, ids: Tensor) -> Tensor:
        """[B, T] -> [B, T, d] float32, rotated and quantised as the embedding's rows are."""
        b, a = self.low_rank["embedding"].sides()
        rows = functional.embedding(ids, self.get_buffer("base_embedding")) + functional.embedding(ids, b) @ a
        integers, step = quantised(rotated(rows, self.turn_model))
        return integers * step

    def layer(self, x: Tensor, w: LayerWeights) -> Tensor:
        """One layer: [B, T, d] float32 -> [B, T, d]."""
        spec, (batch, length, _) = self.spec, x.shape
        heads, groups, size = spec.heads, spec.kv_heads, spec.head_dim
        q, s = normalised(x, spec.norm_eps)
        y = self._product(q, s, w.qkv).view(batch, length, heads + 2 * groups, size)
        turning, values = y.split((heads + groups, groups), dim=2)
        cosine, sine = self.cosine[:length, None], self.sine[:length, None]
        first, second = turning.chunk(2, dim=-1)
        turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
        turned, values = (self._as_stored(z).to(self.dtype).transpose(1, 2) for z in (turned, values))
        queries, keys = turned.split((heads, groups), dim=1)
        attended = functional.scaled_dot_product_attention(queries, keys, values, is_causal=True, enable_gqa=True)
        q, s = quantised(attended.transpose(1, 2).flatten(2).to(torch.float32))
        x = x + self._product(q, s, w.o)
        q, s = normalised(x, spec.norm_eps)
        gate, up = self._product(q, s, w.gate_up).chunk(2, dim=-1)
        inner = rotated((functional.silu(gate) * up).to(self.dtype), self.turn_mlp).to(torch.float32)
        q, s = quantised(inner)
        return x + self._product(q, s, w.down)

    def _product(self, q: Tensor, s: Tensor, w: Weights) -> Tensor:
        return functional.linear(q.to(self.dtype), w.integers).to(torch.float32) * s * w.scales

    @staticmethod
    def _as_stored(x: Tensor) -> Tensor:
        integers, step = quantised(x)
        return integers * step

    def token_losses(self, x: Tensor, targets: Tensor, head: Weights) -> Tensor:
        """Bits per token: [B, T, d], [B, T] -> [B, T]."""
        q, s = normalised(x, self.spec.norm_eps)
        logits = self._product(q, s, head)
        losses = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return losses.view(targets.shape) * (1.0 / math.log(2.0))

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Bits of each target behind the tokens before it: [B, T], [B, T] -> [B, T]."""
        layers, head = self.weights()
        x = self.embedded(ids)
        for w in layers:
            x = self.run_layer(x, w)
        return self.run_loss(x, targets, head)

    def adapter(self, base: str = "") -> Adapter:
        """What has been learned so far, as it is stored."""
        products, gains = {}, {}
        for i in range(self.spec.layers):
            for part in LAYER_MATRICES:
                products[f"layers.{i}.{part}"] = self.low_rank[part].stored(i)
            for part in LAYER_NORMS:
                gains[f"layers.{i}.{part}"] = _bfloat16(self.gains[part][i])
        for part in ("embedding", "head"):
            products[part] = self.low_rank[part].stored(None)
        gains["norm"] = _bfloat16(self.gains["norm"])
        return Adapter(products, gains, base)


def loaded(source: FloatModel, name: str) -> Tensor:
    """One tensor of the base, as float32."""
    return torch.from_numpy(np.array(source.tensor(name), np.float32))


def _bfloat16(x: Tensor) -> npt.NDArray[np.float32]:
    return x.detach().to(torch.bfloat16).to(torch.float32).cpu().numpy()
