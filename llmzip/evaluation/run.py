"""Models and codecs on texts, cell by cell; an interrupted run goes on where it stopped."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from llmzip.errors import LLMZipError
from llmzip.evaluation import tasks
from llmzip.evaluation.cells import Cell, CellJob
from llmzip.evaluation.codec_rows import measure_codec
from llmzip.evaluation.environment import environment
from llmzip.evaluation.json_values import from_json, to_json
from llmzip.evaluation.options import TASKS, Options, Text
from llmzip.evaluation.partial import Partial
from llmzip.evaluation.rows import (
    FORMAT,
    CodecMeasures,
    Damage,
    Kind,
    MeasuredText,
    Measures,
    ModelDamage,
    Result,
    Row,
)
from llmzip.extras import needing
from llmzip.runtime import Pool
from llmzip.scoring.base import Scorer
from llmzip.scoring.spans import Begin

PARTIAL = "partial.jsonl"

_DAMAGE_SAMPLES = 4

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class _Outcome(Generic[T]):
    """What became of one task: what it measured and how long that took, or why there is nothing."""

    measured: T | None = None
    seconds: float | None = None
    error: str | None = None


def evaluate(
    models: Sequence[Callable[..., Scorer]],
    texts: Sequence[Text],
    options: Options,
    *,
    codecs: Sequence[str] = (),
    damage: Text | None = None,
    folder: pathlib.Path | None = None,
    begin: Begin | None = None,
    pool: Pool | None = None,
) -> Result:
    """Measure every model and codec on every text.

    models: loaded one after the other, so that only one is in memory; a pool's workers call them
    with `runtime=`. pool: measures the cells, all but the damage grid, with the same numbers; what
    is measured here names them. damage: the text of the cache
    damage grid, if that is wanted. folder: where finished cells are kept so that the same call goes
    on after an interruption. What does not apply is reported under `errors` with its reason.
    """
    if damage:
        _damage_measure()  # what is missing is said before anything is measured
    partial = Partial(folder / PARTIAL if folder else None)
    cells = {text: [(codec, _codec_identity(codec, text)) for codec in codecs] for text in texts}
    elsewhere = _submitted(pool, None, cells, options, partial)
    rows = [
        _codec_row(codec, text, partial, elsewhere.get((text, codec)))
        for text in texts
        for codec in codecs
    ]
    cards, grid, grid_seconds, errors = [], [], {}, {}
    for load in models:
        scorer = load()
        name = scorer.model_card.name
        cards.append(scorer.model_card)
        cells = {
            text: [
                (task, _task_identity(scorer, text, options, task))
                for task in _tasks_of(scorer, text, options)
            ]
            for text in texts
        }
        elsewhere = _submitted(pool, load, cells, options, partial)
        rows += [_model_row(scorer, text, options, partial, begin, elsewhere) for text in texts]
        if damage is None:
            continue
        found = _damage(scorer, damage, options.damage_contexts, partial, begin)
        grid += [ModelDamage(**to_json(point), model=name) for point in found.measured or ()]
        if found.seconds is not None:
            grid_seconds[name] = found.seconds
        if found.error is not None:
            errors[f"{name}: cache_damage"] = found.error
    result = Result(
        format=FORMAT,
        date=datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        testing_only=options.limit is not None,
        options=options,
        models=cards,
        texts=[MeasuredText(t.name, len(t.data), t.sha256) for t in texts],
        rows=rows,
        cache_damage=grid,
        cache_damage_seconds=grid_seconds,
        errors=errors,
        environment=environment(),
    )
    partial.finish()
    return result


_Elsewhere = dict[tuple[Text, str], "Future[tuple[Any, float]]"]
"""Cells that a pool measures, by text and by task or codec."""


def _submitted(
    pool: Pool | None,
    load: Callable[..., Scorer] | None,
    cells: Mapping[Text, Sequence[tuple[str, object]]],
    options: Options,
    partial: Partial,
) -> _Elsewhere:
    """Have a pool measure the cells of texts, by task and identity, that are not known."""
    if pool is None:
        return {}
    job = CellJob.of(load)
    return {
        (text, task): pool.submit(job, Cell(task, text, options))
        for text, named in cells.items()
        for task, identity in named
        if partial.get(dict[str, Any], identity) is None
    }


def _codec_identity(codec: str, text: Text) -> object:
    return [FORMAT, codec, text.sha256]


def _task_identity(scorer: Scorer, text: Text, options: Options, task: str) -> object:
    return [
        *(FORMAT, scorer.model_card, text.name, text.sha256),
        *([len(part) for part in text.parts], task, dataclasses.replace(options, tasks=())),
    ]


def _codec_row(
    codec: str, text: Text, partial: Partial, elsewhere: Future[tuple[Any, float]] | None
) -> Row:
    measure = functools.partial(measure_codec, codec, text.data)
    identity = _codec_identity(codec, text)
    outcome = _timed(CodecMeasures, measure, partial, identity, elsewhere)
    return _row(codec, "codec", text, {"codec": outcome})


def _tasks_of(scorer: Scorer, text: Text, options: Options) -> list[str]:
    """The tasks that a model has on a text."""
    # Of a text that is no set of documents, `documents` tells nothing new.
    return [
        task
        for task in options.tasks
        if (task != "file" or scorer.model_card.kind == "integer")
        and (task != "documents" or text.documents or options.tasks != TASKS)
    ]


def _model_row(
    scorer: Scorer,
    text: Text,
    options: Options,
    partial: Partial,
    begin: Begin | None,
    elsewhere: _Elsewhere,
) -> Row:
    card = scorer.model_card
    outcomes: dict[str, _Outcome[Measures]] = {}
    for task in _tasks_of(scorer, text, options):
        progress = begin(f"{card.name}: {text.name}: {task}") if begin else None
        kind, measure = tasks.TASKS[task].kind, tasks.TASKS[task].measure
        call = functools.partial(measure, scorer, text, options, progress)
        identity = _task_identity(scorer, text, options, task)
        outcomes[task] = _timed(kind, call, partial, identity, elsewhere.get((text, task)))
    return _row(card.name, card.kind, text, outcomes)


def _damage_measure() -> Callable[..., list[Damage]]:
    with needing("eval", "damaging key/value caches"):
        from llmzip.evaluation.cache_damage import measure_damage

    return measure_damage


def _damage(
    scorer: Scorer, text: Text, contexts: Sequence[int], partial: Partial, begin: Begin | None
) -> _Outcome[list[Damage]]:
    """The cache damage grid of one model."""
    progress = begin(f"{scorer.model_card.name}: {text.name}: cache damage") if begin else None
    measure = functools.partial(
        _damage_measure(),
        scorer,
        text.data,
        contexts=contexts,
        samples=_DAMAGE_SAMPLES,
        partial=partial,
        progress=progress,
    )
    identity = [FORMAT, scorer.model_card, text.sha256, "cache_damage", contexts]
    return _timed(list[Damage], measure, partial, identity)


def _timed(
    kind: type[T],
    measure: Callable[[], T],
    partial: Partial,
    identity: object,
    elsewhere: Future[tuple[T, float]] | None = None,
) -> _Outcome[T]:
    """Measure, unless an interrupted run has measured it already, or a pool does."""
    known = partial.get(dict[str, Any], identity)
    if known is not None:
        return _Outcome(from_json(kind, known["measured"]), known["seconds"])
    start = time.perf_counter()
    try:
        measured, seconds = elsewhere.result() if elsewhere else (measure(), None)
    except LLMZipError as error:  # not kept: what is missing may be there when the run goes on
        return _Outcome(error=str(error))
    if seconds is None:
        seconds = time.perf_counter() - start
    partial.put(identity, {"measured": measured, "seconds": seconds})
    return _Outcome(measured, seconds)


def _row(name: str, kind: Kind, text: Text, outcomes: Mapping[str, _Outcome[Any]]) -> Row:
    """outcomes: by task; `Row` has a field for each."""
    seconds = {task: found.seconds for task, found in outcomes.items() if found.seconds is not None}
    total = seconds.get("codec", seconds.get("code_length"))
    return Row(
        name,
        kind,
        text.name,
        seconds,
        errors={task: found.error for task, found in outcomes.items() if found.error is not None},
        seconds_per_megabyte=None if total is None else 1e6 * total / len(text.data),
        **{task: found.measured for task, found in outcomes.items()},
    )


def write(result: Result, folder: pathlib.Path, name: str = "results") -> pathlib.Path:
    """Write `<name>_<isodate>.json` into the folder, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = result.date.replace(":", "-").partition("+")[0]
    path = folder / f"{name}_{stamp}.json"
    path.write_text(json.dumps(to_json(result), indent=2, allow_nan=False) + "\n", "utf-8")
    return path


def read(path: pathlib.Path) -> Result:
    """The result that `write` has written. Raises LLMZipError for anything else."""
    try:
        values = json.loads(path.read_text("utf-8"))
        version = values["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise LLMZipError(f"{path}: no result of `llmzip eval --output`") from error
    if version != FORMAT:
        raise LLMZipError(
            f"{path}: a result of format {version}; this version of llmzip reads format {FORMAT}"
        )
    try:
        return from_json(Result, values)
    except ValueError as error:
        raise LLMZipError(f"{path}: no result of `llmzip eval --output`: {error}") from error
