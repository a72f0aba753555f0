"""Applies a context mixer to the model's distributions: corrects a step, and learns its tokens."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from llmzip.engine.base import Distributions
from llmzip.mixing.base import ContextMixer


def correct(
    mixer: ContextMixer, vectors: npt.NDArray[np.int8], distributions: Distributions, rows: slice
) -> None:
    """Let the mixer correct some rows, which are one step: vectors [N, d_model] and the
    distributions that they predict.
    """
    tokens = mixer.recall(vectors[rows], distributions.top_tokens()[rows])
    weights = mixer.mix(distributions.weights_of(rows.start, tokens), distributions.totals()[rows])
    distributions.replace(rows.start, tokens, weights)


def learn(
    mixer: ContextMixer, tokens: npt.NDArray[np.int32], distributions: Distributions, rows: slice
) -> None:
    """Tell the mixer which tokens [A] came in the rows that it has just corrected."""
    mixer.learn(tokens, distributions.weights_of(rows.start, tokens[:, None])[:, 0])
