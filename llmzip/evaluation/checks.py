"""Single claims about code lengths, each checked for what cannot be faked: `llmzip eval verify`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from llmzip.evaluation.subjects import Distribution, Steps
from llmzip.metrics.code_length import characters
from llmzip.types import Float64Array


@dataclasses.dataclass(frozen=True)
class Check:
    """One claim: whether it holds, and if not, by how much it is off."""

    claim: str
    holds: bool | None
    """None: nothing was shown that could prove it."""
    off_by: float | None
    unit: str
    detail: str


RATE_TOLERANCE = 1e-3
"""How far a published rate may be from the sum of its steps: people round [share]."""

SUM_TOLERANCE = 1e-3
"""How far above 1 the sum of float32 probabilities may be."""


def differences(one: Float64Array, other: Float64Array) -> Float64Array:
    """How far code lengths are apart [bits]: no difference where both are infinite, an infinite one
    where one is no number.
    """
    with np.errstate(invalid="ignore"):
        off = np.where(one == other, 0.0, np.abs(one - other))
    return np.where(np.isnan(off), np.inf, off)


def code_lengths(steps: Steps) -> Check:
    """Every code length is a finite number, and none negative: no probability is above 1."""
    wrong = ~(np.isfinite(steps.bits) & (steps.bits >= -1e-6))
    count = int(wrong.sum())
    first = int(np.flatnonzero(wrong)[0]) if count else 0
    return Check(
        "code_lengths",
        not count,
        float(count),
        "steps",
        f"step {first} has {steps.bits[first]:g} bits: no probability gives that"
        if count
        else f"all {len(steps.bits)} are finite and none is negative",
    )


def repeatable(one: Steps, other: Steps, tolerance: float) -> Check:
    """The same text is scored alike each time."""
    if len(one.bits) != len(other.bits):
        return Check(
            "repeatable",
            False,
            float(len(other.bits) - len(one.bits)),
            "steps",
            "the same text had another number of steps the second time",
        )
    off = float(differences(one.bits, other.bits).max())
    return Check(
        "repeatable", off <= tolerance, off, "bits", "the largest difference at a step, second time"
    )


def once(steps: Steps, size: int) -> Check:
    """Every byte of the text belongs to exactly one step."""
    begins, ends = steps.begins, steps.ends
    outside = int(((begins < 0) | (ends > size) | (begins > ends)).sum())
    if outside:
        return Check(
            "once", False, float(outside), "steps", f"{outside} steps reach out of the text"
        )
    edges = np.zeros(size + 1, np.int64)
    np.add.at(edges, begins, 1)
    np.add.at(edges, ends, -1)
    covered = np.cumsum(edges[:-1])
    twice, never = int((covered > 1).sum()), int((covered == 0).sum())
    detail = "every byte belongs to exactly one step"
    if twice:
        detail = f"{twice} of {size} bytes are scored more than once, up to {covered.max()} times"
    elif never:
        detail = (
            f"{never} of {size} bytes are scored by no step, "
            f"the first at {int(np.flatnonzero(covered == 0)[0])}"
        )
    return Check("once", not twice + never, float(twice + never), "bytes", detail)


def rate(steps: Steps, data: bytes, published: float | None) -> Check:
    """The published rate is the sum of the code lengths over the bytes of the original text."""
    published = steps.bits_per_byte if published is None else published
    actual = float(steps.bits.sum()) / len(data)
    if published is None:
        return Check(
            "rate", True, 0.0, "share", f"none is published; the steps come to {actual:.6f}"
        )
    ratio = published / actual if actual else math.inf
    off = 0.0 if published == actual else ratio - 1
    holds = abs(off) <= RATE_TOLERANCE
    detail = f"published {published:.6f}; the steps come to {actual:.6f} on {len(data)} bytes"
    if not holds and (cause := _cause(ratio, data)):
        detail += f": as if {cause}"
    return Check("rate", holds, off, "share", detail)


def _cause(ratio: float, data: bytes) -> str | None:
    """The classic mistake that has this ratio, if there is one."""
    size, spaces = len(data), data.count(b" ")
    causes = {
        "natural logarithms were bits": math.log(2),
        "bits were natural logarithms": 1 / math.log(2),
        "decimal logarithms were bits": math.log10(2),
        "characters were bytes": size / max(1, characters(data)),
        "a space were the three bytes of \u2581": size / (size + 2 * spaces),
    }
    name = min(causes, key=lambda cause: abs(ratio / causes[cause] - 1))
    distinct = abs(causes[name] - 1) > RATE_TOLERANCE
    return name if distinct and abs(ratio / causes[name] - 1) < RATE_TOLERANCE else None


def normalized(distributions: Sequence[Distribution] | None, steps: Sequence[int]) -> Check:
    """The probabilities of a step sum to 1. What is below is lost, but fools nobody."""
    if not distributions:
        return _unproven("normalized", "sum", "no distribution was shown for each step")
    sums = np.array([p.sum() for p, _ in distributions])
    wrong = [
        i for i, (p, _) in enumerate(distributions) if not (np.isfinite(p).all() and (p >= 0).all())
    ]
    if wrong:
        return Check(
            "normalized",
            False,
            float(len(wrong)),
            "steps",
            f"step {steps[wrong[0]]} has probabilities that are negative or no numbers",
        )
    worst = int(np.argmax(sums))
    off = float(sums[worst] - 1)
    return Check(
        "normalized",
        off <= SUM_TOLERANCE,
        off,
        "sum",
        f"of {len(sums)} steps the sums are {sums.min():.6f} to {sums.max():.6f}, "
        f"the greatest at step {steps[worst]}",
    )


def scores(
    claimed: Steps,
    distributions: Sequence[Distribution] | None,
    steps: Sequence[int],
    tolerance: float,
) -> Check:
    """A step's code length is -log2 of what its distribution gives the symbol that came."""
    if not distributions:
        return _unproven("scores", "bits", "no distribution was shown for each step")
    with np.errstate(divide="ignore", invalid="ignore"):
        shown = np.array([-np.log2(p[s]) if 0 <= s < len(p) else np.inf for p, s in distributions])
    bits = claimed.bits[list(steps)]
    off = differences(bits, shown) * np.where(bits < shown, -1, 1)
    worst = int(np.argmax(np.abs(off)))
    holds = bool(np.all(np.abs(off) <= tolerance))
    detail = (
        f"at step {steps[worst]} {bits[worst]:.4f} bits are claimed, "
        f"and its distribution gives {shown[worst]:.4f}"
    )
    if not holds and np.isfinite(shown).all() and shown.sum() > 0:
        ratio = float(bits.sum() / shown.sum())
        for base, value in (("natural", math.log(2)), ("decimal", math.log10(2))):
            if abs(ratio / value - 1) < 0.01:
                detail += f": {ratio:.4f} of it on the whole, a {base} logarithm"
    return Check("scores", holds, float(off[worst]), "bits", detail)


def _unproven(claim: str, unit: str, why: str) -> Check:
    return Check(claim, None, None, unit, why)
