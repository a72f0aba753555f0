"""One way of compression on some bytes: coded, decoded, compared, timed."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from llmzip.blocks.options import CompressionOptions
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.registry import FramedCodec
from llmzip.compressor import LLMZipCompressor
from llmzip.container.codec_ids import CodecId
from llmzip.container.frame_info import list_frames
from llmzip.container.frame_reader import read_frames
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.model.spec import ModelSpec
from llmzip.one_shot import decompress
from llmzip.predictor.schedule import Schedule
from llmzip.scoring.token_bits import SymbolBits, coding_order
from llmzip.types import Float64Array, IdArray, Progress


@dataclasses.dataclass(frozen=True)
class Coded:
    """What some bytes took."""

    bytes: int
    payload_bytes: int
    """Compressed, without what frames and checks add."""
    compression_seconds: float
    decompression_seconds: float
    file_bytes: int | None = None
    """Of the file that they became; None where they became only payloads."""
    memory: int | None = None
    """Bytes that the file's header states."""


def code_with_codec(codec: FramedCodec, data: bytes) -> Coded:
    """Code with a codec. Raises LLMZipError where it does not give the data back."""
    payloads = codec.payload_codec
    return _round_trip(data, payloads.encode, lambda packed: payloads.decode(packed, len(data)))


class TokenCosts:
    """A `BlockObserver`: what each token of a text cost."""

    def __init__(self, spec: ModelSpec) -> None:
        """spec: of the model."""
        self._spec = spec
        self._last: Float64Array | None = None
        self._blocks: list[Float64Array | None] = []

    @property
    def of_text(self) -> Float64Array | None:
        """The bits of each token, in the order of the text, [n]; None where the model has not coded
        all of it as one block.
        """
        return self._blocks[0] if len(self._blocks) == 1 else None

    def begin_payload(self, tokens: int, streams: int, mixes: bool) -> None:
        """See `CodingObserver.begin_payload`."""
        self._schedule = Schedule(tokens, streams)
        self._ids: list[IdArray] = []
        self._symbols = SymbolBits()

    def predictions(
        self,
        vectors: npt.NDArray[np.int8],
        scales: npt.NDArray[np.float32],
        targets: npt.NDArray[np.int32],
    ) -> None:
        """See `CodingObserver.predictions`."""
        self._ids.append(targets.copy())

    def corrections(self, *_: object) -> None:
        """See `CodingObserver.corrections`."""

    def symbols(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """See `CodingObserver.symbols`."""
        self._symbols.add(symbols, frequencies)

    def end_payload(self, parameters: bytes, coded: bytes) -> None:
        """See `CodingObserver.end_payload`."""
        bits = self._symbols.of_tokens(np.concatenate(self._ids), self._schedule, self._spec)
        self._last = bits[coding_order(self._schedule)]

    def block(self, block: EncodedBlock) -> None:
        """See `BlockObserver.block`."""
        by_model = block.inner == CodecId.LLM and not block.match_bytes
        self._blocks.append(self._last if by_model else None)


def code_at_level(
    level: int,
    loader: EngineLoader,
    data: bytes,
    progress: Progress | None = None,
    costs: TokenCosts | None = None,
) -> Coded:
    """Code as a file of a level. Raises LLMZipError where it does not give the data back, or the
    model is not installed.

    progress: is told the bytes and tokens that are done, in both directions one after the other.
    costs: is told what was coded.
    """
    model = loader.for_compression().model  # loaded before the clock starts
    packed = b""

    def encode(data: bytes) -> bytes:
        nonlocal packed
        packed = _compressed(level, loader, data, progress, costs)
        return packed

    coded = _round_trip(
        data,
        encode,
        lambda packed: decompress(packed, model=model, runtime=loader.runtime, progress=progress),
        _payload_bytes,
    )
    memory = max(frame.memory for frame in list_frames(io.BytesIO(packed)))
    return dataclasses.replace(coded, file_bytes=len(packed), memory=memory)


def encode_at_level(level: int, loader: EngineLoader, data: bytes) -> int:
    """How many bytes the payloads of a file of a level have."""
    return _payload_bytes(_compressed(level, loader, data))


def _compressed(
    level: int,
    loader: EngineLoader,
    data: bytes,
    progress: Progress | None = None,
    costs: TokenCosts | None = None,
) -> bytes:
    compressor = LLMZipCompressor.with_options(
        CompressionOptions(level=level),
        model=loader.for_compression().model,
        runtime=loader.runtime,
        progress=progress,
        observer=costs,
    )
    return compressor.compress(data) + compressor.flush()


def _payload_bytes(packed: bytes) -> int:
    return sum(len(block.payload) for frame in read_frames(io.BytesIO(packed)) for block in frame)


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
