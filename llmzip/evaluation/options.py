"""What an evaluation is asked to do, and the texts and models that its names mean."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pathlib

from llmzip import levels
from llmzip.corpora import library
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.extras import needing
from llmzip.metrics.capacity import BIASES
from llmzip.model.files import readable
from llmzip.model.registry import DEFAULT_MODEL
from llmzip.model.store import MODEL_VARIABLE
from llmzip.runtime import DEFAULT_RUNTIME, Runtime
from llmzip.scoring.base import Scorer
from llmzip.scoring.integer_scorer import IntegerScorer

FLOAT_PREFIX = "float:"
TASKS = ("code_length", "file", "capacity", "bpc", "context")
CONTEXTS = (16, 64, 256, 1024, 2048)


@dataclasses.dataclass(frozen=True)
class Options:
    """The parameters that decide the numbers; they are stored beside the results."""

    tasks: tuple[str, ...] = TASKS
    context: int = 1024
    """Tokens of the independent segments."""
    contexts: tuple[int, ...] = CONTEXTS
    """The context lengths behind which the same tokens are scored [tokens]."""
    samples: int = 16
    """At most this many spans of 64 tokens for `context`, and segments of 1024 for `capacity`."""
    damage_contexts: tuple[int, ...] = (128, 512, 1024)
    """The context lengths of the cache damage grid [tokens]."""
    level: int = levels.DEFAULT_LEVEL
    """The level of the real file."""
    ic_bias: float = BIASES["other"]
    alpha: float = 0.01
    """The smoothing of the smoothed bits/byte."""
    limit: int | None = None
    """Only the first so many bytes of each text: testing only."""


@dataclasses.dataclass(frozen=True)
class Text:
    """One text that is measured."""

    name: str
    data: bytes

    @property
    def sha256(self) -> str:
        """The digest of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()


def load_texts(names: tuple[str, ...], limit: int | None = None) -> list[Text]:
    """The texts of corpora, files and folders; `NAME:BYTES` takes only the first so many bytes of
    each, as `limit` does.

    Raises LLMZipError for unknown names and where nothing is left.
    """
    found = []
    for name in names:
        path, _, size = name.rpartition(":")
        path, max_bytes = (path, int(size)) if path and size.isdigit() else (name, None)
        max_bytes = min((n for n in (max_bytes, limit) if n is not None), default=None)
        texts = library.texts(path)
        for label, data in texts.items():
            if data[:max_bytes]:
                found.append(
                    Text(
                        readable(label if len(texts) == 1 else f"{path}/{label}"), data[:max_bytes]
                    )
                )
    if not found:
        raise LLMZipError(f"{', '.join(names) or 'no data'}: there is no text to measure")
    return found


def load_scorer(
    name: str | None, *, dtype: str = "float32", runtime: Runtime = DEFAULT_RUNTIME
) -> Scorer:
    """A model by name: `float:NAME` through transformers, any other as an integer model. Raises
    ModelError.
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
