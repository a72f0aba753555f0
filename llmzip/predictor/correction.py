"""Where the memory meets the model: it corrects a step's distributions, and learns what came."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.engine.base import Distributions
from llmzip.memory.base import Memory


def correct(memory: Memory, vectors: npt.NDArray[np.int8], distributions: Distributions, rows: slice) -> None:
    """Let the memory correct some rows, which are one step: vectors [N, d_model] and the distributions that they predict."""
    tokens = memory.recall(vectors[rows], distributions.top_tokens()[rows])
    weights = memory.mix(distributions.weights_of(rows.start, tokens), distributions.totals()[rows])
    distributions.replace(rows.start, tokens, weights)


def learn(memory: Memory, tokens: npt.NDArray[np.int32], distributions: Distributions, rows: slice) -> None:
    """Tell the memory which tokens [A] came in the rows that it has just corrected."""
    memory.learn(tokens, distributions.weights_of(rows.start, tokens[:, None])[:, 0])
