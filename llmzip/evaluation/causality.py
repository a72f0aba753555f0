"""Whether scores depend on what comes later: the future of a text is changed, and its past must
keep its scores.
"""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import numpy.typing as npt

from llmzip.evaluation.checks import Check, differences
from llmzip.evaluation.subjects import Steps, Subject

_TRIES = 64
"""So many places are looked at to find a future that begins like the true one."""


@dataclasses.dataclass(frozen=True)
class _Compared:
    """What one changed future has shown."""

    cut: int
    """The byte from which on the text was changed."""
    steps: int
    """How many steps before it are comparable."""
    gap: int
    """How many bytes before the cut are not: their tokens changed with the future."""
    off: float
    """The largest change of a code length [bits]."""
    step: int
    """Where that was."""


def causal(
    subject: Subject,
    data: bytes,
    steps: Steps,
    cuts: int,
    tolerance: float,
    random: np.random.Generator,
) -> Check:
    """Change the text behind each of `cuts` random steps and score it again.

    Tokens next to a change may change with it, which is no fault of a model's: only the steps that
    are about the same bytes as before are compared.
    """
    found = []
    for i, cut in enumerate(_cuts(steps, data, cuts, random)):
        changed = data[:cut] + _future(data, steps, cut, random, alike=i % 2 == 0)
        compared = _compare(steps, subject.claim(changed), cut)
        if compared is not None:
            found.append(compared)
    if not found:
        return Check(
            "causal", None, None, "bits", "no step keeps its bytes when the text after it changes"
        )
    worst = max(found, key=lambda one: one.off)
    nearest = min(one.gap for one in found)
    detail = (
        f"{sum(one.steps for one in found)} steps before {len(found)} changes were compared; the "
        f"largest change is at step {worst.step}, before byte {worst.cut}"
    )
    if worst.off > tolerance:
        return Check("causal", False, worst.off, "bits", f"{detail}: it has seen what follows")
    if nearest:
        return Check(
            "causal",
            None,
            worst.off,
            "bits",
            f"{detail}; the last {nearest} bytes before a change could not be compared",
        )
    return Check("causal", True, worst.off, "bits", detail)


def _begins(steps: Steps, data: bytes) -> npt.NDArray[np.int64]:
    """Bytes at which a step begins, and not within a character: what is cut there stays text."""
    begins = np.unique(steps.begins)
    begins = begins[(begins >= 0) & (begins < len(data))]
    kept: npt.NDArray[np.int64] = begins[(np.frombuffer(data, np.uint8)[begins] & 0xC0) != 0x80]
    return kept


def _cuts(steps: Steps, data: bytes, count: int, random: np.random.Generator) -> list[int]:
    """Bytes at which a step begins, but not the first one."""
    begins = _begins(steps, data)
    begins = begins[begins > 0]
    return sorted(random.choice(begins, min(count, len(begins)), replace=False).tolist())


def _future(
    data: bytes, steps: Steps, cut: int, random: np.random.Generator, *, alike: bool
) -> bytes:
    """Another future of the same length: what follows elsewhere in the text.

    alike: whether it begins with the same byte, if possible, so that the tokens before it need not
    change. Otherwise it begins with another, which a scorer of bytes that looks ahead by one sees.
    """
    begins = _begins(steps, data)
    places = [int(p) for p in random.choice(begins, min(_TRIES, len(begins)), replace=False)]
    places.sort(key=lambda place: (data[place] == data[cut]) != alike)
    future = data[cut:]
    for place in places:
        other = _whole((data[place:] + data)[: len(future)])
        if other[:2] != future[:2]:
            return other
    return (b"y" if future[:1] == b"x" else b"x") * len(future)  # of a text of one character


def _whole(text: bytes) -> bytes:
    """The text with spaces in place of a character that its end has cut."""
    for cut in range(min(4, len(text))):
        with contextlib.suppress(UnicodeDecodeError):
            text[: len(text) - cut].decode()
            return text[: len(text) - cut] + b" " * cut
    return text


def _compare(steps: Steps, other: Steps, cut: int) -> _Compared | None:
    count = min(len(steps.bits), len(other.bits))
    same = (
        (steps.begins[:count] == other.begins[:count])
        & (steps.ends[:count] == other.ends[:count])
        & (steps.ends[:count] <= cut)
    )
    kept = count if same.all() else int(np.argmin(same))
    if not kept:
        return None
    off = differences(steps.bits[:kept], other.bits[:kept])
    step = int(np.argmax(off))
    return _Compared(cut, kept, cut - int(steps.ends[:kept].max()), float(off[step]), step)
