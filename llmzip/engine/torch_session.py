"""The torch engine's sessions: streams at the same position, as lockstep coding wants them, and
their cache.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch

from llmzip.engine.base import HeadInput
from llmzip.engine.torch_cache import RotatingKVCache
from llmzip.engine.torch_graph import Replay
from llmzip.engine.torch_transformer import TorchTransformer

_MIN_STEP_SLOTS = 256

_Session = TypeVar("_Session", bound="TorchSession")


def step_slots(used: int, slots: int) -> int:
    """The number of slots that a step of fixed shapes reads when it needs `used`: less than 256, or
    a quarter, more.

    Few different numbers, because each needs a graph of its own. The slots too many are hidden, and
    a hidden slot adds
    exactly nothing: its weight P_j (docs/arithmetic.md, 4.5) is rne(2^-30 x 2^15) = 0, and the
    maximum is over visible ones.
    """
    unit = max(_MIN_STEP_SLOTS, 1 << used.bit_length() >> 3)
    return min(-(-used // unit) * unit, slots)


class TorchSession:
    """S streams and their key/value cache."""

    cache_type: type[RotatingKVCache] = RotatingKVCache

    def __init__(
        self,
        transformer: TorchTransformer,
        streams: int,
        window: int,
        chunk: int,
        replays: bool = False,
    ) -> None:
        """See `Engine.session`; replays: whether steps have fixed shapes and are replayed.

        Raises MemoryError.
        """
        self._transformer = transformer
        self._replays = replays
        self.streams = streams
        self._chunk = chunk
        self.position = 0
        self._last = 0  # how many tokens of the last call can be taken back, and one more
        with transformer.working():
            try:
                self.cache = self.cache_type(
                    transformer.spec, streams, window, chunk, transformer.device
                )
            except RuntimeError as error:  # torch's word for it
                raise MemoryError(str(error)) from error
        self.replay = Replay(transformer.device)

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        transformer, spec = self._transformer, self._transformer.spec
        streams, count = tokens.shape
        if self.position + count > spec.max_positions or count > self._chunk:
            raise ValueError(
                f"{count} tokens at position {self.position} exceed "
                "the session's chunk or the model's positions"
            )
        with transformer.working():
            ids = torch.from_numpy(np.ascontiguousarray(tokens, np.int64)).to(transformer.device)
            positions = torch.arange(
                self.position, self.position + count, device=transformer.device
            )
            used = min(self.position + count, self.cache.slots)
            if self._replays and count == 1:
                used = step_slots(used, self.cache.slots)
                step = functools.partial(
                    transformer.forward, cache=self.cache, used=used, hides=True
                )
                q, scale = self.replay(used, step, ids, positions)
            else:
                hides = count > 1 or (
                    self.cache.ring > self.cache.window and used > self.cache.window
                )
                q, scale = transformer.forward(ids, positions, self.cache, used, hides)
            self.position += count
            self._last = count
            return HeadInput(
                q.view(streams, count, spec.d_model).cpu().numpy(),
                scale.view(streams, count).cpu().numpy(),
            )

    def rewind(self, count: int) -> None:
        """See `Session.rewind`."""
        if count and not 0 < count < self._last:
            raise ValueError(f"{count} tokens to take back: fewer than the last call has fed")
        if count:
            self.position -= count
            self._last -= count
            with self._transformer.working():
                self.cache.rewind(self._last)

    def fork(self: _Session, streams: Sequence[int], window: int, chunk: int) -> _Session:
        """See `Session.fork`."""
        fed, limit = self.position, min(window, self.cache.window)
        if fed > limit:
            raise ValueError(f"{fed} tokens do not fit a window of {limit}")
        other = type(self)(self._transformer, len(streams), window, chunk, self._replays)
        # So far no slot has been used twice: position p is in slot p.
        with self._transformer.working():
            other.cache.fill_from(self.cache, streams, fed)
        other.position = fed
        return other

    def copy(self: _Session) -> _Session:
        """An independent session that has been fed the same, whose cache the caller may change."""
        other = copy.copy(self)
        other.cache = self.cache.copy()
        other.replay = Replay(self._transformer.device)
        return other
