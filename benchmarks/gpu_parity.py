"""Are the kernels' results, and those of whole steps, the same as another engine's? Every
difference is counted.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.sections import Report, Results
from llmzip.engine.base import Engine
from llmzip.engine.triton import self_test
from llmzip.engine.triton.engine import TritonEngine
from llmzip.engine.triton.reference import TorchOperations


def check_kernels(
    report: Report,
    engine: TritonEngine,
    figures: Results,
    sizes: Sequence[int] = self_test.ROWS,
) -> None:
    """Each kernel against torch; one that differs is replaced, so that the rest of the figures mean
    something.
    """
    reference = TorchOperations(engine.transformer)
    for rows in sizes:
        for name, run in self_test.all_cases(engine.transformer, rows):
            start = time.monotonic()
            try:
                problem = self_test.differences(engine.transformer.operations, reference, run)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
                report.say(traceback.format_exc())
            report.say(
                f"{rows:4} rows  {name:13} {time.monotonic() - start:6.2f} s  "
                f"{'DIFFERENT: ' * bool(problem)}{problem or 'equal'}"
            )
            if problem:
                figures.setdefault(name, []).append(f"{rows} rows: {problem}")
    for name in [name for name in figures if hasattr(reference, name)]:
        setattr(engine.transformer.operations, name, getattr(reference, name))
    report.say("all equal" if not figures else f"DIFFERENT: {', '.join(figures)}")
    report.wrong |= bool(figures)
    figures["equal"] = not figures


def told(
    engine: Engine, session: Any, tokens: npt.NDArray[np.int32]
) -> dict[str, npt.NDArray[Any]]:
    """All that a step gives."""
    head = session.advance(tokens)
    tables = engine.distributions(
        np.ascontiguousarray(head.vectors[:, -1]), np.ascontiguousarray(head.scales[:, -1])
    )
    top = tables.top_tokens()
    found = {"vectors": head.vectors, "scales": head.scales, "top": top, "totals": tables.totals()}
    found["weights"] = tables.weights_of(0, top)
    found["buckets"] = tables.bucket_frequencies()
    found["tokens"] = tables.token_frequencies(tokens[:, -1] // 256)
    tables.replace(
        0, np.ascontiguousarray(top[:, :3]), found["weights"][:, :3].astype(np.int64) * 1000
    )
    found["mixed buckets"] = tables.bucket_frequencies()
    found["mixed tokens"] = tables.token_frequencies(top[:, 0] // 256)
    return found


def compare_steps(
    report: Report,
    engine: Engine,
    other: Engine,
    streams: int,
    window: int,
    chunks: list[int],
    figures: Results,
) -> None:
    """Chunks, then single tokens, the last ones of fewer streams; every difference is counted."""
    rng = np.random.default_rng(streams)
    tokens = rng.integers(0, engine.model.spec.vocab, (streams, sum(chunks))).astype(np.int32)
    sessions = [e.session(streams, window, max(chunks)) for e in (engine, other)]
    at = 0
    wrong: dict[str, int] = {}
    for i, count in enumerate(chunks):
        active = max(1, streams - 1) if i >= len(chunks) - 2 else streams
        part = np.ascontiguousarray(tokens[:active, at : at + count])
        at += count
        found, expected = (told(e, s, part) for e, s in zip((engine, other), sessions, strict=True))
        for name, value in expected.items():
            unequal = int((found[name] != value).sum())
            if unequal:
                if name not in wrong:
                    report.say(f"  {name}: first differs in step {i}, {unequal} of {value.size}")
                wrong[name] = wrong.get(name, 0) + unequal
    label = (
        f"{streams} streams, window {window}, {len(chunks)} steps against {type(other).__name__}"
    )
    report.say(f"{label}: {'DIFFERENT ' + str(wrong) if wrong else 'equal'}")
    report.wrong |= bool(wrong)
    figures[label] = wrong or "equal"
