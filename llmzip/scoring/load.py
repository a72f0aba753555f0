"""Models by name, as scorers."""

from __future__ import annotations

import os
import pathlib

from llmzip.engine_loader import EngineLoader
from llmzip.extras import needing
from llmzip.model.files import readable
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.store import MODEL_VARIABLE
from llmzip.runtime import DEFAULT_RUNTIME, Runtime
from llmzip.scoring.base import Scorer
from llmzip.scoring.integer_scorer import IntegerScorer

FLOAT_PREFIX = "float:"


def load_scorer(
    name: str | None = None, *, dtype: str = "float32", runtime: Runtime = DEFAULT_RUNTIME
) -> Scorer:
    """A model by name: `float:NAME` through transformers, any other as an integer model; None: the
    default model.

    Raises ModelError, and LLMZipError where an optional package is missing.
    """
    if name and name.startswith(FLOAT_PREFIX):
        with needing("eval", "a model of transformers"):
            from llmzip.scoring.float_loader import load_float

        return load_float(
            name.removeprefix(FLOAT_PREFIX),
            dtype=dtype,
            device=runtime.device,
            download=runtime.download,
        )
    label = name or os.environ.get(MODEL_VARIABLE) or DEFAULT_MODEL
    label = pathlib.Path(label).name if pathlib.Path(label).exists() else label
    return IntegerScorer(EngineLoader(name, runtime=runtime).for_compression(), readable(label))
