"""The reference engine's sessions: cache, places, attention, and the way of a token through the layers.

Shapes: S streams, T tokens of each in a call, M = S * T rows, N keys, H heads, G key/value heads, D head size.
All streams of a session stand at the same position, as lockstep coding wants it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from llmzip.arithmetic.constants import ATTENTION_ONE_BITS, ATTENTION_TOTAL_BITS, EXP2_MIN, INT8_MAX
from llmzip.arithmetic.elementwise import exp2_, quantize_
from llmzip.engine.base import SINK_TOKENS, HeadInput
from llmzip.engine.torch_graph import Replay

if TYPE_CHECKING:
    from llmzip.engine.torch_engine import TorchEngine

_MIN_STEP_SLOTS = 256


@dataclasses.dataclass(frozen=True)
class View:
    """Where new positions go and what they see."""

    positions: Tensor  # [T] int64
    slots: Tensor  # [T] int64
    used: int  # N, how many slots are looked at; no other one holds a position
    hidden: Tensor | None  # [T, N] bool, None when everything is visible


def step_slots(used: int, slots: int) -> int:
    """How many of `slots` a step of fixed shapes looks at that needs `used`: more by less than 256 or a quarter.

    Few different numbers, because each needs a graph of its own. The slots too many are hidden, and a hidden slot adds
    exactly nothing: its weight P_j (docs/arithmetic.md, 4.5) is rne(2^-30 x 2^15) = 0, and the maximum is over visible ones.
    """
    unit = max(_MIN_STEP_SLOTS, 1 << used.bit_length() >> 3)
    return min(-(-used // unit) * unit, slots)


class TorchSession:
    """S streams and their key/value cache: slots 0..3 hold the first positions, the others are a ring.

    The ring has window + chunk - 1 slots, so that writing a chunk overwrites nothing that the chunk still sees.
    """

    def __init__(self, engine: TorchEngine, streams: int, window: int, chunk: int) -> None:
        self.engine = engine
        self.streams = streams
        self.window = window
        self.ring = window + chunk - 1
        self.position = 0
        spec, device = engine.model.spec, engine.device
        slots = min(SINK_TOKENS + self.ring, spec.max_positions)
        shape = (spec.layers, streams, spec.kv_heads, slots)
        with engine.working():
            try:
                self._allocate(shape, spec.head_dim, device)
            except RuntimeError as error:  # torch's word for it
                raise MemoryError(str(error)) from error
            self.largest_value = torch.zeros(*shape[:3], dtype=torch.float32, device=device)  # of the positions so far
        self.replay = Replay(device)

    def _allocate(self, shape: tuple[int, ...], head_dim: int, device: torch.device) -> None:
        """Room for the cache: shape is [layers, S, G, slots]."""
        self.keys, self.values = (torch.zeros(*shape, head_dim, dtype=torch.int8, device=device) for _ in "kv")
        self.key_scales, self.value_scales = (torch.zeros(shape, dtype=torch.float32, device=device) for _ in "kv")
        # An empty slot holds a position that never comes: no token sees it.
        self.slot_positions = torch.full(
            shape[-1:], self.engine.model.spec.max_positions, dtype=torch.int64, device=device
        )

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        engine, spec = self.engine, self.engine.model.spec
        streams, count = tokens.shape
        if self.position + count > spec.max_positions or count > self.ring - self.window + 1:
            raise ValueError(
                f"{count} tokens at position {self.position} exceed the session's chunk or the model's positions"
            )
        with engine.working():
            ids = torch.from_numpy(np.ascontiguousarray(tokens, np.int64)).to(engine.device)
            positions = torch.arange(self.position, self.position + count, device=engine.device)
            slots = len(self.slot_positions)
            used = min(self.position + count, slots)
            if engine.replays and count == 1 and streams == self.streams:
                used = step_slots(used, slots)
                step = functools.partial(self._feed, used=used, hides=True)
                q, scale = self.replay(used, step, ids, positions)
            else:
                hides = count > 1 or (self.ring > self.window and used > self.window)
                q, scale = self._feed(ids, positions, used, hides)
            self.position += count
            return HeadInput(
                q.view(streams, count, spec.d_model).cpu().numpy(), scale.view(streams, count).cpu().numpy()
            )

    def _feed(self, ids: Tensor, positions: Tensor, used: int, hides: bool) -> tuple[Tensor, Tensor]:
        """ids [S, T], positions [T] -> head inputs [M, d] int8, [M, 1]. May be done again: nothing is counted on."""
        engine = self.engine
        view = self._place(positions, used, hides)
        table, table_scale = engine.embedding
        x = table[ids.flatten()].to(torch.float32).mul_(table_scale[ids.flatten(), None])  # [M, d]
        for i, layer in enumerate(engine.layers):
            q, scale = engine.normalize(x)
            q, maximum = quantize_(self._attention(i, layer.qkv(q), scale, view, len(ids)))
            x.add_(layer.o(q).mul_(maximum.mul_(1.0 / INT8_MAX)))
            x.add_(engine.mlp(layer, *engine.normalize(x)))
        return engine.normalize(x)

    def fork(self, streams: int, window: int, chunk: int) -> TorchSession:
        """See `Session.fork`."""
        fed = self.position
        if fed > min(window, self.window):
            raise ValueError(f"{fed} tokens do not fit a window of {min(window, self.window)}")
        other = type(self)(self.engine, streams, window, chunk)
        with self.engine.working():  # so far no slot has been used twice: position p is in slot p
            for mine, theirs in zip(self._caches(), other._caches(), strict=True):
                theirs[:, :, :, :fed] = mine[:, :1, :, :fed]
            other.largest_value.copy_(self.largest_value[:, :1].expand_as(other.largest_value))
            other.slot_positions[:fed] = self.slot_positions[:fed]
        other.position = fed
        return other

    def copy(self) -> TorchSession:
        """An independent session that has been fed the same, whose tensors the caller may change."""
        other = copy.copy(self)
        for name in ("keys", "values", "key_scales", "value_scales", "largest_value", "slot_positions"):
            setattr(other, name, getattr(self, name).clone())
        other.replay = Replay(self.engine.device)
        return other

    def _caches(self) -> tuple[Tensor, ...]:
        """All of the cache: [layers, S, G, slots, ...]."""
        return self.keys, self.values, self.key_scales, self.value_scales

    def _place(self, positions: Tensor, used: int, hides: bool) -> View:
        """Give new positions their slots, and say what each of them sees; hides: whether there is anything that is hidden."""
        slots = torch.where(positions < SINK_TOKENS, positions, SINK_TOKENS + (positions - SINK_TOKENS) % self.ring)
        self.slot_positions[slots] = positions
        hidden = None
        if hides:
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
        heads, maximum = quantize_(qkv)
        scales = maximum.mul_(1.0 / INT8_MAX).mul_(scale.view(streams, count, 1, 1)).squeeze(-1)  # [S, T, H + 2G]

        self.keys[layer, :streams, :, view.slots] = heads[:, :, spec.heads : turning].transpose(1, 2)
        self.values[layer, :streams, :, view.slots] = heads[:, :, turning:].transpose(1, 2)
        self.key_scales[layer, :streams, :, view.slots] = scales[:, :, spec.heads : turning].transpose(1, 2)
        value_scales = scales[:, :, turning:].transpose(1, 2)  # [S, G, T]
        self.value_scales[layer, :streams, :, view.slots] = value_scales
        before = self.largest_value[layer, :streams, :, None]
        largest = torch.maximum(value_scales.cummax(dim=-1).values, before)
        self.largest_value[layer, :streams] = largest[..., -1]

        out = torch.empty(streams, count, spec.heads * size, dtype=torch.float32, device=qkv.device)
        at_once = max(1, self.engine.passes.scores // (spec.heads * count * view.used))
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
