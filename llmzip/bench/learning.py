"""How many bits the whole of a text takes, when a part of it took so many.

A longer text takes fewer bits a byte, as more of it has been seen. How much there is to be seen a
quick codec tells, of which a model gains a part: it knows the language before the first byte. Which
part that is depends on the text. So it is measured on it, too: some pieces of the sample are coded
alone, and what they take is compared with what they took among the others.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import zstandard

from llmzip.bench.coded import TokenCosts, encode_at_level
from llmzip.choosing.sample import Sample
from llmzip.engine_loader import EngineLoader
from llmzip.model.tokenizer import Tokenizer
from llmzip.types import Float64Array

_GAINED, _GAINED_LESS = 0.68, 0.04
"""By which power of what zstd gains a model does, mostly, and how much less for each level: the
longer its streams, the less it learns from other text (docs/notes/levels.md, "Estimates").
"""
_POWER_ERROR = 0.25
"""How far off the power is, about, where nothing speaks against it."""
_DOUBT = 0.04
"""The square of the gain [nats] from which on a measured power counts more than the usual one."""
_MOST_GAINED = 1.2
"""Of zstd's gain; more is an accident of few pieces."""
_ZSTD_LEVEL = 19
_ALONE = slice(1, None, 3)
"""Which pieces of a sample are coded alone, too."""


@dataclasses.dataclass(frozen=True)
class Learning:
    """What a sample has told of its text."""

    power: float
    """Of zstd's gain."""
    power_error: float
    pieces_error: float
    """How far the mean of so many pieces is off, relative, as they differ from each other."""

    def growth(self, gain: float) -> float:
        """The bits per byte of the whole, relative to those of the sample, where zstd's are
        `gain`.
        """
        return float(gain**self.power)

    def error(self, gain: float) -> float:
        """How far off, relative, such a forecast is, about: one standard deviation."""
        of_power = math.expm1(self.power_error * abs(math.log(gain)))
        return math.hypot(of_power, self.pieces_error)


def usual(level: int) -> Learning:
    """What is known of no text in particular."""
    return Learning(_GAINED - _GAINED_LESS * level, _POWER_ERROR, 0.0)


def learned(level: int, loader: EngineLoader, sample: Sample, costs: TokenCosts) -> Learning:
    """What the pieces of a sample tell, of which `costs` has been told when it was coded at this
    level. Codes a third of them once more.
    """
    pieces, alone = sample.pieces, sample.pieces[_ALONE]
    within = _bits_of_pieces(pieces, costs.of_text, loader.for_compression().model.tokenizer)
    if not alone or within is None:
        return usual(level)
    by_itself = [8 * size for size in map(_zstd_bytes, pieces)]
    differing = within / by_itself
    share = len(sample.data) / sample.total
    off = float(np.std(differing, ddof=1) / np.mean(differing))
    off *= math.sqrt((1 - share) / len(pieces))
    bits = 8 * encode_at_level(level, loader, b"".join(alone))
    gain = _gain(pieces) / _gain(alone)
    power, error = measured_power(_GAINED - _GAINED_LESS * level, gain, within[_ALONE].sum() / bits)
    return Learning(power, error, off)


def measured_power(usual_power: float, zstd_gain: float, gain: float) -> tuple[float, float]:
    """The power that lies between the usual one and that which leads from the one gain to the
    other, and how far off it may be.
    """
    x, y = math.log(zstd_gain), math.log(gain)
    power = (_DOUBT * usual_power + x * y) / (_DOUBT + x * x)
    power = min(max(power, 0.0), _MOST_GAINED)
    return power, max(_POWER_ERROR, abs(power - usual_power))


def zstd_rate(pieces: Sequence[bytes]) -> float:
    """What zstd makes of a byte, each piece by itself."""
    return sum(map(_zstd_bytes, pieces)) / sum(map(len, pieces))


def _gain(pieces: Sequence[bytes]) -> float:
    """What zstd makes of pieces together, relative to what it makes of each by itself."""
    return _zstd_bytes(b"".join(pieces)) / sum(map(_zstd_bytes, pieces))


def _zstd_bytes(data: bytes) -> int:
    return len(zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(data))


def _bits_of_pieces(
    pieces: Sequence[bytes], costs: Float64Array | None, tokenizer: Tokenizer
) -> Float64Array | None:
    """What each piece took among the others, [pieces]; None where the model has not coded all of
    them as one text.
    """
    counts = [len(tokenizer.encode(piece).ids) for piece in pieces]
    # A token may reach over an end of a piece, so that a few are more or less than together.
    if costs is None or len(pieces) < 2 or abs(sum(counts) - len(costs)) > 2 * len(pieces):
        return None
    ends = np.rint(np.cumsum(counts) * (len(costs) / sum(counts))).astype(int)
    begun = np.concatenate([[0], np.cumsum(costs)])  # bits before each token
    bits: Float64Array = np.diff(begun[np.concatenate([[0], ends])])
    return bits
