"""What an expert of the mixer is. A further one is one more class like this, named in `reference.py`."""

from __future__ import annotations

from typing import Protocol

from llmzip.mixing.step import Options, Outcome, Step
from llmzip.types import Float32Array, IdArray, Int64Array


class Expert(Protocol):
    """Proposes candidates and says what speaks for each, in bits to be added to its logarithm."""

    initial_weights: tuple[float, ...]
    """How far each feature is believed before anything is learned."""
    situations: int
    """How many different situations the expert tells apart; the mixer learns weights for each."""

    def candidates(self, step: Step) -> IdArray:
        """Tokens [A, n], NO_TOKEN where there is none; the same token may be named twice."""
        ...

    def features(self, step: Step, options: Options) -> list[Float32Array]:
        """For each feature [A, C]; what stands at NO_TOKEN is ignored."""
        ...

    def situation(self) -> Int64Array:
        """The situation of each row [A]."""
        ...

    def learn(self, step: Step, options: Options, outcome: Outcome) -> None:
        """Take note of what came."""
        ...
