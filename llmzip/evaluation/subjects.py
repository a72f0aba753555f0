"""What `llmzip eval verify` examines: a scorer in Python, or a command that prints what it makes of
a text.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import math
import operator
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence, Set
from typing import Any, Protocol, SupportsIndex

import numpy as np
import numpy.typing as npt

from llmzip.errors import LLMZipError
from llmzip.model.files import brief
from llmzip.scoring.claims import Claim, Claimant, Predictor
from llmzip.types import Float64Array

STEPS_VARIABLE = "LLMZIP_STEPS"
"""Names the steps whose whole distribution a command is asked for, as 3,17,99."""

Distribution = tuple[Float64Array, int]
"""The probabilities [V] of a step, and which of the symbols came."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """A claim as arrays."""

    bits: Float64Array  # [n]
    begins: npt.NDArray[np.int64]  # [n] bytes
    ends: npt.NDArray[np.int64]  # [n] bytes
    bits_per_byte: float | None

    @classmethod
    def of(cls, claim: Claim) -> Steps:
        """Raises ValueError for a claim that is none."""
        bits = np.asarray(claim.bits, np.float64)
        spans = np.asarray(claim.spans)
        if bits.ndim != 1 or not len(bits) or spans.shape != (len(bits), 2):
            raise ValueError(
                f"bits of shape {bits.shape} and spans of shape {spans.shape} "
                "where [n] and [n, 2] are wanted, n at least 1"
            )
        if spans.dtype.kind not in "iu":
            raise ValueError(f"spans of {spans.dtype}, which are no whole numbers of bytes")
        spans = spans.astype(np.int64)
        published = claim.bits_per_byte
        return cls(bits, spans[:, 0], spans[:, 1], None if published is None else float(published))


class Subject(Protocol):
    """Whatever is examined."""

    name: str

    @property
    def predictor(self) -> Predictor | None:
        """What shows a distribution behind any symbols, where the subject does."""
        ...

    def claim(self, data: bytes) -> Steps:
        """Score a text. Raises LLMZipError where that fails."""
        ...

    def distributions(
        self, data: bytes, claimed: Steps, chosen: Sequence[int]
    ) -> list[Distribution] | None:
        """The whole distributions of some steps of a claim; None where it shows none for each step.
        Raises LLMZipError where that fails.
        """
        ...


class PythonSubject:
    """A claimant in this process."""

    def __init__(self, claimant: Claimant, name: str) -> None:
        self._claimant = claimant
        self.name = name

    @property
    def predictor(self) -> Predictor | None:
        """See `Subject.predictor`."""
        return self._claimant if isinstance(self._claimant, Predictor) else None

    def claim(self, data: bytes) -> Steps:
        """See `Subject.claim`."""
        with foreign(self.name, "claim"):
            return Steps.of(self._claimant.claim(data))

    def distributions(
        self, data: bytes, claimed: Steps, chosen: Sequence[int]
    ) -> list[Distribution] | None:
        """See `Subject.distributions`."""
        if self.predictor is None:
            return None
        with foreign(self.name, "probabilities"):
            symbols = list(self.predictor.symbols(data))
            if len(symbols) != len(claimed.bits):
                return None
            return [
                _distribution(self.predictor.probabilities(symbols[:i]), symbols[i]) for i in chosen
            ]


class CommandSubject:
    """A command: the text is its standard input, and it prints a JSON object per step.

    `begin` and `end` say which bytes a step is about; `logprob`, a natural logarithm, or `bits` how
    probable it was. Steps that the variable LLMZIP_STEPS names may have `probabilities`, a list,
    and `symbol`, the place in it of what came. A last object with `bits_per_byte` alone is the
    number that is published.
    """

    predictor: Predictor | None = None

    def __init__(self, command: str) -> None:
        """Raises LLMZipError for a command line that cannot be split into words."""
        self.name = command
        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise LLMZipError(f"{command}: no command line: {error}") from error
        if not self._words:
            raise LLMZipError("the command is empty")

    def claim(self, data: bytes) -> Steps:
        """See `Subject.claim`."""
        lines = self._run(data)
        published = [line["bits_per_byte"] for line in lines if "begin" not in line]
        steps = [line for line in lines if "begin" in line]
        with foreign(self.name, "the output"):
            return Steps.of(
                Claim(
                    [_bits(line) for line in steps],
                    [(line["begin"], line["end"]) for line in steps],
                    published[-1] if published else None,
                )
            )

    def distributions(
        self, data: bytes, claimed: Steps, chosen: Sequence[int]
    ) -> list[Distribution] | None:
        """See `Subject.distributions`."""
        lines = [line for line in self._run(data, chosen) if "begin" in line]
        with foreign(self.name, "the output"):
            wanted = [lines[i] for i in chosen]
            if not all("probabilities" in line for line in wanted):
                return None
            return [_distribution(line["probabilities"], line["symbol"]) for line in wanted]

    def _run(self, data: bytes, steps: Sequence[int] = ()) -> list[dict[str, Any]]:
        environment = {**os.environ, STEPS_VARIABLE: ",".join(map(str, steps))}
        try:
            ran = subprocess.run(
                self._words, input=data, stdout=subprocess.PIPE, env=environment, check=True
            )
        except OSError as error:
            raise LLMZipError(f"{self.name}: cannot be run: {error.strerror}") from error
        except subprocess.CalledProcessError as error:
            raise LLMZipError(f"{self.name}: ended with exit code {error.returncode}") from error
        lines = []
        for number, text in enumerate(ran.stdout.splitlines(), 1):
            try:
                line = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise LLMZipError(f"{self.name}: line {number} is no JSON: {error}") from error
            if not isinstance(line, dict) or not _is_known(line.keys()):
                raise LLMZipError(
                    f"{self.name}: line {number} is neither a step (begin, end, logprob or bits, "
                    "symbol beside probabilities) nor bits_per_byte"
                )
            lines.append(line)
        return lines


def _distribution(probabilities: npt.ArrayLike, symbol: SupportsIndex) -> Distribution:
    """Raises ValueError or TypeError for what is none."""
    shown = np.asarray(probabilities, np.float64)
    if shown.ndim != 1:
        raise ValueError(f"probabilities of shape {shown.shape} where [V] is wanted")
    return shown, operator.index(symbol)


def _is_known(names: Set[str]) -> bool:
    """Whether a line has what a step has, or what is published."""
    if "begin" not in names:
        return "bits_per_byte" in names
    has_symbol = "symbol" in names or "probabilities" not in names
    return "end" in names and bool({"bits", "logprob"} & names) and has_symbol


def _bits(line: dict[str, Any]) -> float:
    return float(line["bits"]) if "bits" in line else -float(line["logprob"]) / math.log(2)


def load_subject(location: str) -> PythonSubject:
    """`MODULE:ATTRIBUTE`: a claimant, a class of claimants, or a function from bytes to a `Claim`.
    Modules of the current folder are found, too.

    Raises LLMZipError where there is none.
    """
    module, colon, attribute = location.partition(":")
    if not (module and colon and attribute):
        raise LLMZipError(f"{location}: a scorer is MODULE:ATTRIBUTE")
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    with foreign(location, "the import"):
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        if isinstance(found, type):
            found = found()
    if isinstance(found, Claimant):
        return PythonSubject(found, location)
    if callable(found):
        return PythonSubject(_Function(found), location)
    raise LLMZipError(f"{location}: neither has a method `claim` nor can be called")


class _Function:
    """A function from bytes to a `Claim`."""

    def __init__(self, claim: Any) -> None:
        self.claim = claim


@contextlib.contextmanager
def foreign(name: str, what: str) -> Iterator[None]:
    """For calls of code that is not ours: whatever it raises is an LLMZipError that says where, an
    exit too, which would pass for success; what it prints goes to stderr, as stdout has results.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    except LLMZipError:
        raise
    except (Exception, SystemExit) as error:
        raise LLMZipError(
            f"{name}: {what} failed: {type(error).__name__}: {brief(error)}"
        ) from error
