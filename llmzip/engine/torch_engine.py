"""The reference engine: docs/arithmetic.md in torch, on any device, readable before fast.

This module holds the weights, the products, and what leads from head inputs to token weights; `torch_session` the cache and
attention; `torch_graph` what makes steps quick on CUDA. Shapes: M rows, each a token of a stream; K, N inputs and outputs.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.constants import (
    BUCKET_SIZE,
    EXP2_MAX,
    EXP2_MIN,
    INT8_MAX,
    INT16_MAX,
    ROPE_BITS,
    WEIGHT_BITS,
)
from llmzip.arithmetic.elementwise import exp2_, largest, quantize_, round_to_range_
from llmzip.arithmetic.gemm import Int8Kernel, select_float_type, select_int8_kernel
from llmzip.arithmetic.hadamard import matrix
from llmzip.engine.base import Batches
from llmzip.engine.torch_distributions import TorchDistributions
from llmzip.engine.torch_graph import Replay
from llmzip.engine.torch_session import TorchSession
from llmzip.engine.torch_settings import own_settings
from llmzip.mixing.base import TOP_TOKENS
from llmzip.mixing.reference import ReferenceContextMixer
from llmzip.model.integer_model import IntegerModel


@dataclasses.dataclass(frozen=True)
class Passes:
    """How many numbers element-wise passes work on at a time: on a CPU so few that they stay in the cache."""

    scores: int = 1 << 18  # of attention
    weights: int = 1 << 19  # of tokens


_CUDA_PASSES = Passes(scores=1 << 23, weights=1 << 25)
_CUDA_BATCHES = Batches(encode=2048, tables=128)


@dataclasses.dataclass(frozen=True)
class Linear:
    """int8 weights in a kernel's layout, and their scales."""

    kernel: Int8Kernel
    weight: Tensor
    scale: Tensor  # [N] float32

    def __call__(self, x: Tensor) -> Tensor:
        """[M, K] int8 -> [M, N] float32: sum * scale; the row's own scale is left to the caller."""
        return self.kernel.multiply(x, self.weight, len(self.scale)).mul_(self.scale)


@dataclasses.dataclass(frozen=True)
class Layer:
    """The products of one layer; q, k, v and gate, up are stacked because they share their input."""

    qkv: Linear
    o: Linear
    gate_up: Linear
    down: Linear


class TorchEngine:
    """A model on a torch device."""

    def __init__(
        self,
        model: IntegerModel,
        device: str = "cpu",
        kernel: Int8Kernel | None = None,
        replays: bool | None = None,
        threads: int | None = None,
    ) -> None:
        """Load the weights.

        kernel: instead of the one that the self-test would select (tests use it).
        replays: whether a decoder's steps have fixed shapes and are replayed (`torch_graph`); by default on CUDA.
        threads: how many compute on a CPU; by default as many as torch is told to.
        """
        self.model = model
        self.device = torch.device(device)
        on_cuda = self.device.type == "cuda"
        if on_cuda and self.device.index is None:
            self.device = torch.device("cuda", torch.cuda.current_device())
        self.threads = threads
        self.batches = _CUDA_BATCHES if on_cuda else Batches()
        self.passes = _CUDA_PASSES if on_cuda else Passes()
        self.replays = on_cuda if replays is None else replays
        self._head_replay = Replay(self.device)
        spec, tensors = model.spec, model.tensors
        with self.working():
            kernel = kernel or select_int8_kernel(self.device)
            self.float_type = select_float_type(self.device)
            self.kernel = kernel

            def put(name: str) -> Tensor:
                return torch.from_numpy(tensors[name]).to(self.device)

            def linear(*names: str) -> Linear:
                weight = torch.cat([put(f"{name}.weight") for name in names])
                return Linear(kernel, kernel.prepare(weight), torch.cat([put(f"{name}.scale") for name in names]))

            self.embedding = put("embedding.weight"), put("embedding.scale")
            self.layers = [
                Layer(
                    qkv=linear(*(f"layers.{i}.{part}" for part in "qkv")),
                    o=linear(f"layers.{i}.o"),
                    gate_up=linear(f"layers.{i}.gate", f"layers.{i}.up"),
                    down=linear(f"layers.{i}.down"),
                )
                for i in range(spec.layers)
            ]
            self.head = linear("head")
            self.rope = put("rope").to(torch.float32) * 2.0**-ROPE_BITS  # [P, 2, D/2]
            # H_ab is the Kronecker product of H_a and H_b: two small products do for one large.
            outer = 1 << (spec.mlp_rotation.bit_length() - 1) // 2
            self.mlp_rotation = tuple(
                torch.from_numpy(matrix(block)).to(self.device, self.float_type)
                for block in (outer, spec.mlp_rotation // outer)
            )
            self.norm_eps = torch.tensor(spec.norm_eps, dtype=torch.float32, device=self.device)
            self.inverse_width = torch.tensor(1.0 / spec.d_model, dtype=torch.float32, device=self.device)

    def working(self) -> contextlib.AbstractContextManager[None]:
        """In here the host program's settings change nothing."""
        return own_settings(self.device, self.threads)

    def session(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Engine.session`."""
        return TorchSession(self, streams, window, chunk)

    def token_weights(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """See `Engine.token_weights`."""
        with self.working():
            weights: npt.NDArray[np.int32] = self._predict(vectors, scales)[0].flatten(1).cpu().numpy()
        return weights[:, : self.model.spec.vocab]

    def distributions(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> TorchDistributions:
        """See `Engine.distributions`."""
        with self.working():
            return TorchDistributions(self.working, *self._predict(vectors, scales))

    def mixer(self, capacity_bits: int) -> ReferenceContextMixer:
        """See `Engine.mixer`."""
        spec = self.model.spec
        return ReferenceContextMixer(capacity_bits, spec.d_model, spec.vocab, spec.start_token)

    def _predict(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> tuple[Tensor, Tensor, Tensor]:
        """Head inputs to the arguments of `TorchDistributions`; called in `working`."""
        # A copy, because numpy may give a single row the stride 0, with which torch._int_mm returns garbage.
        x = torch.from_numpy(np.array(vectors, order="C")).to(self.device)
        s = torch.from_numpy(np.array(scales, order="C")).to(self.device)[:, None]
        weights, sums, top = self._head_replay("head", self._head, x, s) if self.replays else self._head(x, s)
        return weights, sums, top

    def _head(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[M, d] int8, [M, 1] -> token weights [M, B, 256] int32, their sums [M, B], the likeliest tokens [M, n]."""
        vocab = self.model.spec.vocab
        weights = torch.zeros(len(x), -(-vocab // BUCKET_SIZE) * BUCKET_SIZE, dtype=torch.int32, device=x.device)
        top = torch.empty(len(x), min(TOP_TOKENS, vocab), dtype=torch.int64, device=x.device)
        rows = max(1, self.passes.weights // vocab)
        for start in range(0, len(x), rows):
            part = slice(start, start + rows)
            z = self.head(x[part])
            top[part] = largest(z, top.shape[1])
            z.mul_(s[part])
            z.sub_(z.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
            weights[part, :vocab] = exp2_(z).mul_(2.0**WEIGHT_BITS).to(torch.int32)
        weights = weights.view(len(x), -1, BUCKET_SIZE)
        return weights, weights.sum(dim=-1), top

    def normalize(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RMS norm and quantization in one: [M, d] float32 -> [M, d] int8, row scales [M, 1] float32."""
        q, maximum = quantize_(x.clone())
        squares = q.to(torch.int32).square_().sum(dim=-1, keepdim=True).to(torch.float32)
        inverse = torch.full_like(maximum, INT8_MAX).div_(maximum)
        epsilon = inverse.square_().mul_(self.norm_eps)
        # By way of float64, which gives the nearest float32: torch's own float32 root on CPUs (MKL) often does not.
        root = squares.mul_(self.inverse_width).add_(epsilon).to(torch.float64).sqrt_().to(torch.float32)
        return q, torch.ones_like(root).div_(root)

    def mlp(self, layer: Layer, x: Tensor, scale: Tensor) -> Tensor:
        """Gated MLP: [M, d] int8 and [M, 1] -> [M, d] float32. The gate's scale holds the factor -log2(e)."""
        spec = self.model.spec
        gate, up = torch.split(layer.gate_up(x), spec.d_ff, dim=-1)
        gate = gate * scale
        sigmoid = exp2_(gate.clamp(EXP2_MIN, EXP2_MAX)).add_(1.0)
        inner, maximum = round_to_range_(gate.mul_(up).div_(sigmoid), INT16_MAX)
        a, b = self.mlp_rotation
        blocks = inner.view(-1, len(a), len(b)).to(self.float_type)
        rotated, rotated_maximum = quantize_(torch.matmul(a, blocks @ b).to(torch.float32).view_as(inner))
        row = maximum.mul_(1.0 / INT16_MAX).mul_(rotated_maximum.mul_(1.0 / INT8_MAX)).mul_(scale)
        return layer.down(rotated).mul_(row)
