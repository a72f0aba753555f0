"""What a model loses when it is computed in integers: code lengths of one text by both."""

from __future__ import annotations

import dataclasses
import pathlib

from llmzip.engine.base import Engine
from llmzip.model.peft_folder import PeftAdapter
from llmzip.scoring.base import Scorer
from llmzip.scoring.float_adapter import merge
from llmzip.scoring.float_loader import load_float
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import score_text

CONTEXT = 512
"""Tokens that are read together, at most."""


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """Bits per byte of a text under the published weights and under the integers."""

    published: float
    integer: float
    sample_bytes: int

    @property
    def cost(self) -> float:
        """By what fraction the integers' code is longer."""
        return self.integer / self.published - 1.0


def fidelity(
    engine: Engine, path: pathlib.Path, sample: bytes, adapter: PeftAdapter | None = None
) -> Fidelity:
    """Measure on a sample; path: of the folder or GGUF file that the engine's model is from;
    adapter: what was merged into it.

    Raises ValueError for an empty sample, UnsupportedModelError where transformers cannot load the
    published weights, LLMZipError where they break down.
    """
    if not sample:
        raise ValueError("an empty sample measures nothing")
    published = load_float(str(path))
    if adapter is not None:
        merge(published.model, adapter)
    scorers: tuple[Scorer, Scorer] = (
        published,
        IntegerScorer(engine, engine.model.fingerprint.hex()),
    )
    length = min(CONTEXT, *(scorer.max_positions for scorer in scorers))
    floats, integers = (_bits_per_byte(scorer, sample, length) for scorer in scorers)
    return Fidelity(floats, integers, len(sample))


def _bits_per_byte(scorer: Scorer, sample: bytes, length: int) -> float:
    return score_text(scorer, sample, context=length).total_bits / len(sample)
