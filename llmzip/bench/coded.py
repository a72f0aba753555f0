"""One way of compression on some bytes: coded, decoded, compared, timed."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable

from llmzip.codecs.registry import FramedCodec
from llmzip.container.frame_reader import read_frames
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.one_shot import compress, decompress
from llmzip.types import Progress


@dataclasses.dataclass(frozen=True)
class Coded:
    """What some bytes took."""

    bytes: int
    payload_bytes: int
    """Compressed, without what frames and checks add."""
    compression_seconds: float
    decompression_seconds: float


def code_with_codec(codec: FramedCodec, data: bytes) -> Coded:
    """Code with a codec. Raises LLMZipError where it does not give the data back."""
    payloads = codec.payload_codec
    return _round_trip(data, payloads.encode, lambda packed: payloads.decode(packed, len(data)))


def code_at_level(
    level: int, loader: EngineLoader, data: bytes, progress: Progress | None = None
) -> Coded:
    """Code as a file of a level. Raises LLMZipError where it does not give the data back, or the
    model is not installed.

    progress: is told the bytes and tokens that are done, in both directions one after the other.
    """
    model = loader.for_compression().model  # loaded before the clock starts
    how = loader.runtime
    return _round_trip(
        data,
        lambda data: compress(data, level, model=model, runtime=how, progress=progress),
        lambda packed: decompress(packed, model=model, runtime=how, progress=progress),
        lambda packed: sum(
            len(block.payload) for frame in read_frames(io.BytesIO(packed)) for block in frame
        ),
    )


def _round_trip(
    data: bytes,
    encode: Callable[[bytes], bytes],
    decode: Callable[[bytes], bytes],
    payload: Callable[[bytes], int] = len,
) -> Coded:
    begun = time.perf_counter()
    packed = encode(data)
    middle = time.perf_counter()
    if decode(packed) != data:
        raise LLMZipError("what was decoded is not what was coded")
    return Coded(len(data), payload(packed), middle - begun, time.perf_counter() - middle)
