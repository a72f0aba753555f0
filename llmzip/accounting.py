"""The memory that decoding a block takes, computed before anything is allocated (docs/format.md,
"Memory").

One account for all: encoders state it in a frame's header, decoders hold it against the header and
against what their caller allows. It counts what a file can make larger or smaller; the program, the
model's weights and what an engine needs for any file come on top.
"""

from __future__ import annotations

import functools
import os

from llmzip import control_groups
from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.container.block import MAX_LOOKBACK
from llmzip.levels import Level
from llmzip.mixing.base import MIXING_VERSION, mixer_bytes
from llmzip.model.spec import ModelSpec

_BASE_BYTES = 1 << 22
"""Of any block: what coders need for one byte, and what allocators round up."""
_DRAFT_BYTES = 3 << 20
"""Of these, what drafts take (`predictor/speculation.py`)."""
_BYTES_PER_BYTE = 8
"""A block and its payload on their ways from the file to the caller, with the dictionary of zstd or
xz.
"""

SLOT_UNIT = 32
"""Positions of the cache, and dimensions of a head, that lie together."""
# Candidates and features of a stream's step, most of it in the reference mixer.
_STREAM_BYTES = 1 << 17
# Of a stream: the head's sums, the buckets' weights and frequencies.
_BYTES_PER_BUCKET = 4 * BUCKET_SIZE + 64
_BYTES_PER_TOKEN = 64
# Of the meta-token codec: tokens, and what codes them.
_BYTES_PER_EXPANDED, _BYTES_PER_SYMBOL, _BYTES_PER_META = 16, 64, 256
_DICTIONARY_MIXERS = 3  # the block's, and those of the dictionary that are kept: each capacity once


def block_bytes(size: int, solid: bool, decoder_bytes: int = 0) -> int:
    """The memory for a block of `size` bytes; decoder_bytes: of that, what a codec with a model
    takes.
    """
    return _BASE_BYTES + _BYTES_PER_BYTE * size + decoder_bytes + (MAX_LOOKBACK if solid else 0)


def llm_bytes(
    tokens: int,
    streams: int,
    slots: int,
    capacity_bits: int,
    spec: ModelSpec,
    has_dictionary: bool,
    mixing_version: int = MIXING_VERSION,
) -> int:
    """The memory for a payload of the llm codec: see `StreamLayout.decoder_bytes`.

    slots: positions of the cache, over all streams. capacity_bits: of its mixer, 0 for none.
    """
    slot = slot_bytes(spec)
    buckets = -(-spec.vocab // BUCKET_SIZE)
    features = spec.features
    pair = 9 * rounded_up(features.expert_ff) + 5 * rounded_up(spec.d_model)
    mixer = (
        mixer_bytes(capacity_bits, spec.d_model, spec.vocab, mixing_version) if capacity_bits else 0
    )
    return (
        slots * slot
        + streams * (_STREAM_BYTES + buckets * _BYTES_PER_BUCKET + features.experts_used * pair)
        + tokens * _BYTES_PER_TOKEN
        + mixer * (_DICTIONARY_MIXERS if has_dictionary else 1)
    )


def slot_bytes(spec: ModelSpec) -> int:
    """The memory for a position of the key/value cache."""
    return spec.layers * spec.kv_heads * (2 * rounded_up(spec.head_dim) + 12)


def draft_rows(spec: ModelSpec) -> int:
    """How many rows of drafts a decoder's step may have, over all streams, so that the memory for
    any block covers them: each has a position of the cache, and the head's sums.
    """
    buckets = -(-spec.vocab // BUCKET_SIZE)
    return _DRAFT_BYTES // (slot_bytes(spec) + buckets * _BYTES_PER_BUCKET)


def meta_token_bytes(tokens: int, symbols: int, metas: int, vocab: int) -> int:
    """The memory for a payload of the meta-token codec."""
    return (
        _BYTES_PER_EXPANDED * tokens
        + _BYTES_PER_SYMBOL * (symbols + vocab)
        + _BYTES_PER_META * metas
    )


def meta_token_bound(level: Level, vocab: int) -> int:
    """An upper bound on `meta_token_bytes` at a level: symbols are never more than tokens."""
    tokens = level.block_size
    return meta_token_bytes(tokens, tokens, tokens // 3, vocab)


@functools.cache
def machine_bytes() -> int:
    """The memory of this machine in bytes, or of the container: a decoder's limit where its caller
    sets none.
    """
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        there = 1 << 62
    limit = control_groups.memory_limit()
    return there if limit is None else min(there, limit)


def rounded_up(count: int) -> int:
    """The positions, or dimensions of a head, that a cache with room for `count` allocates."""
    return -(-count // SLOT_UNIT) * SLOT_UNIT
