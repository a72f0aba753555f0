"""The leaderboard: models and codecs on the same dated texts, measured by one command.

    python -m benchmarks.leaderboard measure [-m MODEL]... [-c CODEC]... [-d TEXT:BYTES]...
    python -m benchmarks.leaderboard page

`measure` puts rows into benchmarks/leaderboard.json, a measurement of the same model, level and
text in the older one's place, and writes the file after each; `page` makes docs/leaderboard.html
of it. docs/leaderboard.md has the keys, and how to add a model.
"""

from __future__ import annotations

import datetime
import pathlib
import sys
from collections.abc import Iterator

import click

import llmzip
from benchmarks import leaderboard_rows
from benchmarks.leaderboard_page import page
from benchmarks.leaderboard_rows import LeaderboardRow, LeaderboardText
from llmzip.corpora import registry
from llmzip.corpora.builtin import BUILTIN
from llmzip.corpora.library import PREFIX
from llmzip.errors import LLMZipError
from llmzip.evaluation import tasks
from llmzip.evaluation.codec_rows import make_codec, measure_codec
from llmzip.evaluation.environment import environment
from llmzip.evaluation.options import Options, Text, load_texts, sources, split_size
from llmzip.levels import DEFAULT_LEVEL, MAX_LEVEL, MIN_LEVEL
from llmzip.runtime import Runtime
from llmzip.scoring.base import Scorer
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.load import load_scorer

ROOT = pathlib.Path(__file__).parent.parent
TABLE = ROOT / "benchmarks" / "leaderboard.json"
PAGE = ROOT / "docs" / "leaderboard.html"

DEFAULT_DATA = (
    "corpus:eips2026a:20000",
    "corpus:rustblog2026a:20000",
    "corpus:python-topics:10000",
)
DEFAULT_MODELS = ("smollm2-135m-text", "smollm2-135m-instruct", "float:smollm2-135m-instruct")
DEFAULT_CODECS = (
    "zlib:level=9",
    "bzip2:level=9",
    "xz:preset=9",
    "zstd:level=19",
    "zstd:level=22",
    "brotli:quality=11",
    "ppmd",
)


def measure_model(scorer: Scorer, text: Text, level: int, dated: LeaderboardText) -> LeaderboardRow:
    """The row of a model: its code length, and for an integer model the real file at a level, which
    is decoded and compared.

    Raises LLMZipError where the round trip changes the text.
    """
    card, options = scorer.model_card, Options()
    scored = tasks.measure_code_length(scorer, text, options)
    try:
        capacity = tasks.measure_capacity(scorer, text, options).information_capacity_b0
    except LLMZipError:  # shorter than a sample
        capacity = None
    is_integer = isinstance(scorer, IntegerScorer)
    return _row(
        dated,
        name=card.name,
        kind=card.kind,
        digest=card.digest,
        level=level if is_integer else None,
        file_bytes=_file_bytes(scorer, text, level) if isinstance(scorer, IntegerScorer) else None,
        bits_per_byte=scored.bits_per_byte,
        bits_per_byte_stderr=scored.bits_per_byte_stderr,
        information_capacity_b0=capacity,
        flops_per_byte=scored.flops_per_byte,
        parameters=card.parameters,
        model_bytes=card.model_bytes,
    )


def _file_bytes(scorer: IntegerScorer, text: Text, level: int) -> int:
    model = scorer.engine.model
    packed = llmzip.compress(text.data, level, model=model)
    if llmzip.decompress(packed, model=model) != text.data:
        raise LLMZipError(f"{scorer.model_card.name}: {text.name}: the round trip failed")
    return len(packed)


def measure_one_codec(codec: str, text: Text, dated: LeaderboardText) -> LeaderboardRow:
    """The row of a codec: its payload after a verified round trip."""
    return _row(
        dated,
        name=codec,
        kind="codec",
        digest="",
        level=None,
        file_bytes=measure_codec(codec, text.data).file_bytes,
        bits_per_byte=None,
        bits_per_byte_stderr=None,
        information_capacity_b0=None,
        flops_per_byte=None,
        parameters=0,
        model_bytes=0,
    )


def _row(text: LeaderboardText, **measured: object) -> LeaderboardRow:
    """What was measured, and where and when."""
    machine = environment()
    return LeaderboardRow(
        text=text.sha256,
        date=datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        llmzip=llmzip.__version__,
        commit=machine.git,
        processor=machine.processor,
        cores=machine.cores,
        **measured,  # type: ignore[arg-type]
    )


def _dated(
    names: tuple[str, ...],
    known: dict[str, LeaderboardText],
    origin: str | None,
    written: str | None,
) -> Iterator[tuple[Text, LeaderboardText]]:
    """The texts with their entries: what is known of them, unless it is said anew. Raises
    LLMZipError for a text that nobody else could have.
    """
    for name in names:
        for text in load_texts((name,)):
            before = known.get(text.sha256)
            where = origin or (before.origin if before else _origin(name))
            if where is None:
                raise LLMZipError(
                    f"{name}: where can others have these bytes? Say it with --origin"
                )
            yield (
                text,
                LeaderboardText(
                    before.name if before else text.name,
                    len(text.data),
                    text.sha256,
                    where,
                    written or (before.written if before else None),
                ),
            )


def _origin(name: str) -> str | None:
    """Where a corpus's text, or its first bytes, can be had; None for any other text."""
    path, size = split_size(name)
    part = "" if size is None else f", the first {size:,} bytes"
    if path.removeprefix(PREFIX) in BUILTIN and not pathlib.Path(path).exists():
        version = ".".join(map(str, sys.version_info[:2]))
        return f"{PREFIX}{path.removeprefix(PREFIX)} of llmzip with Python {version}{part}"
    corpora = {corpus.sha256: corpus for corpus in registry.CORPORA}
    for text in sources(path).values():
        if corpus := corpora.get(text.sha256):
            return f"llmzip corpora fetch {corpus.name} ({corpus.license}){part}"
    return None


@click.group()
def main() -> None:
    """Measure models and codecs on dated texts, and show the results."""


_TABLE = click.option(
    "--table",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    default=TABLE,
    help="The JSON; default: benchmarks/leaderboard.json.",
)


@main.command()
@click.option(
    "-m", "--model", "models", multiple=True, help="Integer model, or float:NAME [all usual ones]."
)
@click.option("-c", "--codec", "codecs", multiple=True, help="NAME[:key=value,...].")
@click.option("-d", "--data", multiple=True, help="File or corpus, NAME:BYTES: the first bytes.")
@click.option("--level", type=click.IntRange(MIN_LEVEL, MAX_LEVEL), default=DEFAULT_LEVEL)
@click.option("--origin", help="Where anyone can have these bytes, for a text of your own.")
@click.option("--written", metavar="YYYY-MM[/YYYY-MM]", help="The months the text was written in.")
@_TABLE
def measure(
    models: tuple[str, ...],
    codecs: tuple[str, ...],
    data: tuple[str, ...],
    level: int,
    origin: str | None,
    written: str | None,
    table: pathlib.Path,
) -> None:
    """Add rows: of MODELS and CODECS, by default the usual ones, on each text."""
    try:
        leaderboard_rows.check_written(written)
        if not models and not codecs:
            models, codecs = DEFAULT_MODELS, DEFAULT_CODECS
        for codec in codecs:
            make_codec(codec)  # a wrong one is said before anything is measured
        board = leaderboard_rows.read(table)
        known = {text.sha256: text for text in board.texts}
        texts = list(_dated(data or DEFAULT_DATA, known, origin, written))
        for row_text, row in _rows(models, codecs, texts, level):
            board = board.with_row(row_text, row)
            leaderboard_rows.write(board, table)
            rate = "" if row.file_bytes is None else f", {row.file_bytes:,} bytes"
            bits = "" if row.bits_per_byte is None else f", {row.bits_per_byte:.4f} bits/byte"
            click.echo(f"{row_text.name}: {row.name}{rate}{bits}")
    except (LLMZipError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def _rows(
    models: tuple[str, ...],
    codecs: tuple[str, ...],
    texts: list[tuple[Text, LeaderboardText]],
    level: int,
) -> Iterator[tuple[LeaderboardText, LeaderboardRow]]:
    """Model by model, so that only one is in memory."""
    for text, dated in texts:
        for codec in codecs:
            yield dated, measure_one_codec(codec, text, dated)
    for name in models:
        scorer = load_scorer(name, runtime=Runtime(download=True))
        for text, dated in texts:
            yield dated, measure_model(scorer, text, level, dated)


@main.command("page")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=pathlib.Path),
    default=PAGE,
    help="The page; default: docs/leaderboard.html.",
)
@_TABLE
def write_page(output: pathlib.Path, table: pathlib.Path) -> None:
    """Make the HTML page."""
    try:
        board = leaderboard_rows.read(table)
    except LLMZipError as error:
        raise click.ClickException(str(error)) from error
    if not board.rows:
        raise click.ClickException(f"{table}: there are no rows to show; measure first")
    output.write_text(page(board), "utf-8")
    click.echo(output)


if __name__ == "__main__":
    main()
