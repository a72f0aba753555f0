"""Compression levels: what each means for blocks, streams and the attention window.

More context per stream is a better ratio; more streams are faster decoding; window and streams are
memory. docs/levels.md has the measurements behind the table.
"""

from __future__ import annotations

import dataclasses

from llmzip.buffers import whole_number
from llmzip.container.block import MAX_BLOCK_SIZE, WINDOW_UNIT

MIN_LEVEL, DEFAULT_LEVEL, MAX_LEVEL = 1, 6, 9

MIN_BLOCK_SIZE = 1 << 10


@dataclasses.dataclass(frozen=True)
class Level:
    """The parameters of one level."""

    number: int
    """The level itself: 1 to 9."""
    window: int
    """Tokens that attention sees."""
    stream_tokens: int
    """A block gets a further stream for each this many tokens."""
    max_streams: int
    block_size: int = 1 << 20
    """Uncompressed bytes per block."""


LEVELS = {
    1: Level(1, window=256, stream_tokens=128, max_streams=128),
    2: Level(2, window=512, stream_tokens=512, max_streams=128),
    3: Level(3, window=512, stream_tokens=1536, max_streams=64),
    4: Level(4, window=1024, stream_tokens=2048, max_streams=64),
    5: Level(5, window=1024, stream_tokens=3072, max_streams=48),
    6: Level(6, window=2048, stream_tokens=3072, max_streams=48),
    7: Level(7, window=2048, stream_tokens=6144, max_streams=48),
    8: Level(8, window=4096, stream_tokens=8192, max_streams=48),
    9: Level(9, window=8128, stream_tokens=8192, max_streams=48),
}


def chosen_level(level: int | None, compresslevel: int | None = None) -> int:
    """The level by the one name or the other, the default where neither is given. Raises TypeError
    for both.
    """
    if level is not None and compresslevel is not None:
        raise TypeError("level= and compresslevel= are two names for one thing: give one of them")
    given = compresslevel if level is None else level
    return DEFAULT_LEVEL if given is None else given


def level_parameters(level: int, block_size: int | None = None) -> Level:
    """The parameters of a level, with another block size where given.

    Raises ValueError naming the range, TypeError for what is no integer.
    """
    if whole_number(level, "level") not in LEVELS:
        raise ValueError(f"level {level}: levels are {MIN_LEVEL} to {MAX_LEVEL}")
    chosen = LEVELS[level]
    if block_size is None:
        return chosen
    if not MIN_BLOCK_SIZE <= whole_number(block_size, "block_size") <= MAX_BLOCK_SIZE:
        raise ValueError(
            f"block size {block_size}: sizes are {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE} bytes"
        )
    return dataclasses.replace(chosen, block_size=block_size)


def stream_count(level: Level, tokens: int) -> int:
    """The streams of a block of so many tokens, where none is longer than the model allows."""
    return max(1, min(tokens // level.stream_tokens, level.max_streams))


def levels_of(tokens: int, streams: int, window: int) -> list[int]:
    """The levels at which a block of so many tokens, without a dictionary, gets these streams and
    this window; empty where none does. Where a model allows no streams as long as the level's, it
    may have more of them.
    """
    longest = -(-tokens // max(1, streams))
    seen = [
        number
        for number, level in LEVELS.items()
        if window == min(level.window, -(-longest // WINDOW_UNIT) * WINDOW_UNIT)
    ]
    exact = [number for number in seen if stream_count(LEVELS[number], tokens) == streams]
    return exact or [number for number in seen if stream_count(LEVELS[number], tokens) < streams]
