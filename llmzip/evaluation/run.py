"""Models and codecs on texts, cell by cell; an interrupted run goes on where it stopped."""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from llmzip.errors import LLMZipError
from llmzip.evaluation import tasks
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

    models: loaded one after the other, so that only one is in memory. damage: the text of the cache
    damage grid, if that is wanted. folder: where finished cells are kept so that the same call goes
    on after an interruption. What does not apply is reported under `errors` with its reason.
    """
    if damage:
        _damage_measure()  # what is missing is said before anything is measured
    partial = Partial(folder / PARTIAL if folder else None)
    rows = [_codec_row(codec, text, partial) for text in texts for codec in codecs]
    cards, grid, grid_seconds, errors = [], [], {}, {}
    for load in models:
        scorer = load()
        name = scorer.model_card.name
        cards.append(scorer.model_card)
        rows += [_model_row(scorer, text, options, partial, begin) for text in texts]
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


def _codec_row(codec: str, text: Text, partial: Partial) -> Row:
    measure = functools.partial(measure_codec, codec, text.data)
    outcome = _timed(CodecMeasures, measure, partial, [FORMAT, codec, text.sha256])
    return _row(codec, "codec", text, {"codec": outcome})


def _model_row(
    scorer: Scorer, text: Text, options: Options, partial: Partial, begin: Begin | None
) -> Row:
    card = scorer.model_card
    outcomes: dict[str, _Outcome[Measures]] = {}
    for task in options.tasks:
        if task == "file" and card.kind != "integer":
            continue
        if task == "documents" and not text.documents and options.tasks == TASKS:
            continue  # of a text that is no set of documents it tells nothing new
        progress = begin(f"{card.name}: {text.name}: {task}") if begin else None
        identity = [
            *(FORMAT, card, text.name, text.sha256, [len(part) for part in text.parts], task),
            dataclasses.replace(options, tasks=()),
        ]
        kind, measure = tasks.TASKS[task].kind, tasks.TASKS[task].measure
        call = functools.partial(measure, scorer, text, options, progress)
        outcomes[task] = _timed(kind, call, partial, identity)
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
    kind: type[T], measure: Callable[[], T], partial: Partial, identity: object
) -> _Outcome[T]:
    """Measure, unless an interrupted run has measured it already."""
    known = partial.get(dict[str, Any], identity)
    if known is not None:
        return _Outcome(from_json(kind, known["measured"]), known["seconds"])
    start = time.perf_counter()
    try:
        measured = measure()
    except LLMZipError as error:  # not kept: what is missing may be there when the run goes on
        return _Outcome(error=str(error))
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
