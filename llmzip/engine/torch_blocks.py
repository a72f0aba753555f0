"""The blocks of a model on a torch device, built from the tensors of the integer model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from llmzip.arithmetic.constants import ROPE_BITS
from llmzip.arithmetic.gemm import Int8Kernel
from llmzip.arithmetic.hadamard import matrix
from llmzip.engine.torch_attention import Attention
from llmzip.engine.torch_cache import LayerCache, View
from llmzip.engine.torch_experts import Experts, Router, SharedExpert
from llmzip.engine.torch_features import (
    GELU,
    FeaturedAttention,
    FeaturedBlock,
    FeaturedMLP,
    GainNorm,
    HeadNorms,
    PostNorm,
    soft_cap,
)
from llmzip.engine.torch_layers import MLP, HadamardRotation, Linear, RMSNorm, RoPE
from llmzip.engine.torch_wide import NormedInput, UnnormedInput
from llmzip.model.features import NO_ROPE, rope_names
from llmzip.model.integer_model import IntegerModel


@dataclasses.dataclass(frozen=True)
class TransformerBlock:
    """Attention and the MLP, each of a normed input and added to the residual stream."""

    norm: RMSNorm
    attention: Attention
    mlp: MLP

    def __call__(self, x: Tensor, cache: LayerCache, view: View) -> None:
        """Adds to the residual vectors [M, d] what the layer gives."""
        x.add_(self.attention(*self.norm(x), cache, view))
        x.add_(self.mlp(*self.norm(x)))


class BlockBuilder:
    """Puts the tensors of one model on a device, and builds its layers of them."""

    def __init__(
        self,
        model: IntegerModel,
        device: torch.device,
        kernel: Int8Kernel,
        float_type: torch.dtype,
        max_scores: int,
    ) -> None:
        """kernel: of integer products. float_type: in which sums below 2**24 are exact.
        max_scores: of attention, in one element-wise pass.
        """
        self._model = model
        self._spec = model.spec
        self._device = device
        self._kernel = kernel
        self._float_type = float_type
        self._max_scores = max_scores
        self.ropes: Sequence[RoPE] = [
            RoPE(self.tensor(name).to(torch.float32) * 2.0**-ROPE_BITS)
            for name in rope_names(self._spec.features.rope_tables)
        ]
        """The rotary tables."""
        self.norm = RMSNorm(self.number(self._spec.norm_eps), self.number(1.0 / self._spec.d_model))
        """The norm of all layers, whose gains are in the matrices behind it."""
        self.rotation = self.hadamard_rotation(self._spec.mlp_rotation)
        """Of what an MLP's last matrix reads."""

    def tensor(self, name: str) -> Tensor:
        """One of the model's arrays, as it is."""
        return torch.from_numpy(self._model.tensors[name]).to(self._device)

    def _rows(self, name: str, number: int | None) -> Tensor:
        array = self._model.tensors[name]
        if number is not None:
            count = len(array) // self._spec.features.experts
            array = array[number * count : (number + 1) * count]
        return torch.from_numpy(array).to(self._device)

    def number(self, number: float) -> Tensor:
        """A single float32."""
        return torch.tensor(number, dtype=torch.float32, device=self._device)

    def linear(self, *names: str, number: int | None = None) -> Linear:
        """The product of stacked tensors; number: of the expert whose rows of each are meant."""
        weight = torch.cat([self._rows(f"{name}.weight", number) for name in names])
        scale = torch.cat([self._rows(f"{name}.scale", number) for name in names])
        return Linear(self._kernel, self._kernel.prepare(weight), scale)

    def hadamard_rotation(self, size: int, kind: torch.dtype | None = None) -> HadamardRotation:
        """The product with the Hadamard matrix of this size. kind: in which sums are exact; by
        default those below 2**24 must be.
        """
        outer = 1 << (size.bit_length() - 1) // 2
        a, b = (
            torch.from_numpy(matrix(n)).to(self._device, kind or self._float_type)
            for n in (outer, size // outer)
        )
        return HadamardRotation((a, b))

    def block(self, layer: int) -> TransformerBlock | FeaturedBlock:
        """A layer of the model."""
        spec, name = self._spec, f"layers.{layer}"
        if not spec.is_plain:
            return self._featured_block(layer)
        attention = Attention(
            qkv=self.linear(*(f"{name}.{part}" for part in "qkv")),
            o=self.linear(f"{name}.o"),
            rope=self.ropes[0],
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            float_type=self._float_type,
            max_scores=self._max_scores,
        )
        gate_up, down = self.linear(f"{name}.gate", f"{name}.up"), self.linear(f"{name}.down")
        return TransformerBlock(self.norm, attention, MLP(gate_up, down, self.rotation))

    def _featured_block(self, layer: int) -> FeaturedBlock:
        spec, features, name = self._spec, self._spec.features, f"layers.{layer}"
        table, wide = features.rope_of(layer), features.wide_of(layer)
        attention = FeaturedAttention(
            qkv=self.linear(*(f"{name}.{part}" for part in "qkv")),
            o=self.linear(f"{name}.o"),
            rope=None if table == NO_ROPE else self.ropes[table],
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            float_type=self._float_type,
            max_scores=self._max_scores,
            window=features.window_of(layer),
            cap=soft_cap(features.attention_cap),
            bias=self.bias(*(f"{name}.{part}" for part in "qkv")),
            norms=self._head_norms(name),
            wide="o" in wide,
            key_rotation=(
                self.hadamard_rotation(spec.key_rotation) if features.rotated_keys else None
            ),
        )
        if features.has_experts(layer):
            mlp: FeaturedMLP | Experts = self._experts(name)
        else:
            rotation = self.rotation
            if "down" in wide:
                rotation = self.hadamard_rotation(spec.mlp_rotation, torch.float64)
            mlp = self._featured_mlp(f"{name}.", rotation, wide="down" in wide)
        post_norms = None
        if features.post_norm:
            rotation = self.hadamard_rotation(spec.model_rotation)
            post_norms = (
                PostNorm(self._gain_norm(f"{name}.o.norm"), rotation),
                PostNorm(self._gain_norm(f"{name}.down.norm"), rotation),
            )
        return FeaturedBlock(
            inputs=(self._input("q" in wide), self._input("gate" in wide)),
            attention=attention,
            mlp=mlp,
            parallel=features.parallel,
            biases=(self.bias(f"{name}.o"), self.bias(f"{name}.down")),
            post_norms=post_norms,
        )

    def _input(self, wide: bool) -> NormedInput | UnnormedInput:
        pre_norm = self._spec.features.pre_norm
        return NormedInput(self.norm, wide) if pre_norm else UnnormedInput(wide)

    def _featured_mlp(
        self,
        prefix: str,
        rotation: HadamardRotation,
        number: int | None = None,
        wide: bool = False,
    ) -> FeaturedMLP:
        """An MLP by what its matrices' names begin with; number: of the expert."""
        features = self._spec.features
        inputs = [prefix + part for part in ("gate", "up")[: 1 + features.gated]]
        return FeaturedMLP(
            gate_up=self.linear(*inputs, number=number),
            down=self.linear(prefix + "down", number=number),
            rotation=rotation,
            bias=self.bias(*inputs),
            gated=features.gated,
            gelu=GELU.get(features.activation),
            wide=wide,
        )

    def _experts(self, name: str) -> Experts:
        spec, features = self._spec, self._spec.features
        rotation, shared = self.hadamard_rotation(spec.expert_rotation), None
        if features.shared_ff:
            of_shared = self.hadamard_rotation(spec.shared_rotation)
            router = self.linear(f"{name}.shared_router") if features.shared_weighted else None
            shared = SharedExpert(self._featured_mlp(f"{name}.shared_", of_shared), router)
        return Experts(
            Router(
                self.linear(f"{name}.router"), features.experts_used, features.experts_normalized
            ),
            tuple(
                self._featured_mlp(f"{name}.experts_", rotation, number)
                for number in range(features.experts)
            ),
            shared,
        )

    def bias(self, *names: str) -> Tensor | None:
        """Stacked biases, zeros where one of the matrices has none; None where none has."""
        tensors = self._model.tensors
        if not any(f"{name}.bias" in tensors for name in names):
            return None
        zeros = (torch.zeros_like(self.tensor(f"{name}.scale")) for name in names)
        return torch.cat(
            [
                self.tensor(f"{name}.bias") if f"{name}.bias" in tensors else zero
                for name, zero in zip(names, zeros, strict=True)
            ]
        )

    def _gain_norm(self, name: str) -> GainNorm:
        return GainNorm(self.tensor(name), self.number(self._spec.norm_eps))

    def _head_norms(self, name: str) -> HeadNorms | None:
        spec = self._spec
        if spec.features.head_norm == "none":
            return None
        return HeadNorms(
            queries=self._gain_norm(f"{name}.q.norm"),
            keys=self._gain_norm(f"{name}.k.norm"),
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            together=spec.features.head_norm == "all",
        )
