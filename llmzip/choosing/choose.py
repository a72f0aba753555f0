"""The level that compresses best within a time and a memory."""

from __future__ import annotations

import dataclasses
import io
import numbers
from typing import BinaryIO, cast

from llmzip import levels
from llmzip.blocks.options import DEFAULT_OPTIONS, CompressionOptions
from llmzip.buffers import Buffer, check_file, flat, whole_number
from llmzip.choosing.estimate import (
    UNKNOWN,
    LevelEstimate,
    LevelEstimator,
    Work,
    bytes_without_model,
)
from llmzip.choosing.kept_speed import speed_of
from llmzip.choosing.sample import Sample, take_sample
from llmzip.container.header import memory_code, memory_limit
from llmzip.engine_loader import DictionaryLike, EngineLoader, ModelLike
from llmzip.errors import LimitError
from llmzip.runtime import Runtime

_SAMPLE_BYTES, _PIECE_BYTES = 1 << 16, 1 << 12
"""Of a file that has several blocks: how many tokens its text has is a matter of percent."""
_MOST_READ = 1 << 22
"""Files up to this size are read as a whole where they may be one block."""


@dataclasses.dataclass(frozen=True)
class LevelChoice(LevelEstimate):
    """The level that was chosen, and what it takes."""

    in_time: bool
    """Whether it keeps to the time: where no level does, it is the quickest."""


def choose_level(
    source: Buffer | BinaryIO,
    *,
    target_time: float | None = None,
    target_memory: int | None = None,
    model: ModelLike | None = None,
    dictionary: DictionaryLike | None = None,
    block_size: int | None = None,
    block_lines: int | None = None,
    mixing: bool = True,
    solid: bool = False,
    runtime: Runtime | None = None,
) -> LevelChoice:
    """The highest level at which neither compression nor decompression of the source takes longer
    than `target_time` seconds on this machine, and decoding no more than `target_memory` bytes, as
    `max_memory` counts them. `compress` with this level makes the file that the estimate is of.

    source: what is to be compressed, as bytes, or as a binary file that can be read anywhere, of
    which a sample is read and whose position stays. The speed is measured, in seconds, and kept for
    a day, on a busy machine for minutes; the other arguments are those of `compress`.
    Where no level is that quick, it is the quickest.

    Raises ValueError for a time or memory that is not above 0, TypeError for one that is no number
    and for a source that is neither, LimitError where no level needs so little memory,
    ModelNotFoundError where the model is not installed.
    """
    if target_time is not None and not isinstance(target_time, numbers.Real):
        raise TypeError(f"target_time must be a number of seconds, not {target_time!r}")
    if target_memory is not None:
        whole_number(target_memory, "target_memory")
    for what, target in (("time", target_time), ("memory", target_memory)):
        if target is not None and not target > 0:
            raise ValueError(f"a target {what} of {target}: it is above 0")
    if hasattr(source, "read"):
        check_file(source, "seek", "choose_level")
        file = cast("BinaryIO", source)
    else:
        file = io.BytesIO(flat(source, "choose_level"))
    options = CompressionOptions(
        block_size=block_size, block_lines=block_lines, mixing=mixing, solid=solid
    )
    loader = EngineLoader.of(model, dictionary, runtime)
    return choose(file, loader, options, target_time, target_memory)


def choose(
    file: BinaryIO | None,
    loader: EngineLoader,
    options: CompressionOptions = DEFAULT_OPTIONS,
    target_time: float | None = None,
    target_memory: int | None = None,
) -> LevelChoice:
    """The same for options that are one value; file: None where only memory is asked for, of what
    nobody knows the length.
    """
    sample = None if file is None else known_of(file, options)
    if sample and _is_without_model(sample, options):  # no level matters, no model is needed
        estimates = [_without_model(sample, options)]
    else:
        estimates = _estimates(sample, loader, options, timed=target_time is not None)
    if target_memory is not None:
        least = min(estimates, key=lambda estimate: estimate.memory)
        estimates = [estimate for estimate in estimates if estimate.memory <= target_memory]
        if not estimates:
            raise LimitError(
                f"no level is decoded in {target_memory:,} bytes of memory: level {least.level} "
                f"needs {least.memory:,}; allow more, or choose a smaller block size "
                "(--block-size, or block_size in Python)"
            )
    quick = [e for e in estimates if target_time is None or e.seconds <= target_time]
    chosen = quick[-1] if quick else min(estimates, key=lambda estimate: estimate.seconds)
    return LevelChoice(**dataclasses.asdict(chosen), in_time=bool(quick))


def known_of(file: BinaryIO, options: CompressionOptions = DEFAULT_OPTIONS) -> Sample:
    """Of a file, what is read to see what it takes: what may be one block as a whole, else
    pieces.
    """
    block = levels.level_parameters(levels.DEFAULT_LEVEL, options.block_size).block_size
    whole = take_sample(file, min(block, _MOST_READ), min(block, _MOST_READ))
    sample = whole if whole.is_whole else take_sample(file, _SAMPLE_BYTES, _PIECE_BYTES)
    return dataclasses.replace(sample, is_for_model=options.codec is not None, block_size=block)


def _is_without_model(sample: Sample, options: CompressionOptions) -> bool:
    """Whether it is known that no model is asked: parts of the file may be text where it is none
    as a whole.
    """
    return sample.is_whole and not sample.text and options.block_lines is None


def _without_model(sample: Sample, options: CompressionOptions) -> LevelEstimate:
    need = bytes_without_model(sample.data, options)
    return LevelEstimate(levels.DEFAULT_LEVEL, 0.0, 0.0, memory_limit(memory_code(need)))


def _estimates(
    sample: Sample | None, loader: EngineLoader, options: CompressionOptions, timed: bool
) -> list[LevelEstimate]:
    """Of all levels; without `timed`, times are 0 and nothing is measured."""
    engine = loader.for_compression()
    work = Work.of(sample, engine) if sample else UNKNOWN
    speed = speed_of(engine, loader.runtime) if timed and work.text_bytes else None
    dictionary = loader.prepared_dictionary(engine)
    estimator = LevelEstimator(work, engine, speed, options, dictionary)
    return [estimator.estimate(number) for number in levels.LEVELS]
