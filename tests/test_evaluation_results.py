"""Results of `llmzip eval` as rows, JSON, tables and sentences."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import typing

import pytest

import llmzip
from llmzip.evaluation import run, tasks
from llmzip.evaluation.environment import environment
from llmzip.evaluation.findings import findings
from llmzip.evaluation.json_values import to_json
from llmzip.evaluation.options import TASKS, Options, Text
from llmzip.evaluation.rows import (
    FORMAT,
    CodecMeasures,
    CodeLengthMeasures,
    ContextMeasures,
    FileMeasures,
    MeasuredText,
    ModelDamage,
    Result,
    Row,
)
from llmzip.evaluation.tables import Column, table
from llmzip.metrics.capacity import Shape
from llmzip.scoring.base import ModelCard
from llmzip.scoring.integer_scorer import IntegerScorer
from tests.golden import TEXT


def result_of(rows: list[dict[str, object]], grid: list[dict[str, object]]) -> Result:
    """A result with these rows; what they do not say is 1."""

    def filled(kind: type, known: dict[str, object]) -> object:
        fields = {f.name: known.get(f.name, 1.0) for f in dataclasses.fields(kind)}
        return kind(**fields)

    made = []
    for row in rows:
        measured = {name: filled(kind, row) for name, kind in KINDS.items() if name in row["has"]}  # type: ignore[operator]
        made.append(Row(row["name"], row["kind"], "t", {}, {}, **measured))  # type: ignore[arg-type]
    card = ModelCard("m", "integer", "", 1, 1, Shape(1, 1, 1, 1, 1, 1, 1), {})
    points = [ModelDamage(**point) for point in grid]  # type: ignore[arg-type]
    text = MeasuredText("t", 10, "")
    return Result(FORMAT, "", False, Options(), [card], [text], made, points, {}, {}, environment())


KINDS = {
    "codec": CodecMeasures,
    "code_length": CodeLengthMeasures,
    "file": FileMeasures,
    "context": ContextMeasures,
}


def test_findings_are_what_the_numbers_say() -> None:
    xz = {"name": "xz", "kind": "codec", "has": ["codec"], "bits_per_byte": 2.0}
    model = {
        "name": "m",
        "kind": "integer",
        "has": ["code_length", "file", "context"],
        "bits_per_byte": 0.9,
        "file_bits_per_byte": 1.0,
        "contexts": [16, 64, 256],
        "bits_per_byte_by_context": [2.0, 1.0, 1.5],
    }
    point = {
        "model": "m",
        "context": 128,
        "evicted_fraction": 0.0,
        "cache_bits": 4,
        "bits_per_byte": 1.0,
        "extra_bits_per_byte": 0.02,
        "extra_bits_per_token_p99": 1.5,
    }
    assert findings(result_of([xz, model], [point])) == [
        "Fewest bits per byte: m on t (0.900).",
        "Sizes of real files, against the smallest codec's: 50% of xz's on t.",
        "Longer contexts made the same tokens cheaper in 1 of 2 steps; "
        "bits/byte: 2.000 → 1.500 on t (16 → 256 tokens).",
        "A key/value cache of 4 bits behind 128 tokens costs +0.020 bits/byte on the mean, "
        "but 1.50 bits at the 99th percentile of the tokens (m).",
    ]
    assert findings(result_of([xz], [])) == []


def test_tables_are_written_as_markdown_and_as_html() -> None:
    columns = [
        Column[tuple[str, float | None]]("cost ↓", lambda row: row[1], 1),
        Column[tuple[str, float | None]]("unknown", lambda row: None),
    ]
    made = table([("a|<b>", 2000.25), ("c", 3.0), ("d", None)], [("", lambda row: row[0])], columns)
    assert made.markdown() == [
        "|  | cost ↓ |",
        "| --- | ---: |",
        "| a|<b> | 2,000.2 |",
        "| c | **3.0** |",
        "| d |  |",
    ]
    assert made.html() == (
        "<table><tr><th></th><th>cost ↓</th></tr><tr><td>a|&lt;b&gt;</td><td>2,000.2</td></tr>"
        "<tr><td>c</td><td><b>3.0</b></td></tr><tr><td>d</td><td></td></tr></table>"
    )


def test_tasks_are_fields_of_a_row_and_known_by_name() -> None:
    assert tuple(tasks.TASKS) == TASKS
    hints = typing.get_type_hints(Row)
    assert all(hints[name] == task.kind | None for name, task in tasks.TASKS.items())


def test_json_that_is_no_result_says_where(integer: IntegerScorer, tmp_path: pathlib.Path) -> None:
    text = Text("t", TEXT[:300])
    result = run.evaluate([lambda: integer], [text], Options(tasks=("code_length",)), codecs=["xz"])
    values = to_json(result)
    assert values["rows"][1]["bits_per_byte"] == result.rows[1].bits_per_byte  # flat
    path = tmp_path / "result.json"
    for change, message in (
        (
            lambda v: v["rows"][1].update(tokens="many"),
            r"rows\[1\].tokens is 'many', which is no int",
        ),
        (
            lambda v: v["rows"][1].update(tokens=True),
            r"rows\[1\].tokens is 'True', which is no int",
        ),
        (lambda v: v["rows"][0].update(kind="zip"), r"rows\[0\].kind is 'zip', not one of"),
        (lambda v: v.pop("date"), "has no date"),
        (lambda v: v.update(rows=7), "rows is '7', which is no list"),
    ):
        changed = json.loads(json.dumps(values))
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(llmzip.LLMZipError, match=message):
            run.read(path)
