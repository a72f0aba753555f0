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

from llmzip.arithmetic.constants import BUCKET_SIZE, EXP2_MIN, WEIGHT_BITS
from llmzip.arithmetic.elementwise import exp2_, largest
from llmzip.arithmetic.gemm import Int8Kernel, select_float_type, select_int8_kernel
from llmzip.engine.torch_blocks import BlockBuilder
from llmzip.engine.torch_cache import RotatingKVCache
from llmzip.engine.torch_features import soft_cap
from llmzip.engine.torch_layers import RoPE
from llmzip.engine.torch_settings import own_settings
from llmzip.mixing.base import TOP_TOKENS
from llmzip.model.integer_model import IntegerModel


@dataclasses.dataclass(frozen=True)
class Passes:
    """The sizes of element-wise passes, in numbers: on a CPU few enough to stay in its cache."""

    scores: int = 1 << 18  # of attention
    weights: int = 1 << 19  # of tokens


_CUDA_PASSES = Passes(scores=1 << 23, weights=1 << 25)


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
            build = BlockBuilder(model, device, self.kernel, self.float_type, self._passes.scores)
            self.embedding = build.tensor("embedding.weight"), build.tensor("embedding.scale")
            self.positions = (
                (build.tensor("positions.weight"), build.tensor("positions.scale"))
                if self.spec.features.learned_positions
                else None
            )
            if build.ropes:
                self.rope = build.ropes[0]
            self.norm, self.rotation = build.norm, build.rotation
            self.blocks = [build.block(i) for i in range(self.spec.layers)]
            self.head = build.linear("head")
            self.head_bias = build.bias("head")
            self.head_cap = soft_cap(self.spec.features.logit_cap)

    def working(self) -> contextlib.AbstractContextManager[None]:
        """A context in which the host program's settings of torch have no effect."""
        return own_settings(self.device, self._threads)

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
