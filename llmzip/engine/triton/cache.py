"""The GPU engine's key/value cache: values lie with their positions in a row, as the kernels read
them.
"""

from __future__ import annotations

import functools

import torch

from llmzip.engine.torch_cache import RotatingKVCache
from llmzip.engine.triton.launch import SLOT_MULTIPLE, ceil_div
from llmzip.engine.triton.operations import TritonLayerCache


class TritonKVCache(RotatingKVCache):
    """The same cache for the torch path and for the kernels, which see more slots than there are
    positions.
    """

    def _allocate(
        self, shape: tuple[int, ...], head_dim: int, no_position: int, device: torch.device
    ) -> None:
        *outer, slots = shape
        padded = ceil_div(slots, SLOT_MULTIPLE) * SLOT_MULTIPLE
        zeros = functools.partial(torch.zeros, device=device)
        self.storage = (
            zeros(*outer, padded, head_dim, dtype=torch.int8),
            zeros(*outer, head_dim, padded, dtype=torch.int8),
            zeros(*outer, padded, dtype=torch.float32),
            zeros(*outer, padded, dtype=torch.float32),
        )
        self.padded_positions = torch.full((padded,), no_position, device=device)
        self.visible = zeros(padded, dtype=torch.int8)
        self._show(slots)

    def _show(self, slots: int) -> None:
        """The storage as the torch path sees it."""
        keys, values, key_scales, value_scales = self.storage
        self.keys, self.values = keys[..., :slots, :], values[..., :slots].transpose(-1, -2)
        self.key_scales, self.value_scales = key_scales[..., :slots], value_scales[..., :slots]
        self.slot_positions = self.padded_positions[:slots]

    def kernel_layer(self, index: int, streams: int) -> TritonLayerCache:
        """One layer's cache of the first streams as the kernels see it."""
        return TritonLayerCache(*(x[index, :streams] for x in (*self.storage, self.largest_value)))

    def copy(self) -> TritonKVCache:
        """See `RotatingKVCache.copy`."""
        other = super().copy()
        keys, values, key_scales, value_scales = (x.clone() for x in self.storage)
        other.storage = keys, values, key_scales, value_scales
        other.padded_positions, other.visible = self.padded_positions.clone(), self.visible.clone()
        other._show(self.slots)
        return other
