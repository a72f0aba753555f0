"""Text from the code lengths of any codec (docs/generation.md)."""

from __future__ import annotations

from collections.abc import Iterator

from llmzip.buffers import whole_number
from llmzip.codecs.base import PayloadCodec
from llmzip.generation.randomness import Randomness


def generate_by_codec(
    codec: PayloadCodec, prompt: bytes, count: int, *, seed: int = 0
) -> Iterator[bytes]:
    """`count` bytes that follow a prompt, by the code lengths ℓ of any codec: p(b | x) ∝ 2^(ℓ(x) −
    ℓ(xb)).

    "Language Modeling Is Compression" (arXiv 2309.10668), section 3.4. Lengths are whole bytes, so
    most codecs know little of the next byte. Every byte takes 256 compressions. Raises ValueError
    for parameters out of range.
    """
    if whole_number(count, "count") < 0:
        raise ValueError(f"count {count}: at least 0 bytes")
    return _generate_by_codec(codec, prompt, count, Randomness(seed))


def _generate_by_codec(
    codec: PayloadCodec, text: bytes, count: int, random: Randomness
) -> Iterator[bytes]:
    for _ in range(count):
        sizes = [len(codec.encode(text + bytes([byte]))) for byte in range(256)]
        byte = bytes([random.choose([1 << 8 * (max(sizes) - size) for size in sizes])])
        yield byte
        text += byte
