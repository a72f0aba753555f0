"""The reference engine: docs/arithmetic.md in torch, on any device, readable before fast.

Shapes: S streams, T tokens of each in a call, M = S * T rows, N keys, H heads, G key/value heads, D head size.
All streams of a session stand at the same position, as lockstep coding wants it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.constants import (
    ATTENTION_ONE_BITS,
    ATTENTION_TOTAL_BITS,
    EXP2_MAX,
    EXP2_MIN,
    INT8_MAX,
    INT16_MAX,
    ROPE_BITS,
    WEIGHT_BITS,
)
from llmzip.arithmetic.elementwise import exp2_, quantise_, round_to_range_
from llmzip.arithmetic.frequencies import TokenDistributions
from llmzip.arithmetic.gemm import Int8Kernel, select_float_type, select_int8_kernel
from llmzip.arithmetic.hadamard import matrix
from llmzip.engine.base import SINK_TOKENS, HeadInput
from llmzip.memory.base import TOP_TOKENS
from llmzip.memory.reference import ReferenceMemory
from llmzip.model.integer_model import IntegerModel

_SCORES_PER_PASS = 1 << 18
"""Attention works on about this many scores at a time, so that its element-wise passes stay in the cache."""

_WEIGHTS_PER_PASS = 1 << 19


@dataclasses.dataclass(frozen=True)
class Linear:
    """int8 weights in a kernel's layout, and their scales."""

    kernel: Int8Kernel
    weight: Tensor
    scale: Tensor  # [N] float32

    def __call__(self, x: Tensor) -> Tensor:
        """[M, K] int8 -> [M, N] float32: sum * scale; the row's own scale is left to the caller."""
        return self.kernel.multiply(x, self.weight).mul_(self.scale)


@dataclasses.dataclass(frozen=True)
class Layer:
    """The products of one layer; q, k, v and gate, up are stacked because they share their input."""

    qkv: Linear
    o: Linear
    gate_up: Linear
    down: Linear


@dataclasses.dataclass(frozen=True)
class View:
    """Where new positions go and what they see."""

    positions: Tensor  # [T] int64
    slots: Tensor  # [T] int64
    used: int  # N, how many slots hold a position
    hidden: Tensor | None  # [T, N] bool, None when everything is visible


class TorchEngine:
    """A model on a torch device."""

    def __init__(self, model: IntegerModel, device: str = "cpu", kernel: Int8Kernel | None = None) -> None:
        """Load the weights; `kernel` overrides the one that the self-test would select (tests use it)."""
        self.model = model
        self.device = torch.device(device)
        spec, tensors = model.spec, model.tensors
        with torch.inference_mode(), _exact_products():
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

    def session(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Engine.session`."""
        return TorchSession(self, streams, window, chunk)

    def token_weights(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """See `Engine.token_weights`."""
        return self._weights_and_top(vectors, scales)[0]

    def distributions(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> TokenDistributions:
        """See `Engine.distributions`."""
        return TokenDistributions(*self._weights_and_top(vectors, scales))

    def memory(self, capacity_bits: int) -> ReferenceMemory:
        """See `Engine.memory`."""
        spec = self.model.spec
        return ReferenceMemory(capacity_bits, spec.d_model, spec.vocab, spec.start_token)

    def _weights_and_top(
        self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Token weights [N, vocab] and the most likely tokens [N, TOP_TOKENS]."""
        spec = self.model.spec
        out = np.empty((len(vectors), spec.vocab), np.int32)
        top = np.empty((len(vectors), min(TOP_TOKENS, spec.vocab)), np.int32)
        rows = max(1, _WEIGHTS_PER_PASS // spec.vocab)
        with torch.inference_mode(), _exact_products():
            # A copy, because numpy may give a single row the stride 0, with which torch._int_mm returns garbage.
            x = torch.from_numpy(np.array(vectors, order="C")).to(self.device)
            s = torch.from_numpy(scales).to(self.device)[:, None]
            for start in range(0, len(x), rows):
                part = slice(start, start + rows)
                z = self.head(x[part])
                top[part] = _largest(z).cpu().numpy()
                z.mul_(s[part])
                z.sub_(z.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
                out[part] = exp2_(z).mul_(2.0**WEIGHT_BITS).to(torch.int32).cpu().numpy()
        return out, top

    def normalise(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """RMS norm and quantisation in one: [M, d] float32 -> [M, d] int8, row scales [M, 1] float32."""
        q, maximum = quantise_(x.clone())
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
        rotated, rotated_maximum = quantise_(torch.matmul(a, blocks @ b).to(torch.float32).view_as(inner))
        row = maximum.mul_(1.0 / INT16_MAX).mul_(rotated_maximum.mul_(1.0 / INT8_MAX)).mul_(scale)
        return layer.down(rotated).mul_(row)


class TorchSession:
    """S streams and their key/value cache: slots 0..3 hold the first positions, the others are a ring.

    The ring has window + chunk - 1 slots, so that writing a chunk overwrites nothing that the chunk still sees.
    """

    def __init__(self, engine: TorchEngine, streams: int, window: int, chunk: int) -> None:
        self.engine = engine
        self.window = window
        self.ring = window + chunk - 1
        self.position = 0
        spec, device = engine.model.spec, engine.device
        slots = min(SINK_TOKENS + self.ring, spec.max_positions)
        shape = (spec.layers, streams, spec.kv_heads, slots)
        with torch.inference_mode():
            try:
                self.keys, self.values = (
                    torch.zeros(*shape, spec.head_dim, dtype=torch.int8, device=device) for _ in "kv"
                )
                self.key_scales, self.value_scales = (torch.zeros(shape, device=device) for _ in "kv")
            except RuntimeError as error:  # torch's word for it
                raise MemoryError(str(error)) from error
            self.largest_value = torch.zeros(*shape[:3], device=device)  # of the positions so far
            self.slot_positions = torch.zeros(slots, dtype=torch.int64, device=device)

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        engine, spec = self.engine, self.engine.model.spec
        streams, count = tokens.shape
        if self.position + count > spec.max_positions or count > self.ring - self.window + 1:
            raise ValueError(
                f"{count} tokens at position {self.position} exceed the session's chunk or the model's positions"
            )
        with torch.inference_mode(), _exact_products():
            ids = torch.from_numpy(np.ascontiguousarray(tokens, np.int64)).to(engine.device).flatten()  # [M]
            view = self._place(count)
            table, table_scale = engine.embedding
            x = table[ids].to(torch.float32).mul_(table_scale[ids, None])  # [M, d]
            for i, layer in enumerate(engine.layers):
                q, scale = engine.normalise(x)
                q, maximum = quantise_(self._attention(i, layer.qkv(q), scale, view, streams))
                x.add_(layer.o(q).mul_(maximum.mul_(1.0 / INT8_MAX)))
                x.add_(engine.mlp(layer, *engine.normalise(x)))
            q, scale = engine.normalise(x)
            return HeadInput(
                q.view(streams, count, spec.d_model).cpu().numpy(), scale.view(streams, count).cpu().numpy()
            )

    def fork(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Session.fork`."""
        fed = self.position
        if fed > min(window, self.window):
            raise ValueError(f"{fed} tokens do not fit a window of {min(window, self.window)}")
        other = TorchSession(self.engine, streams, window, chunk)
        with torch.inference_mode():  # so far no slot has been used twice: position p is in slot p
            for mine, theirs in zip(self._caches(), other._caches(), strict=True):
                theirs[:, :, :, :fed] = mine[:, :1, :, :fed]
            other.largest_value.copy_(self.largest_value[:, :1].expand_as(other.largest_value))
            other.slot_positions[:fed] = self.slot_positions[:fed]
        other.position = fed
        return other

    def _caches(self) -> tuple[Tensor, ...]:
        """All of the cache: [layers, S, G, slots, ...]."""
        return self.keys, self.values, self.key_scales, self.value_scales

    def _place(self, count: int) -> View:
        """Give the next `count` positions their slots, and say what each of them sees."""
        positions = torch.arange(self.position, self.position + count, device=self.engine.device)
        slots = torch.where(positions < SINK_TOKENS, positions, SINK_TOKENS + (positions - SINK_TOKENS) % self.ring)
        self.slot_positions[slots] = positions
        self.position += count
        used = min(self.position, len(self.slot_positions))
        hidden = None
        if count > 1 or (self.ring > self.window and used > self.window):
            key, query = self.slot_positions[:used], positions[:, None]
            hidden = (key > query) | ((key <= query - self.window) & (key >= SINK_TOKENS))
        return View(positions, slots, used, hidden)

    def _attention(self, layer: int, qkv: Tensor, scale: Tensor, view: View, streams: int) -> Tensor:
        """Attention of one layer: scaled sums [M, (H + 2G) * D], row scales [M, 1] -> [M, H * D] float32."""
        spec, count = self.engine.model.spec, len(view.positions)
        groups, size = spec.kv_heads, spec.head_dim
        qkv = qkv.view(streams, count, spec.heads + 2 * groups, size)
        turning = spec.heads + groups
        self._rotate(qkv[:, :, :turning], view.positions)
        heads, maximum = quantise_(qkv)
        scales = maximum.mul_(1.0 / INT8_MAX).mul_(scale.view(streams, count, 1, 1)).squeeze(-1)  # [S, T, H + 2G]

        self.keys[layer, :streams, :, view.slots] = heads[:, :, spec.heads : turning].transpose(1, 2)
        self.values[layer, :streams, :, view.slots] = heads[:, :, turning:].transpose(1, 2)
        self.key_scales[layer, :streams, :, view.slots] = scales[:, :, spec.heads : turning].transpose(1, 2)
        value_scales = scales[:, :, turning:].transpose(1, 2)  # [S, G, T]
        self.value_scales[layer, :streams, :, view.slots] = value_scales
        before = self.largest_value[layer, :streams, :, None]
        largest = torch.maximum(value_scales.cummax(dim=-1).values, before)
        self.largest_value[layer, :streams] = largest[..., -1]

        out = torch.empty(streams, count, spec.heads * size, device=qkv.device)
        at_once = max(1, _SCORES_PER_PASS // (spec.heads * count * view.used))
        for start in range(0, streams, at_once):
            part = slice(start, min(start + at_once, streams))
            out[part] = self._attend(
                layer, part, heads[part, :, : spec.heads], scales[part, :, : spec.heads], largest[part], view
            )
        return out.view(streams * count, spec.heads * size)

    def _rotate(self, x: Tensor, positions: Tensor) -> None:
        """Rotary positions in place: [S, T, heads, D]."""
        half = x.shape[-1] // 2
        table = self.engine.rope[positions]  # [T, 2, D/2]
        cosine, sine = table[:, 0, None], table[:, 1, None]
        a, b = x[..., :half], x[..., half:]
        turned = (a * cosine).sub_(b * sine)
        b.mul_(cosine).add_(a * sine)
        a.copy_(turned)

    def _attend(self, layer: int, part: slice, q: Tensor, q_scale: Tensor, largest: Tensor, view: View) -> Tensor:
        """Integer softmax attention: q [s, T, H, D] int8, q_scale [s, T, H], largest [s, G, T] -> [s, T, H * D]."""
        spec, kind = self.engine.model.spec, self.engine.float_type
        streams, count = q.shape[:2]
        groups, shared = spec.kv_heads, spec.heads // spec.kv_heads

        def cached(cache: Tensor) -> Tensor:
            return cache[layer, part, :, : view.used].flatten(0, 1)  # [s * G, N, ...]

        def by_group(x: Tensor) -> Tensor:  # [s, T, H, ...] -> [s * G, H/G * T, ...]
            x = x.view(streams, count, groups, shared, -1).permute(0, 2, 3, 1, 4)
            return x.reshape(streams * groups, shared * count, -1)

        x = torch.bmm(by_group(q).to(kind), cached(self.keys).to(kind).transpose(1, 2)).to(torch.float32)
        x.mul_(cached(self.key_scales)[:, None]).mul_(by_group(q_scale))  # log2 of the weights, [s * G, H/G * T, N]
        if view.hidden is not None:
            x.view(-1, shared, count, view.used).masked_fill_(view.hidden, -torch.inf)
        x.sub_(x.amax(dim=-1, keepdim=True)).clamp_(min=EXP2_MIN)
        x = exp2_(x).mul_(2.0**ATTENTION_ONE_BITS).round_()
        total = x.sum(dim=-1, keepdim=True, dtype=torch.float64).to(torch.float32)
        bound = largest.view(-1, 1, count).expand(-1, shared, -1).reshape(-1, shared * count, 1)
        one = torch.full_like(total, 2.0**ATTENTION_TOTAL_BITS)
        x.mul_(cached(self.value_scales)[:, None]).mul_(one.div_(total.mul_(bound))).round_()
        y = torch.bmm(x.to(kind), cached(self.values).to(kind)).to(torch.float32)
        y.mul_(bound * 2.0**-ATTENTION_TOTAL_BITS)
        y = y.view(streams, groups, shared, count, -1).permute(0, 3, 1, 2, 4)
        return y.reshape(streams, count, -1)


def _largest(x: Tensor) -> Tensor:
    """The indices of each row's TOP_TOKENS largest numbers, equal ones by index: [M, V] float32 -> [M, TOP_TOKENS]."""
    bits = x.contiguous().view(torch.int32).to(torch.int64)
    ordered = torch.where(bits < 0, -(bits & 0x7FFFFFFF), bits)  # as the numbers are ordered; -0 is 0
    places = torch.arange(x.shape[-1], device=x.device)
    return (ordered * 2**32 - places).topk(min(TOP_TOKENS, x.shape[-1]), dim=-1).indices


@contextlib.contextmanager
def _exact_products() -> Iterator[None]:
    """Keep float32 products in float32, whatever the host program has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
