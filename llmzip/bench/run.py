"""Measures one file within a time: codecs first, which are quick, then llmzip's levels from the
quickest on, model by model.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import BinaryIO

from llmzip.bench.coded import TokenCosts, code_at_level, code_with_codec
from llmzip.bench.forecast import Forecast, gain
from llmzip.bench.learning import learned, usual
from llmzip.bench.rows import Found, Row, marked
from llmzip.choosing.choose import known_of
from llmzip.choosing.sample import take_sample
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.evaluation.codec_rows import make_codec
from llmzip.types import Progress

DEFAULT_LEVELS = (1, 3, 6, 9)
DEFAULT_CODECS = ("zlib:level=9", "zstd:level=19", "xz:preset=9", "brotli:quality=11", "ppmd")
DEFAULT_SECONDS = 120.0

Begin = Callable[[str, int], Progress | None]
"""Told what is measured now, on how many bytes; what it returns is told the bytes and tokens that
are done.
"""

_PIECE_BYTES, _LEAST_PIECES = 1 << 14, 4
"""Of samples: a single piece would be the file's beginning, which is often of another kind."""
_CODECS_SHARE = 0.2
"""Which part of the time the codecs may take, together."""
_MOST_CODED = 1 << 27
"""Bytes that a codec gets at once, at most."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What is to be measured."""

    levels: tuple[int, ...] = DEFAULT_LEVELS
    codecs: tuple[str, ...] = DEFAULT_CODECS
    """`NAME[:key=value,...]`; those whose package is missing are left out."""
    loaders: tuple[EngineLoader, ...] = (EngineLoader(),)
    """One for each model."""
    seconds: float = DEFAULT_SECONDS
    """About how long it may take; the quickest level is measured in any case."""
    sample: int | None = None
    """Bytes that the levels code; None: as many as the time allows."""


class Bench:
    """The measurement of one file."""

    def __init__(self, file: BinaryIO, filename: str, wishes: Wishes, begin: Begin) -> None:
        """file: can be read anywhere."""
        self._file = file
        self._filename = filename
        self._wishes = wishes
        self._begin = begin
        self._ends = time.monotonic() + wishes.seconds
        self._known = self._sample = known_of(file)
        self._gain = 1.0
        self._rows: list[Row] = []
        self._left_out: list[str] = []

    @property
    def found(self) -> Found:
        """What there is so far."""
        return Found(
            self._filename,
            self._sample.total,
            len(self._sample.data),
            len(self._sample.pieces),
            marked(self._rows),
            tuple(self._left_out),
        )

    def run(self) -> None:
        """Measure. Raises LLMZipError for an empty file, a codec that is none, a missing model, and
        where something is not decoded as it was.
        """
        if not self._known.total:
            raise LLMZipError("is empty: there is nothing to measure")
        for text in self._wishes.codecs:
            self._measure_codec(text)
        size = self._wishes.sample
        for loader in self._wishes.loaders if self._wishes.levels else ():
            self._begin("the model and its speed", 0)
            forecast = Forecast(self._known, loader)
            if size is None:
                seconds = (self._ends - time.monotonic()) / len(self._wishes.loaders)
                size = forecast.affordable(self._wishes.levels, seconds)
            self._sample = take_sample(
                self._file, size, max(1, min(size // _LEAST_PIECES, _PIECE_BYTES))
            )
            self._gain = gain(self._sample, self._file)
            for level in sorted(self._wishes.levels):
                self._measure_level(level, forecast)

    def _measure_codec(self, text: str) -> None:
        """First on what is known of the file, then on as much as its part of the time allows."""
        try:
            codec = make_codec(text)
        except LLMZipError as error:
            if text not in DEFAULT_CODECS:
                raise
            self._left_out.append(f"{text}: {error}")
            return
        if codec.payload_codec.needs_model:
            raise LLMZipError(f"codec {text} has a model: levels and models are options")
        self._begin(text, len(self._known.data))
        coded = code_with_codec(codec, self._known.data)
        seconds = coded.compression_seconds + coded.decompression_seconds
        share = _CODECS_SHARE * self._wishes.seconds / len(self._wishes.codecs)
        total = self._known.total
        size = min(total, _MOST_CODED, int(share / max(seconds, 1e-6) * coded.bytes))
        if size > coded.bytes:
            (data,) = take_sample(self._file, size, size).pieces
            coded = code_with_codec(codec, data)
        scale = total / coded.bytes
        self._rows.append(
            Row(
                text,
                None,
                None,
                coded,
                round(coded.payload_bytes * scale),
                coded.compression_seconds * scale,
                coded.decompression_seconds * scale,
                None,
            )
        )

    def _measure_level(self, level: int, forecast: Forecast) -> None:
        several = len(self._wishes.loaders) > 1
        name = f"llmzip -{level}" + (f" -m {forecast.model}" if several else "")
        size, text_share = len(self._sample.data), self._sample.text_share
        expected = forecast.of_part(level, size, text_share)
        seconds = forecast.seconds(expected)
        late = time.monotonic() + seconds - self._ends
        if late > 0 and any(row.level for row in self._rows):
            self._left_out.append(f"{name}: the time is too short by some {late:.0f} s")
            return
        progress = self._begin(name, 2 * size)
        loader, sample = forecast.loader, self._sample
        costs = TokenCosts(loader.for_compression().model.spec)
        coded = code_at_level(level, loader, sample.data, progress, costs)
        learning = usual(level) if sample.is_whole else learned(level, loader, sample, costs)
        self._rows.append(forecast.row(name, level, coded, text_share, self._gain, learning))
