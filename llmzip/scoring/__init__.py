"""What any model, integer or float, says of the tokens of a text: the API of scorers.

>>> from llmzip import scoring
>>> scoring.segments(5, 2)
[Span(begin=0, scored=0, end=2), Span(begin=2, scored=2, end=4), Span(begin=4, scored=4, end=5)]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmzip.metrics.windows import Span, segments, sliding
    from llmzip.scoring.base import ModelCard, Predictions, Scorer, Tokenized
    from llmzip.scoring.claims import Claim, Claimant, ModelClaims, Predictor
    from llmzip.scoring.load import load_scorer
    from llmzip.scoring.spans import TokenScores, score, score_text

__all__ = [
    "Claim",
    "Claimant",
    "ModelCard",
    "ModelClaims",
    "Predictions",
    "Predictor",
    "Scorer",
    "Span",
    "TokenScores",
    "Tokenized",
    "load_scorer",
    "score",
    "score_text",
    "segments",
    "sliding",
]

_NAMES = {
    "metrics.windows": ("Span", "segments", "sliding"),
    "scoring.base": ("ModelCard", "Predictions", "Scorer", "Tokenized"),
    "scoring.claims": ("Claim", "Claimant", "ModelClaims", "Predictor"),
    "scoring.load": ("load_scorer",),
    "scoring.spans": ("TokenScores", "score", "score_text"),
}
"""Module -> the public names in it: it is imported when one of them is first used."""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, on its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"llmzip.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, and what Python has in every module."""
    return sorted({*globals(), *__all__})
