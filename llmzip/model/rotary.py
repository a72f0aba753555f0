"""Frequencies of rotary positions with their scalings, exact (docs/arithmetic.md, section 3.9).

Everything is evaluated in decimal numbers of 80 digits, whose functions are correctly rounded
everywhere, and then written in units of 2**-192.
"""

from __future__ import annotations

import dataclasses
import decimal
import math
from collections.abc import Iterator
from decimal import Decimal

from llmzip.errors import UnsupportedModelError
from llmzip.model.files import shown

_DIGITS = 80
_UNIT_BITS = 192
_TWO_PI = 2 * Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534"
)

MIN_THETA, MAX_THETA = 1.0, 2.0**64
"""No frequency above one radian a position, and none that 192-bit numbers do not hold."""


@dataclasses.dataclass(frozen=True)
class Linear:
    """All frequencies divided by a factor (position interpolation, arXiv 2306.15595)."""

    factor: float


@dataclasses.dataclass(frozen=True)
class Llama3:
    """Low frequencies divided by a factor, with a ramp between (Llama 3.1)."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_positions: int


@dataclasses.dataclass(frozen=True)
class Yarn:
    """The same with a ramp over the dimensions (YaRN, arXiv 2309.00071)."""

    factor: float
    original_positions: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True


@dataclasses.dataclass(frozen=True)
class Divided:
    """Each frequency divided by a number of its own (LongRoPE, arXiv 2402.13753)."""

    divisors: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Rotary:
    """Rotary positions of some layers."""

    theta: float
    dims: int
    """How many of each head's dimensions turn: the first of them, in two halves."""
    scaling: Linear | Llama3 | Yarn | Divided | None = None
    factor: float = 1.0
    """By which cosines and sines are multiplied."""

    def __post_init__(self) -> None:
        """Refuse what makes no table: UnsupportedModelError."""
        if not MIN_THETA <= self.theta <= MAX_THETA:
            raise UnsupportedModelError(
                f"rotary base {self.theta!r}: not from {MIN_THETA:g} to 2^64"
            )
        if self.dims % 2 or self.dims < 2:
            raise UnsupportedModelError(f"rotary positions on {self.dims} dimensions of a head")
        numbers = () if self.scaling is None else tuple(_numbers(dataclasses.astuple(self.scaling)))
        if not all(math.isfinite(n) and 0 < n <= 2.0**40 for n in (*numbers, self.factor)):
            raise UnsupportedModelError(
                f"scaled rotary positions: {shown(self.scaling)} is not supported"
            )
        if isinstance(self.scaling, Divided) and len(self.scaling.divisors) != self.dims // 2:
            raise UnsupportedModelError(
                f"scaled rotary positions: {len(self.scaling.divisors)} factors "
                f"for {self.dims // 2} frequencies"
            )

    def frequencies(self, pairs: int) -> list[int]:
        """Radians per position of each pair of a head's dimensions, in units of 2**-192; 0 where
        nothing turns.
        """
        try:
            with decimal.localcontext() as context:
                context.prec = _DIGITS
                one = Decimal(1 << _UNIT_BITS)
                found = [int(frequency * one) for frequency in self._scaled()]
        except ArithmeticError as error:  # a ramp of no length, a base of 1
            raise UnsupportedModelError(
                f"scaled rotary positions: {shown(self.scaling)} with base {self.theta!r}"
            ) from error
        if max(found) > 1 << _UNIT_BITS:
            raise UnsupportedModelError("scaled rotary positions: a frequency above 1")
        return found + [0] * (pairs - len(found))

    def _plain(self) -> list[Decimal]:
        log_theta = Decimal(self.theta).ln()
        return [(log_theta * (-2 * i) / self.dims).exp() for i in range(self.dims // 2)]

    def _scaled(self) -> list[Decimal]:
        scaling, plain = self.scaling, self._plain()
        if isinstance(scaling, Linear):
            return [f / Decimal(scaling.factor) for f in plain]
        if isinstance(scaling, Divided):
            return [f / Decimal(n) for f, n in zip(plain, scaling.divisors, strict=True)]
        if isinstance(scaling, Llama3):
            return [_llama3(f, scaling) for f in plain]
        if isinstance(scaling, Yarn):
            kept = _yarn_ramp(scaling, self.theta, self.dims)
            factor = Decimal(scaling.factor)
            return [f / factor * (1 - k) + f * k for f, k in zip(plain, kept, strict=True)]
        return plain


def _llama3(frequency: Decimal, s: Llama3) -> Decimal:
    low, high, factor = (Decimal(n) for n in (s.low_freq_factor, s.high_freq_factor, s.factor))
    turns = s.original_positions * frequency / _TWO_PI  # over the original length
    if turns > high:
        return frequency
    if turns < low:
        return frequency / factor
    smooth = (turns - low) / (high - low) if high != low else Decimal(1)
    return (1 - smooth) * frequency / factor + smooth * frequency


def _yarn_ramp(s: Yarn, theta: float, dims: int) -> list[Decimal]:
    """How much of each frequency is kept as it is: 1 … 0."""

    def dimension(turns: float) -> Decimal:
        ratio = Decimal(s.original_positions) / (Decimal(turns) * _TWO_PI)
        return dims * ratio.ln() / (2 * Decimal(theta).ln())

    low, high = dimension(s.beta_fast), dimension(s.beta_slow)
    if s.truncate:
        low, high = Decimal(math.floor(low)), Decimal(math.ceil(high))
    low, high = max(low, Decimal(0)), min(high, Decimal(dims - 1))
    if low == high:
        high += Decimal("0.001")
    ramp = (min(max((i - low) / (high - low), Decimal(0)), Decimal(1)) for i in range(dims // 2))
    return [1 - r for r in ramp]


def yarn_factor(factor: float, scale: float = 1.0) -> float:
    """YaRN's factor of cosines and sines: 0.1 * scale * ln(factor) + 1."""
    if factor <= 1:
        return 1.0
    with decimal.localcontext() as context:
        context.prec = _DIGITS
        return float(Decimal(factor).ln() * Decimal(scale) / 10 + 1)


def longrope_factor(factor: float, original_positions: int) -> float:
    """LongRoPE's factor of cosines and sines: sqrt(1 + ln(factor) / ln(original positions))."""
    if factor <= 1 or original_positions < 2:
        return 1.0
    with decimal.localcontext() as context:
        context.prec = _DIGITS
        return float((1 + Decimal(factor).ln() / Decimal(original_positions).ln()).sqrt())


def _numbers(values: tuple[object, ...]) -> Iterator[float]:
    for value in values:
        if isinstance(value, tuple):
            yield from _numbers(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield float(value)
