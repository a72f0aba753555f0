"""What the whole file takes at a level, from a sample that was coded.

A longer text takes fewer bits a byte, as more of it has been seen; and a part may be easier than
the whole. Both show in what a quick codec makes of the sample and of whole blocks (`gain`), and
`learning` says what follows for a model. Times follow from what is known of the
engine: a longer block has more streams in a step, or longer ones. docs/levels.md has how far
forecasts were off.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import BinaryIO

from llmzip.bench.coded import Coded
from llmzip.bench.learning import Learning, zstd_rate
from llmzip.bench.rows import Row
from llmzip.blocks.options import DEFAULT_OPTIONS
from llmzip.choosing.estimate import LevelEstimate, LevelEstimator, Work
from llmzip.choosing.kept_speed import speed_of
from llmzip.choosing.sample import Sample, take_sample
from llmzip.engine_loader import EngineLoader
from llmzip.levels import DEFAULT_LEVEL, LEVELS

_SIZES = tuple(1 << bits for bits in range(13, 20))
"""Of samples, 8 KiB to 512 KiB."""
_BLOCKS = 4
"""How many blocks zstd is tried on."""
_BLOCK_BYTES, _FRAME_BYTES = 10, 24
"""What a block and a file add to the payloads, about."""


class Forecast:
    """The levels of one model on one file."""

    def __init__(self, known: Sample, loader: EngineLoader) -> None:
        """known: of the file, to see what kind of text it is. Loads the model, and measures the
        engine where that was not done for a day (`kept_speed`).
        """
        self.loader = loader
        self._engine = loader.for_compression()
        self._speed = speed_of(self._engine, loader.runtime)
        self._work = Work.of(known, self._engine)

    @property
    def model(self) -> str:
        """The model's name, or fingerprint where it was not given by name."""
        given = self.loader.model
        return str(given) if isinstance(given, str) else self._engine.model.fingerprint.hex()[:16]

    def of_file(self, level: int) -> LevelEstimate:
        """What the file is expected to take before anything is coded."""
        return self._estimate(level, self._work)

    def of_part(self, level: int, size: int, text_share: float) -> LevelEstimate:
        """What a part of it is expected to take."""
        part = dataclasses.replace(
            self._work, size=size, text_bytes=round(size * text_share), only_block=None
        )
        return self._estimate(level, part)

    def affordable(self, levels: Sequence[int], seconds: float) -> int:
        """The largest sample, in bytes, that can be coded and decoded at all levels in so many
        seconds, or the smallest there is.
        """
        share = self._work.text_bytes / max(1, self._work.size or 0)
        fitting = [
            size
            for size in _SIZES
            if sum(self.seconds(self.of_part(level, size, share)) for level in levels) <= seconds
        ]
        return fitting[-1] if fitting else _SIZES[0]

    @staticmethod
    def seconds(of_sample: LevelEstimate) -> float:
        """How long a sample takes in both directions, where a third of it is coded once more."""
        return 4 / 3 * of_sample.compression_seconds + of_sample.decompression_seconds

    def row(
        self,
        name: str,
        level: int,
        coded: Coded,
        text_share: float,
        gain: float,
        learning: Learning,
    ) -> Row:
        """What the whole file takes, where this was coded of it. gain: as the function of this
        name gives it.
        """
        whole, part = self.of_file(level), self.of_part(level, coded.bytes, text_share)
        size = self._work.size or 0
        scale = size / coded.bytes
        payloads = coded.payload_bytes * scale * learning.growth(gain)
        frames = _FRAME_BYTES + _BLOCK_BYTES * -(-size // LEVELS[level].block_size)
        forecast, memory = round(payloads) + frames, whole.memory
        if coded.bytes == size and coded.file_bytes and coded.memory:  # it is that file
            forecast, memory = coded.file_bytes, coded.memory
        return Row(
            name,
            level,
            self.model,
            coded,
            forecast,
            _scaled(
                coded.compression_seconds,
                part.compression_seconds,
                whole.compression_seconds,
                scale,
            ),
            _scaled(
                coded.decompression_seconds,
                part.decompression_seconds,
                whole.decompression_seconds,
                scale,
            ),
            memory,
            learning.error(gain),
        )

    def _estimate(self, level: int, work: Work) -> LevelEstimate:
        estimator = LevelEstimator(work, self._engine, self._speed, DEFAULT_OPTIONS)
        return estimator.estimate(level)


def gain(sample: Sample, file: BinaryIO) -> float:
    """What zstd makes of whole blocks of a file, for each bit that it makes of a sample's byte."""
    if sample.is_whole:
        return 1.0
    block = LEVELS[DEFAULT_LEVEL].block_size
    blocks = take_sample(file, _BLOCKS * block, block).pieces
    if len(blocks) == 1:  # of a file that is no longer than them
        blocks = tuple(blocks[0][i : i + block] for i in range(0, len(blocks[0]), block))
    return zstd_rate(blocks) / zstd_rate([sample.data])


def _scaled(measured: float, part: float, whole: float, scale: float) -> float:
    """The time of the whole, where a part took so long: as the expected times, if the model takes
    any.
    """
    return measured * (whole / part if part else scale)
