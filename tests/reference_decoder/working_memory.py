"""What a block needs at most, which its frame's header must state (docs/format.md, "Memory")."""

from __future__ import annotations

import math

from tests.reference_decoder.llm import StreamLayout
from tests.reference_decoder.model import Spec
from tests.reference_decoder.transformer import SINK_TOKENS


def stated_bytes(code: int) -> int:
    """What a header's byte stands for: 2 ** (code / 4), rounded up."""
    if code == 0:
        return 0
    root = math.isqrt(math.isqrt(1 << code))
    return root if root**4 == 1 << code else root + 1


def code_for(count: int) -> int:
    """The smallest header's byte that states so many bytes."""
    return next(code for code in range(256) if stated_bytes(code) >= count)


def block_bytes(size: int, solid: bool) -> int:
    """What every block needs."""
    return 2**22 + 8 * size + (2**26 if solid else 0)


def llm_bytes(
    layout: StreamLayout, spec: Spec, context: int, has_dictionary: bool, mixing_version: int
) -> int:
    """What a payload of the codec llm needs beside that."""
    longest = context - (-layout.tokens // layout.streams)
    seen = min(min(layout.window, longest) + SINK_TOKENS, spec.max_positions)
    position = spec.layers * spec.kv_heads * (2 * _rounded_up(spec.head_dim) + 12)
    buckets = -(-spec.vocab // 256)
    features = spec.features or {}
    used, inner = (int(features.get(name, 0)) for name in ("experts_used", "expert_ff"))
    of_expert = 9 * _rounded_up(inner) + 5 * _rounded_up(spec.d_model)
    mixing = 0
    if layout.capacity_bits:
        of_each = 8 * -(-spec.d_model // 64) + (188 if mixing_version == 1 else 196)
        mixing = (
            (of_each << layout.capacity_bits)
            + 32 * spec.vocab
            + (2**16 if mixing_version > 2 else 0)
        )
    return (
        layout.streams * _rounded_up(seen) * position
        + layout.streams * (2**17 + 1088 * buckets)
        + layout.streams * used * of_expert
        + 64 * layout.tokens
        + (3 if has_dictionary else 1) * mixing
    )


def meta_token_bytes(tokens: int, symbols: int, metas: int, vocab: int) -> int:
    """What a payload of the codec meta-token needs beside that."""
    return 16 * tokens + 64 * (symbols + vocab) + 256 * metas


def _rounded_up(count: int) -> int:
    return -(-count // 32) * 32
