"""The interface of the mixer's experts.

A further one is one more class like this, named in `reference.py`.
"""

from __future__ import annotations

from typing import Protocol

from llmzip.mixing.step import Candidates, Observation, Step
from llmzip.types import Float32Array, IdArray, Int64Array


class Expert(Protocol):
    """Proposes candidates and gives features of each: evidence in bits, to be added to the
    logarithm of its weight.
    """

    initial_weights: tuple[float, ...]
    """The mixer's weight of each feature before anything is learned."""
    contexts: int
    """How many mixer contexts the expert tells apart; the mixer learns weights for each."""

    def propose(self, step: Step) -> IdArray:
        """Candidates [A, n], NO_TOKEN where there is none; the same token may be proposed twice."""
        ...

    def features(self, step: Step, candidates: Candidates) -> list[Float32Array]:
        """Each feature of all candidates, [A, C]; its values at NO_TOKEN are ignored."""
        ...

    def context(self, step: Step) -> Int64Array:
        """The mixer context of each row, [A]."""
        ...

    def learn(self, step: Step, candidates: Candidates, observation: Observation) -> None:
        """Learn from the observed tokens."""
        ...
