"""A model on a torch device: its layers, from token ids to head inputs and from those to token
weights.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from llmzip.arithmetic.constants import BUCKET_SIZE, EXP2_MIN, ROPE_BITS, WEIGHT_BITS
from llmzip.arithmetic.elementwise import exp2_, largest
from llmzip.arithmetic.gemm import Int8Kernel, select_float_type, select_int8_kernel
from llmzip.arithmetic.hadamard import matrix
from llmzip.engine.torch_attention import Attention
from llmzip.engine.torch_cache import LayerCache, RotatingKVCache, View
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
from llmzip.engine.torch_settings import own_settings
from llmzip.engine.torch_wide import NormedInput, UnnormedInput
from llmzip.mixing.base import TOP_TOKENS
from llmzip.model.features import NO_ROPE, rope_names
from llmzip.model.integer_model import IntegerModel


@dataclasses.dataclass(frozen=True)
class Passes:
    """The sizes of element-wise passes, in numbers: on a CPU few enough to stay in its cache."""

    scores: int = 1 << 18  # of attention
    weights: int = 1 << 19  # of tokens


_CUDA_PASSES = Passes(scores=1 << 23, weights=1 << 25)


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


class TorchTransformer:
    """A model's layers, and the settings of the process that they are computed in."""

    rope: RoPE
    """The first rotary table, where the model has one."""

    def __init__(
        self,
        model: IntegerModel,
        device: torch.device,
        kernel: Int8Kernel | None,
        threads: int | None,
    ) -> None:
        """Load the weights; arguments as for `TorchEngine`, the device with its index."""
        self.spec = model.spec
        self.device = device
        self._model = model
        self._threads = threads
        self._passes = _CUDA_PASSES if device.type == "cuda" else Passes()
        with self.working():
            self.kernel = kernel or select_int8_kernel(device)
            self.float_type = select_float_type(device)
            self.embedding = self._tensor("embedding.weight"), self._tensor("embedding.scale")
            self.positions = (
                (self._tensor("positions.weight"), self._tensor("positions.scale"))
                if self.spec.features.learned_positions
                else None
            )
            self.ropes = [
                RoPE(self._tensor(name).to(torch.float32) * 2.0**-ROPE_BITS)
                for name in rope_names(self.spec.features.rope_tables)
            ]
            if self.ropes:
                self.rope = self.ropes[0]
            self.norm = RMSNorm(
                self._number(self.spec.norm_eps), self._number(1.0 / self.spec.d_model)
            )
            self.rotation = self._hadamard_rotation(self.spec.mlp_rotation)
            self.blocks = [self._block(i) for i in range(self.spec.layers)]
            self.head = self._linear("head")
            self.head_bias = self._bias("head")
            self.head_cap = soft_cap(self.spec.features.logit_cap)

    def working(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the host program's settings of torch have no effect."""
        return own_settings(self.device, self._threads)

    def _tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self._model.tensors[name]).to(self.device)

    def _rows(self, name: str, number: int | None) -> Tensor:
        array = self._model.tensors[name]
        if number is not None:
            count = len(array) // self.spec.features.experts
            array = array[number * count : (number + 1) * count]
        return torch.from_numpy(array).to(self.device)

    def _number(self, number: float) -> Tensor:
        return torch.tensor(number, dtype=torch.float32, device=self.device)

    def _linear(self, *names: str, number: int | None = None) -> Linear:
        """The product of stacked tensors; number: of the expert whose rows of each are meant."""
        weight = torch.cat([self._rows(f"{name}.weight", number) for name in names])
        scale = torch.cat([self._rows(f"{name}.scale", number) for name in names])
        return Linear(self.kernel, self.kernel.prepare(weight), scale)

    def _hadamard_rotation(self, size: int, kind: torch.dtype | None = None) -> HadamardRotation:
        """kind: in which sums are exact; by default those below 2**24 must be."""
        outer = 1 << (size.bit_length() - 1) // 2
        a, b = (
            torch.from_numpy(matrix(n)).to(self.device, kind or self.float_type)
            for n in (outer, size // outer)
        )
        return HadamardRotation((a, b))

    def _vector(self, *names: str) -> Tensor | None:
        """Stacked biases or gains; zeros stand for those that are not there. None: none is."""
        tensors = self._model.tensors
        if not any(name in tensors for name in names):
            return None
        parts = [
            self._tensor(name)
            if name in tensors
            else torch.zeros_like(self._tensor(name.replace(".bias", ".scale")))
            for name in names
        ]
        return torch.cat(parts)

    def _block(self, layer: int) -> TransformerBlock | FeaturedBlock:
        spec, name = self.spec, f"layers.{layer}"
        if not spec.is_plain:
            return self._featured_block(layer)
        attention = Attention(
            qkv=self._linear(*(f"{name}.{part}" for part in "qkv")),
            o=self._linear(f"{name}.o"),
            rope=self.ropes[0],
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            float_type=self.float_type,
            max_scores=self._passes.scores,
        )
        gate_up, down = self._linear(f"{name}.gate", f"{name}.up"), self._linear(f"{name}.down")
        return TransformerBlock(self.norm, attention, MLP(gate_up, down, self.rotation))

    def _featured_block(self, layer: int) -> FeaturedBlock:
        spec, features, name = self.spec, self.spec.features, f"layers.{layer}"
        table, wide = features.rope_of(layer), features.wide_of(layer)
        attention = FeaturedAttention(
            qkv=self._linear(*(f"{name}.{part}" for part in "qkv")),
            o=self._linear(f"{name}.o"),
            rope=None if table == NO_ROPE else self.ropes[table],
            heads=spec.heads,
            kv_heads=spec.kv_heads,
            head_dim=spec.head_dim,
            float_type=self.float_type,
            max_scores=self._passes.scores,
            window=features.window_of(layer),
            cap=soft_cap(features.attention_cap),
            bias=self._bias(*(f"{name}.{part}" for part in "qkv")),
            norms=self._head_norms(name),
            wide="o" in wide,
            key_rotation=(
                self._hadamard_rotation(spec.key_rotation) if features.rotated_keys else None
            ),
        )
        if features.has_experts(layer):
            mlp: FeaturedMLP | Experts = self._experts(name)
        else:
            rotation = self.rotation
            if "down" in wide:
                rotation = self._hadamard_rotation(spec.mlp_rotation, torch.float64)
            mlp = self._featured_mlp(f"{name}.", rotation, wide="down" in wide)
        post_norms = None
        if features.post_norm:
            rotation = self._hadamard_rotation(spec.model_rotation)
            post_norms = (
                PostNorm(self._gain_norm(f"{name}.o.norm"), rotation),
                PostNorm(self._gain_norm(f"{name}.down.norm"), rotation),
            )
        return FeaturedBlock(
            inputs=(self._input("q" in wide), self._input("gate" in wide)),
            attention=attention,
            mlp=mlp,
            parallel=features.parallel,
            biases=(self._bias(f"{name}.o"), self._bias(f"{name}.down")),
            post_norms=post_norms,
        )

    def _input(self, wide: bool) -> NormedInput | UnnormedInput:
        pre_norm = self.spec.features.pre_norm
        return NormedInput(self.norm, wide) if pre_norm else UnnormedInput(wide)

    def _featured_mlp(
        self,
        prefix: str,
        rotation: HadamardRotation,
        number: int | None = None,
        wide: bool = False,
    ) -> FeaturedMLP:
        """An MLP by what its matrices' names begin with; number: of the expert."""
        features = self.spec.features
        inputs = [prefix + part for part in ("gate", "up")[: 1 + features.gated]]
        return FeaturedMLP(
            gate_up=self._linear(*inputs, number=number),
            down=self._linear(prefix + "down", number=number),
            rotation=rotation,
            bias=self._bias(*inputs),
            gated=features.gated,
            gelu=GELU.get(features.activation),
            wide=wide,
        )

    def _experts(self, name: str) -> Experts:
        spec, features = self.spec, self.spec.features
        rotation, shared = self._hadamard_rotation(spec.expert_rotation), None
        if features.shared_ff:
            of_shared = self._hadamard_rotation(spec.shared_rotation)
            router = self._linear(f"{name}.shared_router") if features.shared_weighted else None
            shared = SharedExpert(self._featured_mlp(f"{name}.shared_", of_shared), router)
        return Experts(
            Router(
                self._linear(f"{name}.router"), features.experts_used, features.experts_normalized
            ),
            tuple(
                self._featured_mlp(f"{name}.experts_", rotation, number)
                for number in range(features.experts)
            ),
            shared,
        )

    def _bias(self, *names: str) -> Tensor | None:
        """Stacked biases, zeros where one of the matrices has none; None where none has."""
        tensors = self._model.tensors
        if not any(f"{name}.bias" in tensors for name in names):
            return None
        zeros = (torch.zeros_like(self._tensor(f"{name}.scale")) for name in names)
        return torch.cat(
            [
                self._tensor(f"{name}.bias") if f"{name}.bias" in tensors else zero
                for name, zero in zip(names, zeros, strict=True)
            ]
        )

    def _gain_norm(self, name: str) -> GainNorm:
        return GainNorm(self._tensor(name), self._number(self.spec.norm_eps))

    def _head_norms(self, name: str) -> HeadNorms | None:
        spec = self.spec
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

    def embed(self, ids: Tensor) -> Tensor:
        """ids [M] int64 -> [M, d] float32."""
        table, scale = self.embedding
        return table[ids].to(torch.float32).mul_(scale[ids, None])

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        cache: RotatingKVCache,
        used: int,
        hides: bool,
        watch: Callable[[Tensor], None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """ids [S, T], positions [T] -> head inputs [M, d] int8, row scales [M, 1]; `used`, `hides`:
        see `RotatingKVCache`. watch: is shown the residual vectors [M, d] after each layer.

        Repeated with the same arguments it returns the same: recording a graph runs it twice.
        """
        view = cache.assign_slots(positions, used, hides)
        x = self.embed(ids.flatten())
        if self.positions is not None:
            table, scale = self.positions
            x.view(*ids.shape, -1).add_(
                table[positions].to(torch.float32).mul_(scale[positions, None])
            )
        for i, block in enumerate(self.blocks):
            block(x, cache.layer(i, len(ids)), view)
            if watch:
                watch(x)
        return self.norm(x)

    def predict(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Head inputs [M, d] int8, [M, 1] -> token weights [M, B, 256] int32, sums [M, B], most
        likely tokens [M, n].
        """
        vocab = self.spec.vocab
        weights = torch.zeros(
            len(x), -(-vocab // BUCKET_SIZE) * BUCKET_SIZE, dtype=torch.int32, device=x.device
        )
        top = torch.empty(len(x), min(TOP_TOKENS, vocab), dtype=torch.int64, device=x.device)
        rows = max(1, self._passes.weights // vocab)
        finished = self.head_bias is not None or self.head_cap is not None
        for start in range(0, len(x), rows):
            span = slice(start, start + rows)
            z = self.head(x[span])
            if finished:
                z = self._finished(z.mul_(scale[span]))
            top[span] = largest(z, top.shape[1])
            if not finished:
                z.mul_(scale[span])
            z.sub_(z.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
            weights[span, :vocab] = exp2_(z).mul_(2.0**WEIGHT_BITS).to(torch.int32)
        weights = weights.view(len(x), -1, BUCKET_SIZE)
        return weights, weights.sum(dim=-1), top

    def _finished(self, z: Tensor) -> Tensor:
        """Logits with bias and cap."""
        if self.head_bias is not None:
            z.add_(self.head_bias)
        return z if self.head_cap is None else self.head_cap(z)

    def put(self, *arrays: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> list[Tensor]:
        """Copies of arrays on the device: numpy may give a single row the stride 0, with which
        torch._int_mm is wrong.
        """
        return [torch.from_numpy(np.array(array, order="C")).to(self.device) for array in arrays]
