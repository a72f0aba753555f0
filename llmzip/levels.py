"""Compression levels: what each means for blocks, streams and the attention window.

More context per stream is a better ratio; more streams are faster decoding; window and streams are memory. docs/levels.md
has the measurements behind the table.
"""

from __future__ import annotations

import dataclasses

from llmzip.container.block import MAX_BLOCK_SIZE
from llmzip.engine.base import SINK_TOKENS
from llmzip.model.spec import ModelSpec

MIN_LEVEL, DEFAULT_LEVEL, MAX_LEVEL = 1, 6, 9

WINDOW_UNIT = 64
MIN_BLOCK_SIZE = 1 << 10


@dataclasses.dataclass(frozen=True)
class Level:
    """The parameters of one level."""

    window: int
    """Tokens that attention sees."""
    stream_tokens: int
    """A block gets a further stream for each this many tokens."""
    max_streams: int
    block_size: int = 1 << 20
    """Uncompressed bytes per block."""


_LEVELS = {
    1: Level(window=256, stream_tokens=128, max_streams=128),
    2: Level(window=512, stream_tokens=512, max_streams=128),
    3: Level(window=1024, stream_tokens=1024, max_streams=64),
    4: Level(window=1024, stream_tokens=1536, max_streams=64),
    5: Level(window=2048, stream_tokens=2048, max_streams=48),
    6: Level(window=2048, stream_tokens=3072, max_streams=48),
    7: Level(window=3072, stream_tokens=4096, max_streams=48),
    8: Level(window=4096, stream_tokens=8192, max_streams=48),
    9: Level(window=8128, stream_tokens=8192, max_streams=48),
}


def level_parameters(level: int, block_size: int | None = None) -> Level:
    """The parameters of a level, with another block size where given. Raises ValueError naming the range."""
    if level not in _LEVELS:
        raise ValueError(f"level {level}: levels are {MIN_LEVEL} to {MAX_LEVEL}")
    chosen = _LEVELS[level]
    if block_size is None:
        return chosen
    if not MIN_BLOCK_SIZE <= block_size <= MAX_BLOCK_SIZE:
        raise ValueError(f"block size {block_size}: sizes are {MIN_BLOCK_SIZE} to {MAX_BLOCK_SIZE} bytes")
    return dataclasses.replace(chosen, block_size=block_size)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one block's tokens are laid out."""

    streams: int
    window: int


def plan(level: Level, tokens: int, spec: ModelSpec) -> Plan:
    """Streams and window for a block of `tokens` tokens, at most `capacity(level, spec)`."""
    streams = max(1, min(tokens // level.stream_tokens, level.max_streams), -(-tokens // spec.max_positions))
    length = -(-tokens // streams)
    window = min(level.window, -(-length // WINDOW_UNIT) * WINDOW_UNIT)
    return Plan(streams, window)


def capacity(level: Level, spec: ModelSpec) -> int:
    """The most tokens that one block may hold."""
    return level.max_streams * spec.max_positions


def cache_bytes(spec: ModelSpec, tokens: int, streams: int, window: int) -> int:
    """The decoder's key/value cache for one block (docs/format.md, "Payloads")."""
    return streams * min(window + SINK_TOKENS, -(-tokens // streams)) * spec.cache_bytes_per_token


def cache_bound(level: Level, spec: ModelSpec) -> int:
    """A bound on the cache that any block of this level needs, known before the block is."""
    tokens = min(capacity(level, spec), level.block_size)  # a token stands for at least one byte
    streams = plan(level, tokens, spec).streams
    positions = min(streams * (level.window + SINK_TOKENS), tokens + streams)
    return positions * spec.cache_bytes_per_token
