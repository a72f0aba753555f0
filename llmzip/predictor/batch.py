"""How many of the next blocks go side by side: the one place that decides it.

More rows in a step make a device quicker; the blocks' memory, the device's, and that all their
streams must see equally far limit them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from llmzip.accounting import block_bytes
from llmzip.engine.base import Engine
from llmzip.predictor.lanes import are_balanced
from llmzip.predictor.stream_layout import StreamLayout

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_PART_OF_FREE = 2
"""Of a device's free memory, blocks side by side take at most one part of so many: what the account
does not know needs some, too.
"""


def common_window(layouts: Sequence[StreamLayout]) -> int:
    """The window of a session for blocks side by side: the widest that one of them needs."""
    return max(_needed(layout) for layout in layouts)


def fitting(
    engine: Engine,
    blocks: Sequence[tuple[StreamLayout, int]],
    has_dictionary: bool,
    memory: int,
    few: bool = False,
) -> int:
    """How many of these blocks, the first ones, go side by side: at least one, if there is one.

    blocks: their layouts, and how many bytes they hold. memory: the bytes that decoders of all of
    them may take together, as `accounting` counts them. few: whether short ones go together as
    `Batches.few_rows` says.
    """
    free = engine.free_bytes()
    if free is not None:
        memory = min(memory, free // _PART_OF_FREE)
    rows = need = 0
    layouts: list[StreamLayout] = []
    for layout, size in blocks:
        layouts.append(layout)
        rows += layout.streams
        need += block_bytes(size, False, layout.decoder_bytes(engine.model.spec, has_dictionary))
        most = engine.batches
        if len(layouts) <= most.blocks:
            is_useful = are_balanced(engine, layouts)
        else:
            is_useful = few and rows <= most.few_rows
        fits = rows <= most.rows and is_useful and need <= memory
        if len(layouts) > 1 and not (fits and _see_alike(layouts)):
            return len(layouts) - 1
    return len(layouts)


def in_halves(
    work: Callable[[Sequence[_Item]], list[_Result]], items: Sequence[_Item]
) -> list[_Result]:
    """The work's results for all items at once, or, where the memory is too small for it, for
    halves of them one after the other. Raises MemoryError where it is too small for one.
    """
    try:
        return work(items)
    except MemoryError:
        if len(items) < 2:
            raise
    middle = len(items) // 2
    return [*in_halves(work, items[:middle]), *in_halves(work, items[middle:])]


def _needed(layout: StreamLayout) -> int:
    """The window without what the block's streams never reach."""
    return min(layout.window, layout.positions)


def _see_alike(layouts: Sequence[StreamLayout]) -> bool:
    """Whether a common window is right for all: it is a block's own, or the block sees all of its
    streams with either.
    """
    common = common_window(layouts)
    return all(common == layout.window or layout.window >= layout.positions for layout in layouts)
