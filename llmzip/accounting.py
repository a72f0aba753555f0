"""What a decoder allocates for a block, known before it allocates (docs/format.md, "Memory").

One account for all: encoders state it in a frame's header, decoders hold it against the header and against what their caller
allows. It counts what a file can make larger or smaller; the program, the model's weights and what an engine needs for any
file come on top.
"""

from __future__ import annotations

import os

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.codecs.history import REACH
from llmzip.engine.base import SINK_TOKENS
from llmzip.levels import WINDOW_UNIT, Level, Plan, capacity, plan
from llmzip.mixing.base import capacity_bits_for, mixer_bytes
from llmzip.model.spec import ModelSpec

_BASE_BYTES = 1 << 22
"""Of any block: what coders need for one byte, and what allocators round up."""
_BYTES_PER_BYTE = 8
"""A block and its payload on their ways from the file to the caller, with the dictionary of zstd or xz."""

_SLOT_UNIT = 32  # positions of the cache, and dimensions of a head, that lie together
_STREAM_BYTES = 1 << 17  # candidates and features of a stream's step, most of it in the reference mixer
_BYTES_PER_BUCKET = 4 * BUCKET_SIZE + 64  # of a stream: the head's sums, the buckets' weights and frequencies
_BYTES_PER_TOKEN = 64
# Of the meta-token codec: tokens, and what codes them.
_BYTES_PER_EXPANDED, _BYTES_PER_SYMBOL, _BYTES_PER_META = 16, 64, 256
_DICTIONARY_MIXERS = 3  # the block's, and those of the dictionary that are kept: each capacity once


def block_bytes(size: int, solid: bool, coder: int = 0) -> int:
    """For a block of `size` bytes; coder: for the model-based codec of its payload, where it has one."""
    return _BASE_BYTES + _BYTES_PER_BYTE * size + coder + (REACH if solid else 0)


def llm_bytes(layout: Plan, spec: ModelSpec, has_dictionary: bool) -> int:
    """For a payload of the llm codec."""
    longest = layout.context - (-layout.tokens // layout.streams)
    slots = _rounded_up(min(min(layout.window, longest) + SINK_TOKENS, spec.max_positions))
    return _llm_bytes(layout.tokens, layout.streams, layout.streams * slots, layout.capacity_bits, spec, has_dictionary)


def llm_bound(level: Level, spec: ModelSpec, context: int, capacity_bits: int | None, has_dictionary: bool) -> int:
    """At least that of any payload that is made at this level.

    capacity_bits: the mixer's capacity, None where the number of tokens decides it, 0 for none.
    """
    tokens = min(capacity(level, spec, context), level.block_size)  # a token stands for at least one byte
    streams = plan(level, tokens, spec, context).streams
    widest = _rounded_up(max(level.window, context) + WINDOW_UNIT + SINK_TOKENS)
    longest = context + 1 + SINK_TOKENS + _SLOT_UNIT  # of a stream beside its share of the tokens
    bits = capacity_bits_for(tokens) if capacity_bits is None else capacity_bits
    return _llm_bytes(tokens, streams, min(streams * widest, tokens + streams * longest), bits, spec, has_dictionary)


def _llm_bytes(tokens: int, streams: int, slots: int, capacity_bits: int, spec: ModelSpec, has_dictionary: bool) -> int:
    """slots: positions of the cache, over all streams."""
    slot = spec.layers * spec.kv_heads * (2 * _rounded_up(spec.head_dim) + 12)
    buckets = -(-spec.vocab // BUCKET_SIZE)
    mixer = mixer_bytes(capacity_bits, spec.d_model, spec.vocab) if capacity_bits else 0
    return (
        slots * slot
        + streams * (_STREAM_BYTES + buckets * _BYTES_PER_BUCKET)
        + tokens * _BYTES_PER_TOKEN
        + mixer * (_DICTIONARY_MIXERS if has_dictionary else 1)
    )


def meta_token_bytes(tokens: int, symbols: int, metas: int, vocab: int) -> int:
    """For a payload of the meta-token codec."""
    return _BYTES_PER_EXPANDED * tokens + _BYTES_PER_SYMBOL * (symbols + vocab) + _BYTES_PER_META * metas


def meta_token_bound(level: Level, vocab: int) -> int:
    """At least that of any payload that is made of a block of this level: symbols are never more than tokens."""
    tokens = level.block_size
    return meta_token_bytes(tokens, tokens, tokens // 3, vocab)


def machine_bytes() -> int:
    """The memory of this machine: what a decoder takes as the limit where its caller sets none."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        return 1 << 62


def _rounded_up(count: int) -> int:
    return -(-count // _SLOT_UNIT) * _SLOT_UNIT
