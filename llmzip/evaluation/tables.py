"""Tables of a result: built once, written as Markdown or as HTML."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from llmzip.evaluation.rows import (
    CapacityMeasures,
    CodeLengthMeasures,
    DocumentsMeasures,
    FileMeasures,
    Result,
    Row,
)

R = TypeVar("R")
M = TypeVar("M")

Number = float | int | None


@dataclasses.dataclass(frozen=True)
class Column(Generic[R]):
    """One number of each row. An arrow in the title says which is the best: ↓ the least, ↑ the
    greatest.
    """

    title: str
    value: Callable[[R], Number]
    digits: int = 4
    """Digits after the decimal point, unless the number is an int."""
    error: Callable[[R], Number] = lambda row: None
    """The standard error that stands beside it."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell as text."""

    text: str
    is_best: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table as text; the first cells of a row are its names."""

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    names: int = 1
    """The number of the first columns that are names."""

    def markdown(self) -> list[str]:
        """The table as lines of Markdown; the best of each column is bold."""
        rule = " --- |" * self.names + " ---: |" * (len(self.titles) - self.names)
        rows = [[f"**{c.text}**" if c.is_best else c.text for c in row] for row in self.rows]
        return [
            f"| {' | '.join(self.titles)} |",
            f"|{rule}",
            *(f"| {' | '.join(r)} |" for r in rows),
        ]

    def html(self) -> str:
        """The table as an HTML element."""
        head = "".join(f"<th>{html.escape(title)}</th>" for title in self.titles)
        rows = ("".join(f"<td>{_html(cell)}</td>" for cell in row) for row in self.rows)
        return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _html(cell: Cell) -> str:
    text = html.escape(cell.text)
    return f"<b>{text}</b>" if cell.is_best else text


def table(
    rows: Sequence[R], names: Sequence[tuple[str, Callable[[R], str]]], columns: Sequence[Column[R]]
) -> Table:
    """names: title and text of the first columns. Columns without any number are left out."""
    values = [(column, [column.value(row) for row in rows]) for column in columns]
    values = [(column, found) for column, found in values if any(v is not None for v in found)]
    cells = [_cells(column, rows, found) for column, found in values]
    named = [[Cell(name(row)) for row in rows] for _, name in names]
    titles = [*(title for title, _ in names), *(column.title for column, _ in values)]
    return Table(titles, list(zip(*named, *cells, strict=True)), len(names))


def _cells(column: Column[R], rows: Sequence[R], values: Sequence[Number]) -> list[Cell]:
    known = [value for value in values if value is not None]
    best = max(known) if "↑" in column.title else min(known) if "↓" in column.title else None
    cells = []
    for row, value in zip(rows, values, strict=True):
        text = _number(value, column.digits)
        error = column.error(row)
        if error is not None:
            text += f" ± {_number(error, column.digits)}"
        cells.append(Cell(text, value is not None and value == best and len(known) > 1))
    return cells


def _number(value: Number, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def _in(part: Callable[[Row], M | None], value: Callable[[M], Number]) -> Callable[[Row], Number]:
    """A number of a part of the row that may not have been measured."""

    def get(row: Row) -> Number:
        measured = part(row)
        return None if measured is None else value(measured)

    return get


def _scores(value: Callable[[CodeLengthMeasures], Number]) -> Callable[[Row], Number]:
    return _in(lambda row: row.code_length, value)


def _file(value: Callable[[FileMeasures], Number]) -> Callable[[Row], Number]:
    return _in(lambda row: row.file, value)


def _capacity(value: Callable[[CapacityMeasures], Number]) -> Callable[[Row], Number]:
    return _in(lambda row: row.capacity, value)


def _documents(value: Callable[[DocumentsMeasures], Number]) -> Callable[[Row], Number]:
    return _in(lambda row: row.documents, value)


MAIN: tuple[Column[Row], ...] = (
    Column(
        "bits/byte ↓",
        lambda row: row.bits_per_byte,
        error=_scores(lambda m: m.bits_per_byte_stderr),
    ),
    Column("file bits/byte ↓", _file(lambda m: m.file_bits_per_byte)),
    Column("bits/char ↓", lambda row: row.bits_per_char),
    Column("BPC 1900/512 ↓", _in(lambda row: row.bpc, lambda m: m.bpc)),
    Column("bits/token", _scores(lambda m: m.bits_per_token), 3),
    Column("bytes/token ↑", _scores(lambda m: m.bytes_per_token), 3),
    Column("compression_rate [%] ↓", _documents(lambda m: m.compression_rate), 3),
    Column("TS", _capacity(lambda m: m.ts), 2),
    Column("NLL ↓", _capacity(lambda m: m.nll), 3),
    Column("IC ↑", _capacity(lambda m: m.information_capacity)),
    Column("IC (b=0) ↑", _capacity(lambda m: m.information_capacity_b0)),
    Column("top-1 ↑", _scores(lambda m: m.top1), 3),
    Column("adjusted rate ↓", _scores(lambda m: m.adjusted_rate_stored), 2),
)
"""The columns of the table of each text."""

_FILE_SECTION: tuple[Column[Row], ...] = (
    Column("level", _file(lambda m: m.level)),
    Column("bytes", _file(lambda m: m.file_bytes)),
    Column("bits/byte", _file(lambda m: m.file_bits_per_byte)),
    Column("of the model", _file(lambda m: m.file_model_bits_per_byte)),
    Column("header bits", _file(lambda m: m.overhead_header_bits)),
    Column("table bits", _file(lambda m: m.overhead_table_bits), 1),
    Column("mixing's bits", _file(lambda m: m.mixing_bits), 0),
    Column("tail bits", _file(lambda m: m.overhead_tail_bits), 1),
    Column("matches' bits", _file(lambda m: m.match_bits)),
    Column("other codecs' bits", _file(lambda m: m.other_codec_bits)),
)
_CAPACITY_SECTION: tuple[Column[Row], ...] = (
    Column("samples", _capacity(lambda m: m.samples)),
    Column("TS [bits/token]", _capacity(lambda m: m.ts), 2),
    Column("NLL [bits/token]", _capacity(lambda m: m.nll), 3),
    Column("b", _capacity(lambda m: m.b), 1),
    Column("IC", _capacity(lambda m: m.information_capacity)),
    Column("IC (b=0)", _capacity(lambda m: m.information_capacity_b0)),
    Column("IC as the script rounds", _capacity(lambda m: m.information_capacity_script)),
    Column("IC, exact FLOPs", _capacity(lambda m: m.information_capacity_exact)),
    Column("IC (b=0), exact", _capacity(lambda m: m.information_capacity_exact_b0)),
    Column("FLOPs/token, paper", _capacity(lambda m: m.flops_per_token_paper)),
    Column("FLOPs/token, exact", _capacity(lambda m: m.flops_per_token_exact)),
)
_DOCUMENTS_SECTION: tuple[Column[Row], ...] = (
    Column("documents", _documents(lambda m: m.sample_count)),
    Column("compression_rate [%]", _documents(lambda m: m.compression_rate), 3),
    Column("BPB", _documents(lambda m: m.bpb)),
    Column("BPC", _documents(lambda m: m.bpc)),
    Column("tokens per document", _documents(lambda m: m.avg_tokens), 1),
    Column("bytes per document", _documents(lambda m: m.avg_bytes), 1),
    Column("nats per document", _documents(lambda m: m.neg_log_prob_sum), 1),
    Column("tokens of a chunk", _documents(lambda m: m.chunk_size)),
)
_BOUND_SECTION: tuple[Column[Row], ...] = (
    Column("± stderr of bits/byte", _scores(lambda m: m.bits_per_byte_stderr)),
    Column("bits/char, 95 % from", _scores(lambda m: m.bits_per_char_low)),
    Column("to", _scores(lambda m: m.bits_per_char_high)),
    Column("ranks + zlib, bits/char", _scores(lambda m: m.coders_bits_per_char.ranks_deflate)),
    Column("whole bits, bits/char", _scores(lambda m: m.coders_bits_per_char.whole_bits)),
    Column("arithmetic, bits/char", _scores(lambda m: m.coders_bits_per_char.arithmetic)),
    Column("α-smoothed bits/byte", _scores(lambda m: m.smoothed_bits_per_byte)),
    Column("bits/token, 99th percentile", _scores(lambda m: m.bits_per_token_p99), 1),
    Column("hint: Min-20 % bits/token", _scores(lambda m: m.hint_min_k_20), 2),
    Column("hint: bits / zlib's bits", _scores(lambda m: m.hint_model_to_zlib), 3),
)
_COST_SECTION: tuple[Column[Row], ...] = (
    Column("raw rate", _scores(lambda m: m.raw_rate)),
    Column("adjusted (2 bytes/parameter)", _scores(lambda m: m.adjusted_rate), 2),
    Column("adjusted (as stored)", _scores(lambda m: m.adjusted_rate_stored), 2),
    Column("break-even against xz [bytes]", _scores(lambda m: m.break_even_bytes_xz), 0),
    Column("FLOPs/byte", _scores(lambda m: m.flops_per_byte), 0),
)

SECTIONS = (
    ("The real file, and where its bits come from", _FILE_SECTION),
    ("Information capacity", _CAPACITY_SECTION),
    ("Documents one by one, as UncheatableEval scores them", _DOCUMENTS_SECTION),
    ("Entropy bound, three coders, hints", _BOUND_SECTION),
    ("What the model's size costs", _COST_SECTION),
)
"""Heading and columns of the report's further tables, which have a row for each model and text."""


@dataclasses.dataclass(frozen=True)
class TextTable:
    """The table of one text: models and codecs as rows, the fewest bits per byte first."""

    heading: str
    table: Table
    notes: list[str]
    """Why something was not measured."""
    contexts: Table | None = None
    """Bits per byte behind so many tokens, where that was measured."""


def text_tables(result: Result) -> list[TextTable]:
    """A table for each text."""
    made = []
    for text in result.texts:
        rows = sorted(result.rows_of(text), key=_by_rate)
        notes = [f"{r.name}, {task}: {why}" for r in rows for task, why in r.errors.items()]
        names = [("", lambda row: row.name)]
        made.append(
            TextTable(
                f"{text.name}, {text.bytes:,} bytes",
                table(rows, names, MAIN),
                notes,
                _context_table(rows),
            )
        )
    return made


def _context_table(rows: Sequence[Row]) -> Table | None:
    by_context = {
        id(row): dict(zip(row.context.contexts, row.context.bits_per_byte_by_context, strict=True))
        for row in rows
        if row.context
    }
    if not by_context:
        return None

    def behind(context: int) -> Column[Row]:
        return Column(f"{context} tokens", lambda row: by_context[id(row)].get(context))

    contexts = sorted({context for known in by_context.values() for context in known})
    return table(
        [row for row in rows if row.context],
        [("bits/byte behind", lambda row: row.name)],
        [behind(context) for context in contexts],
    )


def section(result: Result, columns: Sequence[Column[Row]]) -> Table | None:
    """A table with a row for each model and text that has one of these numbers."""
    rows = [row for row in result.rows if any(column.value(row) is not None for column in columns)]
    names = [("", lambda row: row.name), ("text", lambda row: row.text)]
    return table(rows, names, columns) if rows else None


def notes(result: Result) -> list[str]:
    """Why a measurement that is of no single text failed."""
    return [f"{what}: {reason}" for what, reason in result.errors.items()]


def markdown(result: Result) -> str:
    """The tables of all texts. ± is the standard error."""
    lines = []
    if result.testing_only:
        lines += [f"**Testing only**: the first {result.options.limit:,} bytes of each text.", ""]
    for text in text_tables(result):
        lines += [f"### {text.heading}", ""]
        if len(text.table.titles) > text.table.names or not text.contexts:
            lines += [*text.table.markdown(), ""]
        if text.contexts:
            lines += [*text.contexts.markdown(), ""]
        if text.notes:
            lines += [*(f"- {note}" for note in text.notes), ""]
    return "\n".join([*lines, *(f"- {note}" for note in notes(result))])


def _by_rate(row: Row) -> float:
    return float("inf") if row.bits_per_byte is None else row.bits_per_byte
