"""A token by its weight: temperature and the likeliest K, in integers (docs/generation.md)."""

from __future__ import annotations

import dataclasses
import functools
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from llmzip.buffers import whole_number
from llmzip.generation.randomness import Randomness

MAX_TEMPERATURE = 5

_TEMPERATURE_UNITS = 10
_ROOT_BITS = 16  # what a weight keeps behind the point when a root is taken of it


@dataclasses.dataclass(frozen=True)
class Drawing:
    """How tokens are drawn."""

    power: Fraction | None
    """Of the weights, 1/T exactly; None: always the greatest."""
    top_k: int | None
    """From how many of the greatest; None: all."""

    @classmethod
    def of(cls, temperature: float | str, top_k: int | None) -> Drawing:
        """From what users say. Raises ValueError for what is out of range, TypeError for a top_k
        that is no integer.
        """
        if top_k is not None and whole_number(top_k, "top_k") < 1:
            raise ValueError(f"top_k {top_k}: at least 1 token to draw from")
        try:
            exact = Fraction(str(temperature))
        except (ValueError, ZeroDivisionError):
            exact = Fraction(-1)
        if not 0 <= exact <= MAX_TEMPERATURE or (exact * _TEMPERATURE_UNITS).denominator != 1:
            raise ValueError(
                f"temperature {temperature}: multiples of 0.1 from 0 to {MAX_TEMPERATURE}"
            )
        return cls(1 / exact if exact else None, top_k)

    def draw(self, weights: npt.NDArray[np.int64], random: Randomness) -> int:
        """A token by its weight [V]."""
        best = np.argsort(-weights, kind="stable")[: 1 if self.power is None else self.top_k]
        best = best[weights[best] > 0]
        if not len(best):  # everything that has weight is silent: the first token with text
            return int(np.argmax(weights == weights.max()))
        if self.power is None or self.power == 1:
            return int(best[random.choose_by_sums(np.cumsum(weights[best]))])
        return int(best[random.choose([_raised(w, self.power) for w in weights[best].tolist()])])


@functools.lru_cache(maxsize=1 << 16)
def _raised(weight: int, power: Fraction) -> int:
    """⌊2^16 · weight^power⌋, exactly."""
    return _root(weight**power.numerator << _ROOT_BITS * power.denominator, power.denominator)


def _root(number: int, degree: int) -> int:
    """⌊number^(1/degree)⌋ by Newton's method from above."""
    if degree == 1:
        return number
    guess = 1 << -(-number.bit_length() // degree)
    while True:
        better = ((degree - 1) * guess + number // guess ** (degree - 1)) // degree
        if better >= guess:
            return guess
        guess = better
