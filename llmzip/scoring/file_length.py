"""The real file of a text, and where its bits come from."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.blocks.options import DEFAULT_OPTIONS, CompressionOptions
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.compressor import LLMZipCompressor
from llmzip.container.codec_ids import CodecId
from llmzip.engine.base import Engine
from llmzip.predictor.dictionary import Dictionary
from llmzip.scoring.integer_scorer import IntegerPredictions, IntegerScorer
from llmzip.scoring.spans import LITERAL_BITS
from llmzip.types import TokenProgress


@dataclasses.dataclass(frozen=True)
class FileLength:
    """A compressed file's bits: `model + tables + mixing + tail + header + matches + others` is the
    file.
    """

    text_bytes: int
    file_bits: int
    model_bits: float
    """What the model's own probabilities give, with the file's streams and window."""
    table_bits: float
    """What the coder's integer tables cost beyond that."""
    mixing_bits: float
    """What the mixer adds to that: negative where it saves."""
    tail_bits: float
    """What the range coder wrote beyond the tables' ideal code length."""
    header_bits: int
    """Frame and block headers, checks, index, and the parameters of the model's payloads."""
    match_bits: int
    """The long-distance matches: lengths and offsets, in blocks of any codec."""
    other_bits: int
    """What other codecs than the model have made of blocks, or of what the matches leave of
    them.
    """

    @property
    def bits_per_byte(self) -> float:
        """The rate of the file without its overhead (tables, tail, header), and without mixing."""
        return (self.model_bits + self.match_bits + self.other_bits) / self.text_bytes

    @property
    def file_bits_per_byte(self) -> float:
        """The rate of the real file."""
        return self.file_bits / self.text_bytes


def file_length(
    scorer: IntegerScorer,
    data: bytes,
    options: CompressionOptions = DEFAULT_OPTIONS,
    *,
    dictionary: Dictionary | None = None,
    progress: TokenProgress | None = None,
) -> FileLength:
    """Compress `data` with the scorer's model, and book each part of the file where it belongs.

    The tokens that the model codes are also measured with the coder's tables as they are without
    the mixer, to tell what the tables cost from what the mixer saves. progress: is told how many
    tokens are coded, those of payloads that lose against another codec's included.
    """
    ledger = _Ledger(scorer.engine, progress)
    compressor = LLMZipCompressor.with_options(
        options, model=scorer.engine.model, dictionary=dictionary, observer=ledger
    )
    packed = compressor.compress(data) + compressor.flush()
    return FileLength(
        text_bytes=len(data),
        file_bits=8 * len(packed),
        model_bits=ledger.model_bits,
        table_bits=ledger.table_bits - ledger.model_bits,
        mixing_bits=ledger.ideal_bits - ledger.table_bits,
        tail_bits=8 * ledger.coded_bytes - ledger.ideal_bits,
        header_bits=8
        * (len(packed) - ledger.coded_bytes - ledger.match_bytes - ledger.other_bytes),
        match_bits=8 * ledger.match_bytes,
        other_bits=8 * ledger.other_bytes,
    )


@dataclasses.dataclass
class _Payload:
    """What the model has coded as one payload."""

    model_bits: float = 0.0
    """The code length by the model's token weights."""
    table_bits: float = 0.0
    """The code length by the coder's tables of these weights."""
    ideal_bits: float = 0.0
    """The code length by the tables that the coder was given: those that mixing has corrected."""
    coded_bytes: int = 0


class _Ledger(_Payload):
    """A `BlockObserver` that adds up the payloads of the blocks that are written."""

    def __init__(self, engine: Engine, progress: TokenProgress | None) -> None:
        super().__init__()
        self.match_bytes = self.other_bytes = 0
        self._engine = engine
        self._progress = progress
        self._tokens = 0
        self._payload = _Payload()

    def begin_payload(self, tokens: int, streams: int, mixes: bool) -> None:
        """See `CodingObserver.begin_payload`."""
        self._payload = _Payload()

    def predictions(
        self,
        vectors: npt.NDArray[np.int8],
        scales: npt.NDArray[np.float32],
        targets: npt.NDArray[np.int32],
    ) -> None:
        """See `CodingObserver.predictions`."""
        predicted = IntegerPredictions(self._engine, vectors, scales)
        literals = LITERAL_BITS * int(
            np.count_nonzero(targets == self._engine.model.spec.escape_token)
        )
        self._payload.model_bits += float(predicted.measure(targets)[0].sum()) + literals
        self._payload.table_bits += float(predicted.table_bits(targets).sum()) + literals
        self._tokens += len(targets)
        if self._progress:
            self._progress(self._tokens)

    def corrections(self, *_: object) -> None:
        """See `CodingObserver.corrections`."""

    def symbols(
        self, symbols: npt.NDArray[np.integer], frequencies: npt.NDArray[np.integer]
    ) -> None:
        """See `CodingObserver.symbols`."""
        chosen = frequencies[np.arange(len(symbols)), symbols]
        self._payload.ideal_bits += float(np.log2(frequencies.sum(axis=1) / chosen).sum())

    def end_payload(self, parameters: bytes, coded: bytes) -> None:
        """See `CodingObserver.end_payload`."""
        self._payload.coded_bytes = len(coded)

    def block(self, block: EncodedBlock) -> None:
        """See `BlockObserver.block`."""
        self.match_bytes += block.match_bytes
        if block.inner != CodecId.LLM:
            self.other_bytes += len(block.payload) - block.match_bytes
            return
        for field in dataclasses.fields(_Payload):
            setattr(
                self, field.name, getattr(self, field.name) + getattr(self._payload, field.name)
            )
