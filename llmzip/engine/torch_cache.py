"""The key/value cache of the torch engine: int8, rotating, with the first positions kept for ever.

Shapes: S streams, T new tokens of each, G key/value heads, D head size. All streams stand at the
same position.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from llmzip.engine.base import SINK_TOKENS
from llmzip.model.spec import ModelSpec

_Cache = TypeVar("_Cache", bound="RotatingKVCache")


@dataclasses.dataclass(frozen=True)
class View:
    """The slots of new positions, and the slots that they see."""

    positions: Tensor  # [T] int64
    slots: Tensor  # [T] int64
    used: int  # N, how many slots are looked at; no other one holds a position
    hidden: Tensor | None  # [T, N] bool, None when everything is visible
    local: Mapping[int, Tensor] = dataclasses.field(default_factory=dict)
    """The same in layers with a window of their own, by its size."""

    def hidden_in(self, window: int) -> Tensor | None:
        """What a layer with this window (0: none of its own) does not see."""
        return self.local[window] if window else self.hidden


@dataclasses.dataclass(frozen=True)
class LayerCache:
    """The cache of one layer, for the streams of a step."""

    keys: Tensor  # [S, G, slots, D] int8
    values: Tensor  # [S, G, slots, D] int8
    key_scales: Tensor  # [S, G, slots] float32
    value_scales: Tensor  # [S, G, slots] float32
    largest: Tensor  # [S, G] float32, the largest value scale of the positions so far
    bounds: Tensor  # [S, G, chunk] float32, what it was after each position of the last step

    def put(
        self, slots: Tensor, keys: Tensor, values: Tensor, key_scales: Tensor, value_scales: Tensor
    ) -> Tensor:
        """New heads [S, T, G, D] int8 and scales [S, T, G] into their slots [T].

        Returns the largest value scale up to each new position: [S, G, T].
        """
        self.keys[:, :, slots] = keys.transpose(1, 2)
        self.values[:, :, slots] = values.transpose(1, 2)
        self.key_scales[:, :, slots] = key_scales.transpose(1, 2)
        value_scales = value_scales.transpose(1, 2)
        self.value_scales[:, :, slots] = value_scales
        largest = torch.maximum(value_scales.cummax(dim=-1).values, self.largest[:, :, None])
        self.largest.copy_(largest[..., -1])
        self.bounds[..., : largest.shape[-1]] = largest
        return largest


class RotatingKVCache:
    """The cache of all layers: slots 0..3 hold the first positions, the others are a ring.

    The ring has window + chunk - 1 slots, so that writing a chunk overwrites nothing that the chunk
    still sees.
    """

    def __init__(
        self, spec: ModelSpec, streams: int, window: int, chunk: int, device: torch.device
    ) -> None:
        self.window = window
        self.ring = window + chunk - 1
        self._local_windows = {*spec.features.layer_window} - {0}
        slots = min(SINK_TOKENS + self.ring, spec.max_positions)
        shape = (spec.layers, streams, spec.kv_heads, slots)
        self._allocate(shape, spec.head_dim, spec.max_positions, device)
        self.largest_value = torch.zeros(*shape[:3], dtype=torch.float32, device=device)
        self.bounds = torch.zeros(*shape[:3], chunk, dtype=torch.float32, device=device)

    def _allocate(
        self, shape: tuple[int, ...], head_dim: int, no_position: int, device: torch.device
    ) -> None:
        """Tensors of shape [layers, S, G, slots, ...]; an empty slot has a position that never
        comes: no token sees it.
        """
        self.keys, self.values = (
            torch.zeros(*shape, head_dim, dtype=torch.int8, device=device) for _ in "kv"
        )
        self.key_scales, self.value_scales = (
            torch.zeros(shape, dtype=torch.float32, device=device) for _ in "kv"
        )
        self.slot_positions = torch.full(shape[-1:], no_position, dtype=torch.int64, device=device)

    @property
    def slots(self) -> int:
        """The number of slots."""
        return len(self.slot_positions)

    def assign_slots(self, positions: Tensor, used: int, hides: bool) -> View:
        """Assign slots to new positions; hides: whether some of the `used` slots are invisible to
        some of the positions.
        """
        slots = torch.where(
            positions < SINK_TOKENS, positions, SINK_TOKENS + (positions - SINK_TOKENS) % self.ring
        )
        self.slot_positions[slots] = positions
        hidden, local = None, {}
        if hides or self._local_windows:
            key, query = self.slot_positions[:used], positions[:, None]
            hidden = (key > query) | ((key <= query - self.window) & (key >= SINK_TOKENS))
            local = {width: hidden | (key <= query - width) for width in self._local_windows}
        return View(positions, slots, used, hidden, local)

    def layer(self, index: int, streams: int) -> LayerCache:
        """One layer's cache of the first streams; writing to it writes to this one."""
        parts = (*self._heads(), self.largest_value, self.bounds)
        return LayerCache(*(x[index, :streams] for x in parts))

    def rewind(self, kept: int) -> None:
        """Keep only so many positions of the last step, at least one.

        Slots stay as they are: nobody sees a position ahead of his own, and a chunk's slots are
        none that its first position sees.
        """
        self.largest_value.copy_(self.bounds[..., kept - 1])

    def fill_from(self, other: RotatingKVCache, streams: Sequence[int], fed: int) -> None:
        """Copy these streams of another cache, one to each stream, after `fed` tokens of which none
        is overwritten.
        """
        chosen = torch.tensor(streams, device=other.largest_value.device)
        for mine, theirs in zip(self._heads(), other._heads(), strict=True):
            mine[:, :, :, :fed] = theirs[:, chosen, :, :fed]
        self.largest_value.copy_(other.largest_value[:, chosen])
        self.slot_positions[:fed] = other.slot_positions[:fed]

    def copy(self: _Cache) -> _Cache:
        """An independent cache with the same content."""
        other = copy.copy(self)
        for name in (
            "keys",
            "values",
            "key_scales",
            "value_scales",
            "largest_value",
            "bounds",
            "slot_positions",
        ):
            setattr(other, name, getattr(self, name).clone())
        return other

    def _heads(self) -> tuple[Tensor, ...]:
        return self.keys, self.values, self.key_scales, self.value_scales
