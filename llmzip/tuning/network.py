"""The integer model as a trainable float network: the same rotations, the same roundings, gradients
through both.

Trained are a low-rank product B·A beside each frozen matrix (or all numbers), and a factor per norm
gain. The weights that products use are made anew in each step as conversion makes them
(docs/arithmetic.md, section 3): merged, rotated, quantized by rows. Shapes: B sequences, T tokens
of each, L layers, H heads, G key/value heads, D head size, r rank.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from llmzip.arithmetic.constants import ROPE_BITS
from llmzip.arithmetic.rope import inverse_frequencies, rope_table
from llmzip.errors import UnsupportedModelError
from llmzip.model.adapter import Adapter
from llmzip.model.float_model import FloatModel
from llmzip.tuning.matrices import FullRank, LowRank, bfloat16_array
from llmzip.tuning.quantizers import as_bfloat16, normalized, quantized, rotated, rotation

LAYER_MATRICES = ("q", "k", "v", "o", "gate", "up", "down")
LAYER_NORMS = ("attention_norm", "mlp_norm")


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


class Network(nn.Module):
    """A model's logits under its exact arithmetic, differentiable in an adapter's numbers."""

    cosine: Tensor  # [positions, D/2]
    sine: Tensor
    turn_model: Tensor  # Hadamard matrices
    turn_head: Tensor
    turn_mlp: Tensor

    def __init__(
        self,
        source: FloatModel,
        rank: int | None,
        positions: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Load the base weights.

        rank: of all products; None trains all numbers instead. positions: the longest sequence.
        dtype: of the operands of products; bfloat16 holds the integers exactly too. Raises
        UnsupportedModelError for a decoder with features.
        """
        super().__init__()
        spec = self.spec = source.spec
        if not spec.is_plain:
            raise UnsupportedModelError("only plain Llama decoders can be tuned")
        self.rank, self.dtype = rank, dtype
        self.matrices = nn.ModuleDict()
        self.gains = nn.ParameterDict()
        for part in LAYER_MATRICES + LAYER_NORMS:
            self._add(
                part,
                torch.stack([loaded(source, f"layers.{i}.{part}") for i in range(spec.layers)]),
            )
        for part in ("embedding", "head", "norm"):
            self._add(part, loaded(source, part))
        table = rope_table(
            inverse_frequencies(source.rope_theta, spec.head_dim),
            min(positions, spec.max_positions),
        )
        turns = torch.from_numpy(table).to(torch.float32) * 2.0**-ROPE_BITS  # [T, 2, D/2]
        self.register_buffer("cosine", turns[:, 0].contiguous(), persistent=False)
        self.register_buffer("sine", turns[:, 1].contiguous(), persistent=False)
        for name in ("model", "head", "mlp"):
            block = getattr(spec, f"{name}_rotation")
            self.register_buffer(f"turn_{name}", rotation(block, "cpu"), persistent=False)
        # A compiled function may take its place.
        self.run_layer: Callable[[Tensor, LayerWeights], Tensor] = self.layer
        self.run_loss: Callable[[Tensor, Tensor, Weights], Tensor] = self.token_losses

    def _add(self, name: str, weight: Tensor) -> None:
        if name.endswith("norm"):
            self.register_buffer(f"base_{name}", weight, persistent=False)
            self.gains[name] = nn.Parameter(torch.zeros_like(weight))
        else:
            self.matrices[name] = (
                FullRank(weight) if self.rank is None else LowRank(weight, self.rank)
            )

    def _merged(self, name: str) -> Tensor:
        merged: Tensor = self.matrices[name].merged()  # type: ignore[operator]
        return merged

    def _gain(self, name: str) -> Tensor:
        """A norm's gains with their change: [..., d]; the change is a bfloat16 number, as it will
        be stored.
        """
        return self.get_buffer(f"base_{name}") * (1.0 + as_bfloat16(self.gains[name]))

    def _weights(self, rows: Tensor) -> Weights:
        integers, scales = quantized(rows)
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
        """[B, T] -> [B, T, d] float32, rotated and quantized as the embedding's rows are."""
        rows = self.matrices["embedding"].rows(ids)  # type: ignore[operator]
        integers, step = quantized(rotated(rows, self.turn_model))
        return integers * step

    def layer(self, x: Tensor, w: LayerWeights) -> Tensor:
        """One layer: [B, T, d] float32 -> [B, T, d]."""
        spec, (batch, length, _) = self.spec, x.shape
        heads, groups, size = spec.heads, spec.kv_heads, spec.head_dim
        q, s = normalized(x, spec.norm_eps)
        y = self._product(q, s, w.qkv).view(batch, length, heads + 2 * groups, size)
        turning, values = torch.split(y, [heads + groups, groups], dim=2)
        cosine, sine = self.cosine[:length, None], self.sine[:length, None]
        first, second = turning.chunk(2, dim=-1)
        turned = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
        turned, values = (
            self._as_stored(z).to(self.dtype).transpose(1, 2) for z in (turned, values)
        )
        queries, keys = torch.split(turned, [heads, groups], dim=1)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, enable_gqa=True
        )
        q, s = quantized(attended.transpose(1, 2).flatten(2).to(torch.float32))
        x = x + self._product(q, s, w.o)
        q, s = normalized(x, spec.norm_eps)
        gate, up = self._product(q, s, w.gate_up).chunk(2, dim=-1)
        inner = rotated((functional.silu(gate) * up).to(self.dtype), self.turn_mlp).to(
            torch.float32
        )
        q, s = quantized(inner)
        return x + self._product(q, s, w.down)

    def _product(self, q: Tensor, s: Tensor, w: Weights) -> Tensor:
        return functional.linear(q.to(self.dtype), w.integers).to(torch.float32) * s * w.scales

    @staticmethod
    def _as_stored(x: Tensor) -> Tensor:
        integers, step = quantized(x)
        return integers * step

    def token_losses(self, x: Tensor, targets: Tensor, head: Weights) -> Tensor:
        """Bits per token: [B, T, d], [B, T] -> [B, T]."""
        q, s = normalized(x, self.spec.norm_eps)
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
        """What has been learned so far, as it is stored. base: the digest of the base's file."""
        matrices: dict[str, Any] = {}
        gains = {"norm": bfloat16_array(self.gains["norm"])}
        for part in ("embedding", "head"):
            matrices[part] = self.matrices[part].stored(None)  # type: ignore[operator]
        for i in range(self.spec.layers):
            for part in LAYER_MATRICES:
                matrices[f"layers.{i}.{part}"] = self.matrices[part].stored(i)  # type: ignore[operator]
            for part in LAYER_NORMS:
                gains[f"layers.{i}.{part}"] = bfloat16_array(self.gains[part][i])
        if self.rank is None:
            return Adapter({}, gains, base, matrices)
        return Adapter(matrices, gains, base)

    @torch.no_grad()
    def start_from(self, adapter: Adapter) -> None:
        """Begin with what an adapter of the same base has learned. Raises LLMZipError where its
        rank is larger.
        """
        for name, (b, a) in adapter.products.items():
            layer, part = _place(name)
            self.matrices[part].start_from(layer, b, a)  # type: ignore[operator]
        for name, gain in adapter.gains.items():
            layer, part = _place(name)
            target = self.gains[part]
            (target if layer is None else target[layer]).copy_(torch.from_numpy(gain))


def _place(name: str) -> tuple[int | None, str]:
    """A tensor's layer and part: `layers.3.q` -> (3, `q`), `head` -> (None, `head`)."""
    if name.startswith("layers."):
        _, layer, part = name.split(".")
        return int(layer), part
    return None, name


def loaded(source: FloatModel, name: str) -> Tensor:
    """One tensor of the base, as float32."""
    return torch.from_numpy(np.array(source.tensor(name), np.float32))
