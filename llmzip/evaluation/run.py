"""Models and codecs on texts, cell by cell; an interrupted run goes on where it stopped."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llmzip.errors import LLMZipError
from llmzip.evaluation import tasks
from llmzip.evaluation.cache_damage import measure_damage
from llmzip.evaluation.codec_rows import measure_codec
from llmzip.evaluation.environment import environment
from llmzip.evaluation.options import Options, Text
from llmzip.evaluation.partial import Partial
from llmzip.scoring.base import Scorer
from llmzip.scoring.score import Begin
from llmzip.types import TokenProgress

FORMAT = 1
"""Version of the result JSON (docs/evaluation.md)."""

PARTIAL = "partial.jsonl"

_DAMAGE_SAMPLES = 4

Result = dict[str, Any]


def evaluate(
    models: Sequence[Callable[[], Scorer]],
    texts: Sequence[Text],
    options: Options,
    *,
    codecs: Sequence[str] = (),
    damage: Text | None = None,
    folder: pathlib.Path | None = None,
    begin: Begin | None = None,
) -> Result:
    """Measure every model and codec on every text.

    models: loaded one after the other, so that only one is in memory. damage: the text of the cache damage grid, if that is
    wanted. folder: where finished cells are kept so that the same call goes on after an interruption. What does not apply
    is reported under `errors` with its reason.
    """
    partial = Partial(folder / PARTIAL if folder else None)
    rows: list[dict[str, Any]] = []
    for text in texts:
        for codec in codecs:
            part = _timed("codec", functools.partial(measure_codec, codec, text.data), partial, [codec, text.sha256])
            rows.append(_row(codec, "codec", text, [part]))
    cards: list[dict[str, Any]] = []
    grid: list[dict[str, Any]] = []
    grid_seconds: dict[str, float] = {}
    errors: dict[str, str] = {}
    for load in models:
        scorer = load()
        card = dataclasses.asdict(scorer.card)
        cards.append(card)
        for text in texts:
            parts = []
            for task in options.tasks:
                if task == "file" and scorer.card.kind != "integer":
                    continue
                progress = begin(f"{scorer.card.name}: {text.name}: {task}") if begin else None
                identity: list[Any] = [FORMAT, card, text.sha256, task, {**dataclasses.asdict(options), "tasks": None}]
                measure = functools.partial(tasks.TASKS[task], scorer, text.data, options, progress)
                parts.append(_timed(task, measure, partial, identity))
            rows.append(_row(scorer.card.name, scorer.card.kind, text, parts))
        if damage:
            progress = begin(f"{scorer.card.name}: {damage.name}: cache damage") if begin else None
            found = _damage(scorer, damage, options.damage_contexts, partial, progress)
            if "seconds" in found:
                grid_seconds[scorer.card.name] = found["seconds"]["cache_damage"]
            grid += [{"model": scorer.card.name, **point} for point in found.get("points", ())]
            errors |= {f"{scorer.card.name}: {task}": reason for task, reason in found.get("errors", {}).items()}
    result = {
        "format": FORMAT,
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "testing_only": options.limit is not None,
        "options": dataclasses.asdict(options),
        "models": cards,
        "texts": [{"name": t.name, "bytes": len(t.data), "sha256": t.sha256} for t in texts],
        "rows": rows,
        "cache_damage": grid,
        "cache_damage_seconds": grid_seconds,
        "errors": errors,
        "environment": environment(),
    }
    partial.finish()
    return result


def _damage(
    scorer: Scorer, text: Text, contexts: Sequence[int], partial: Partial, progress: TokenProgress | None
) -> dict[str, Any]:
    """The cache damage grid of one model."""

    def measure() -> dict[str, Any]:
        points = measure_damage(
            scorer, text.data, contexts=contexts, samples=_DAMAGE_SAMPLES, partial=partial, progress=progress
        )
        return {"points": points}

    identity = [FORMAT, dataclasses.asdict(scorer.card), text.sha256, "cache_damage", contexts]
    return _timed("cache_damage", measure, partial, identity)


def _timed(task: str, measure: Callable[[], dict[str, Any]], partial: Partial, identity: object) -> dict[str, Any]:
    """The values of one task with the seconds it took, or the reason why there are none."""

    known: dict[str, Any] | None = partial.get(identity)
    if known is not None:
        return known
    start = time.perf_counter()
    try:
        values = measure()
    except LLMZipError as error:  # not kept: what is missing may be there when the run goes on
        return {"errors": {task: str(error)}}
    values = {**values, "seconds": {task: time.perf_counter() - start}}
    partial.put(identity, values)
    return values


def _row(name: str, kind: str, text: Text, parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "kind": kind, "text": text.name, "seconds": {}, "errors": {}}
    for part in parts:
        for key, value in part.items():
            if key in ("seconds", "errors"):
                row[key] |= value
            else:
                row[key] = value
    seconds = row["seconds"].get("codec", row["seconds"].get("code_length"))
    if seconds is not None:
        row["seconds_per_megabyte"] = 1e6 * seconds / len(text.data)
    return row


def write(result: Result, folder: pathlib.Path, name: str = "results") -> pathlib.Path:
    """Write `<name>_<isodate>.json` into the folder; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = result["date"].replace(":", "-").partition("+")[0]
    path = folder / f"{name}_{stamp}.json"
    path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", "utf-8")
    return path


def rows_of(result: Result, key: str) -> Iterator[dict[str, Any]]:
    """The rows that have a value for a key."""
    return (row for row in result["rows"] if row.get(key) is not None)
