"""A claimed rate examined: what cannot be faked, claim by claim (docs/evaluation.md)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from llmzip.errors import LLMZipError
from llmzip.evaluation import checks, claim_coding
from llmzip.evaluation.causality import causal
from llmzip.evaluation.checks import Check
from llmzip.evaluation.subjects import Subject, foreign
from llmzip.types import TokenProgress

Decoding = Callable[[bytes], bytes]
"""Decodes a file in another process, which has nothing else."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How much is looked at."""

    steps: int = 16
    """Steps whose whole distribution is asked for."""
    cuts: int = 4
    """Places at which the future is changed; each takes a scoring of the text."""
    tolerance: float = 0.01
    """How far two scores of one step may be apart [bits]: floating-point sums differ a little."""
    seed: int | None = None
    """Chooses steps, places and futures; None: another each time, so that none is prepared for."""


@dataclasses.dataclass(frozen=True)
class Verification:
    """What became of the claims about one text."""

    text: str
    bytes: int
    steps: int
    bits_per_byte: float | None
    """The sum of the claimed code lengths over the bytes of the text; None: it is no number."""
    bits_per_byte_published: float | None
    holds: bool
    """Whether no claim fails."""
    proven: bool
    """Whether each claim holds: nothing was left unshown."""
    coded_bytes: int | None
    seed: int
    checks: list[Check]


def verify(
    subject: Subject,
    name: str,
    data: bytes,
    sampling: Sampling,
    *,
    published: float | None = None,
    decoding: Decoding | None = None,
    progress: TokenProgress | None = None,
) -> Verification:
    """Examine what a subject makes of a text.

    published: the rate that is claimed elsewhere, in place of the subject's own. decoding: codes
    the text as well, and decodes it so. Raises LLMZipError where the subject cannot be examined.
    """
    seed = int(np.random.SeedSequence().generate_state(1)[0])
    seed = seed if sampling.seed is None else sampling.seed
    random = np.random.default_rng(seed)
    steps = subject.claim(data)
    chosen = np.sort(
        random.choice(len(steps.bits), min(sampling.steps, len(steps.bits)), replace=False)
    ).tolist()
    shown = subject.distributions(data, steps, chosen)
    found = [
        checks.code_lengths(steps),
        checks.repeatable(steps, subject.claim(data), sampling.tolerance),
        checks.once(steps, len(data)),
        checks.rate(steps, data, published),
        checks.normalized(shown, chosen),
        checks.scores(steps, shown, chosen, sampling.tolerance),
        causal(subject, data, steps, sampling.cuts, sampling.tolerance, random),
    ]
    file = None
    if decoding:
        if subject.predictor is None:
            raise LLMZipError(
                f"{subject.name}: only what shows its distribution behind any symbols "
                "(symbols, text, probabilities) can be coded with"
            )
        try:
            with foreign(subject.name, "coding"):
                file = claim_coding.encode(subject.predictor, data, progress)
            found.append(claim_coding.coded(steps, data, file, decoding(file)))
        except LLMZipError as error:
            found.append(Check("coded", False, float(len(data)), "bytes", str(error)))
    return Verification(
        text=name,
        bytes=len(data),
        steps=len(steps.bits),
        bits_per_byte=_finite(float(steps.bits.sum()) / len(data)),
        bits_per_byte_published=_finite(steps.bits_per_byte if published is None else published),
        holds=all(check.holds is not False for check in found),
        proven=all(check.holds for check in found),
        coded_bytes=None if file is None else len(file),
        seed=seed,
        checks=[dataclasses.replace(check, off_by=_finite(check.off_by)) for check in found],
    )


def _finite(value: float | None) -> float | None:
    """The value, or None for what JSON does not have."""
    return value if value is not None and math.isfinite(value) else None
