"""How the time that tokens take changes within a block: a later one sees more tokens before it, up
to the window.

Progress is told in proportion to the time, so that the time left is about right from the beginning.
In proportion to tokens it would say half of it there. Mixing takes longer, too, the more it has
seen, which counts where the model is small. The costs are those of the C core (docs/notes/speed.md,
"Progress").
"""

from __future__ import annotations

from collections.abc import Sequence

from llmzip.accounting import slot_bytes
from llmzip.model.spec import ModelSpec
from llmzip.predictor.stream_layout import StreamLayout

_ENCODED_PRODUCT = 6.0
"""Encoding is bound by computing: an element of a query takes as long at each position that it sees
as so many products with weights.
"""
_DECODED_WEIGHT, _DECODED_ROW = 0.5, 0.03
"""Decoding is bound by memory: a byte of weights, which a step reads once, takes this part of the
time of a byte of cache, which each stream reads; to mix and code a stream's token takes that part
for each byte of weights.
"""

_ENCODED_MIXING, _DECODED_MIXING = (3e6, 8.0), (2e5, 0.5)
"""What mixing and coding take for the first token of a block, and more for each token of the block
that is before one.
"""


class Pace:
    """The time of blocks that go side by side, as a function of the tokens done."""

    def __init__(self, layouts: Sequence[StreamLayout], spec: ModelSpec, decoding: bool) -> None:
        self._streams = sum(layout.streams for layout in layouts)
        self._window = max(layout.window for layout in layouts)
        self._context = max(layout.context for layout in layouts)
        if decoding:
            self._step = spec.weight_bytes * (_DECODED_WEIGHT + _DECODED_ROW * self._streams)
            self._seen = float(slot_bytes(spec) * self._streams)
            first, more = _DECODED_MIXING
            self._first, self._more = first * self._streams, more * self._streams
        else:
            self._step = float(spec.weight_bytes)
            self._seen = _ENCODED_PRODUCT * spec.layers * spec.heads * spec.head_dim
            self._first, self._more = _ENCODED_MIXING
        self._more /= len(layouts)  # each block has a mixer of its own
        self._whole = self._cost(sum(layout.tokens for layout in layouts))

    def share(self, tokens: int) -> float:
        """The part of the time, 0 to 1, that so many tokens have taken."""
        return self._cost(tokens) / self._whole

    def _cost(self, tokens: int) -> float:
        """In units of a weight."""
        steps = tokens / self._streams
        begin, end = self._context, self._context + steps
        seen = all_seen(end, self._window) - all_seen(begin, self._window)
        mixing = (self._first + self._more * tokens / 2) * steps
        return self._step * steps + self._seen * seen + mixing


def all_seen(position: float, window: int) -> float:
    """How many tokens all positions of a stream before this one see, together."""
    full = max(0.0, position - window)
    growing = position - full
    return growing * growing / 2 + full * window
