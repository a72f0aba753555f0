"""Cells of an evaluation that a pool measures: one task of one model, or one codec, on one text.

The numbers do not depend on where a cell is measured, but for its seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import pickle
import time
from collections.abc import Callable, Sequence
from typing import Any

from llmzip.errors import LLMZipError
from llmzip.evaluation import tasks
from llmzip.evaluation.codec_rows import measure_codec
from llmzip.evaluation.options import Options, Text
from llmzip.runtime import Runtime
from llmzip.scoring.base import Scorer


@dataclasses.dataclass(frozen=True)
class Cell:
    """What is measured."""

    task: str
    """A task of `TASKS`, or a codec where there is no model."""
    text: Text
    options: Options


@dataclasses.dataclass(frozen=True)
class CellJob:
    """A `Job` of a pool: what cells of one model, or of codecs, measure, and the seconds of it."""

    model: bytes | None
    """What loads the model, pickled: called with the runtime of the worker. None: codecs."""

    @classmethod
    def of(cls, load: Callable[..., Scorer] | None) -> CellJob:
        """The job for a model that `load` loads."""
        return cls(None if load is None else pickle.dumps(load))

    def __call__(
        self, pieces: Sequence[Cell], runtime: Runtime
    ) -> list[tuple[Any, float] | LLMZipError]:
        """The measures and the seconds of each cell, or why there are none."""
        found: list[tuple[Any, float] | LLMZipError] = []
        for cell in pieces:
            try:
                scorer = None if self.model is None else _scorer(self.model, runtime)
                start = time.perf_counter()
                measured = (
                    measure_codec(cell.task, cell.text.data)
                    if scorer is None
                    else tasks.TASKS[cell.task].measure(scorer, cell.text, cell.options, None)
                )
                found.append((measured, time.perf_counter() - start))
            except LLMZipError as error:
                found.append(error)
        return found


@functools.lru_cache(maxsize=1)
def _scorer(load: bytes, runtime: Runtime) -> Scorer:
    """The model, which stays loaded for the next cells."""
    scorer: Scorer = pickle.loads(load)(runtime=runtime)
    return scorer
