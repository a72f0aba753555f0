"""`llmzip eval` and what it is made of, with the tiny model."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
import subprocess
import sys
import typing
from typing import Any

import click.testing
import numpy as np
import pytest

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.codecs.registry import get_codec
from llmzip.evaluation import compare as comparison
from llmzip.evaluation import dated, pairs, run, tasks
from llmzip.evaluation.cache_damage import measure_damage
from llmzip.evaluation.codec_rows import measure_codec, parse_codec
from llmzip.evaluation.compare import compare
from llmzip.evaluation.dated import by_month, measure_months
from llmzip.evaluation.environment import environment
from llmzip.evaluation.findings import findings
from llmzip.evaluation.json_values import from_json, to_json
from llmzip.evaluation.options import TASKS, Options, Text, load_texts
from llmzip.evaluation.pairs import ModelCodeLengths, codec_length, conditional_by_codec, distance_table
from llmzip.evaluation.report import report
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
from llmzip.evaluation.tables import Column, markdown, table
from llmzip.metrics.capacity import Shape
from llmzip.metrics.windows import Span
from llmzip.scoring.base import ModelCard, Scorer
from llmzip.scoring.float_loader import load_float
from llmzip.scoring.float_scorer import FloatScorer
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.score import score
from tests.conftest import TINY_DIRECTORY, tiny
from tests.golden import TEXT

pytestmark = pytest.mark.usefixtures("one_thread")


OPTIONS = Options(context=128, contexts=(16, 64, 128), samples=4, level=1)


def test_code_length_keys_agree_with_each_other(integer: IntegerScorer, english: bytes) -> None:
    data = english[:6000]
    found = tasks.measure_code_length(integer, data, OPTIONS)
    assert found.bits_per_byte == pytest.approx(found.bits_per_token / found.bytes_per_token)
    assert found.bits_per_byte == pytest.approx(8 * found.raw_rate)
    assert found.bits_per_char_low < found.bits_per_char < found.bits_per_char_high
    coders = found.coders_bits_per_char
    assert coders.ranks_deflate > coders.whole_bits > coders.arithmetic > found.bits_per_char
    assert coders.arithmetic == pytest.approx(found.bits_per_char, rel=1e-3)
    assert found.position_edges == [0, 16, 64, 128]
    assert len(found.bits_per_byte_by_position) == 3
    assert sum(found.rank_histogram) == pytest.approx(1)
    assert found.rank_histogram[0] == found.top1
    assert found.adjusted_rate_stored == pytest.approx(found.raw_rate + integer.model_card.model_bytes / 6000)
    assert found.smoothed_bits_per_byte != found.bits_per_byte


def test_capacity_by_the_definition(integer: IntegerScorer, english: bytes) -> None:
    data = english[:6000]
    found = tasks.measure_capacity(integer, data, OPTIONS)
    text = integer.tokenize(data)
    length = integer.max_positions
    count = min(4, len(text.ids) // length)
    assert (found.samples, found.sample_tokens) == (count, 512)
    ts = np.mean([8 * text.sizes[i * length + 1 : (i + 1) * length].sum() / (length - 1) for i in range(count)])
    assert found.ts == pytest.approx(ts)
    expected = (found.ts - found.nll - 27) / math.log2(found.flops_per_token_paper)
    assert found.information_capacity == pytest.approx(expected)
    with pytest.raises(llmzip.LLMZipError, match="needs a sample of 512 tokens"):
        tasks.measure_capacity(integer, b"short", OPTIONS)


def test_context_scores_the_same_tokens_each_time(integer: IntegerScorer, english: bytes) -> None:
    found = tasks.measure_context(integer, english[:6000], OPTIONS)
    assert found.contexts == [16, 64, 128]
    text = integer.tokenize(english[:6000])
    starts = np.linspace(128, len(text.ids) - 64, 4).astype(int).tolist()
    direct = score(integer, text, [Span(s - 16, s, s + 64) for s in starts])
    assert found.bits_per_byte_by_context[0] == pytest.approx(direct.total_bits / direct.total_bytes)


def test_bpc_counts_every_character(integer: IntegerScorer) -> None:
    data = ("caf\u00e9 " * 30).encode()
    found = tasks.measure_bpc(integer, data, OPTIONS)
    text = integer.tokenize(data)
    assert found.bpc == pytest.approx(score(integer, text, [Span(0, 0, len(text.ids))]).total_bits / 150)


def test_codecs_are_measured_on_the_payload() -> None:
    found = measure_codec("xz:preset=6", TEXT)
    assert found.file_bytes == len(get_codec("xz", preset=6).payload_codec.encode(TEXT))
    assert found.bits_per_byte == 8 * found.file_bytes / len(TEXT)
    assert parse_codec("zstd") == ("zstd", {})
    with pytest.raises(ValueError, match="key=value"):
        parse_codec("zstd:19")


def test_what_does_not_apply_is_reported(integer: IntegerScorer) -> None:
    options = Options(tasks=("code_length", "context"), context=64)
    texts = [Text("short", TEXT[:60])]
    result = run.evaluate([lambda: integer], texts, options, codecs=["xz:level=3", "nothing"], damage=texts[0])
    assert "unexpected keyword" in result.rows[0].errors["codec"]
    assert "codecs are raw" in result.rows[1].errors["codec"]
    assert "too short" in result.rows[2].errors["context"]
    assert "do not fit" in result.errors["tiny: cache_damage"]
    assert "- tiny: cache_damage: contexts of up to 1024" in markdown(result)
    assert cli("conditional", "--text", __file__, "--given", __file__, "--codec", "nothing").exit_code == 1


def test_results_resume_after_an_interruption(
    integer: IntegerScorer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [Text("a", TEXT[:400]), Text("b", TEXT[400:])]
    options = Options(tasks=("code_length", "capacity"), context=64)
    measured: list[bytes] = []
    honest = tasks.measure_code_length

    def failing(scorer: Scorer, data: bytes, *rest: Any) -> CodeLengthMeasures:
        if len(measured) == 1 and data == TEXT[400:]:
            measured.append(b"interrupted")
            raise KeyboardInterrupt
        measured.append(data)
        return honest(scorer, data, *rest)

    monkeypatch.setitem(tasks.TASKS, "code_length", tasks.Task(CodeLengthMeasures, failing))
    with pytest.raises(KeyboardInterrupt):
        run.evaluate([lambda: integer], texts, options, codecs=["zlib"], folder=tmp_path)
    result = run.evaluate([lambda: integer], texts, options, codecs=["zlib"], folder=tmp_path)
    assert measured == [TEXT[:400], b"interrupted", TEXT[400:]]
    assert list(tmp_path.iterdir()) == []
    again = run.evaluate([lambda: integer], texts, options, codecs=["zlib"])
    values = [[row.bits_per_byte for row in r.rows] for r in (result, again)]
    assert values[0] == values[1]
    assert "needs a sample" in result.rows[-1].errors["capacity"]
    path = run.write(result, tmp_path)
    assert run.read(path) == result
    assert json.loads(path.read_text())["texts"][0]["sha256"] == texts[0].sha256
    table = markdown(result)
    assert "| zlib |" in table
    assert "### a, 400 bytes" in table


def test_a_report_holds_everything_in_one_file(integer: IntegerScorer, english: bytes) -> None:
    text = Text("<prose>", english[:5000])
    options = dataclasses.replace(OPTIONS, damage_contexts=(32, 64))
    result = run.evaluate([lambda: integer], [text], options, codecs=["zlib"], damage=text)
    assert result.rows[-1].errors == {}
    page = report(result)
    assert page.count("<svg") == 6
    assert "&lt;prose&gt;" in page
    assert "<prose>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "src=" not in page
    assert from_json(Result, json.loads(json.dumps(to_json(result), allow_nan=False))) == result


@pytest.mark.parametrize("kind", ["integer", "floating"])
def test_an_undamaged_cache_costs_nothing_and_damage_costs_more(
    kind: str, english: bytes, request: pytest.FixtureRequest
) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    data = english[:3000]
    rows = measure_damage(scorer, data, contexts=(96,), evict_fractions=(0, 0.9), bits=(16, 8, 2), samples=4)
    extra = {(row.evicted_fraction, row.cache_bits): row.extra_bits_per_byte for row in rows}
    assert extra[0, 16] == pytest.approx(0, abs=1e-6)
    assert abs(extra[0, 8]) < 0.01
    assert extra[0, 2] > 0.05
    assert extra[0.9, 2] > 0
    # The undamaged rate is that of the plain scorer with the same context.
    text = scorer.tokenize(data)
    starts = np.unique(np.linspace(96, len(text.ids) - 64, 4).astype(int)).tolist()
    direct = score(scorer, text, [Span(s - 95, s, s + 64) for s in starts])
    whole = next(row for row in rows if row.evicted_fraction == 0 and row.cache_bits == 16)
    assert whole.bits_per_byte == pytest.approx(direct.total_bits / direct.total_bytes, abs=1e-4)


def test_integer_damage_is_float_damage(integer: IntegerScorer, floating: FloatScorer, english: bytes) -> None:
    a, b = (
        measure_damage(s, english[:3000], contexts=(96,), evict_fractions=(0.5,), bits=(3,), samples=4)[0].bits_per_byte
        for s in (integer, floating)
    )
    assert a == pytest.approx(b, rel=0.05)


def test_a_model_compared_with_itself_and_its_integers(
    integer: IntegerScorer, floating: FloatScorer, english: bytes
) -> None:
    data = english[:2500]
    same = compare(floating, floating, data, context=100)
    assert (same.delta_bits_per_byte, same.flips) == (0, 0)
    assert same.kl_bits_per_token == pytest.approx(0, abs=1e-9)
    quantized = compare(floating, integer, data, context=100)
    assert 0 < quantized.js_bits_per_token < quantized.kl_bits_per_token < 0.05
    assert 0 < quantized.flips < 0.1
    assert quantized.bits_per_byte_original == pytest.approx(same.bits_per_byte_original)
    delta = quantized.bits_per_byte_changed - quantized.bits_per_byte_original
    assert quantized.delta_bits_per_byte == pytest.approx(delta)


def test_conditional_lengths_by_model_and_codec(integer: IntegerScorer) -> None:
    length = ModelCodeLengths(integer)
    first, second = TEXT[:120], TEXT[120:200]
    text = integer.tokenize(first) + integer.tokenize(second)
    count = len(integer.tokenize(first).ids)
    direct = score(integer, text, [Span(0, count, len(text.ids))]).total_bits
    assert length(second, first) == pytest.approx(direct)
    assert length(b"", first) == 0
    long = TEXT * 5
    assert length(second, long) > 0  # cut from the left to fit
    by_codec = conditional_by_codec(codec_length("xz"))
    assert by_codec(TEXT, TEXT) < 0.2 * by_codec(TEXT, b"")


def test_distances_tell_texts_apart() -> None:
    conditional = conditional_by_codec(codec_length("xz"))
    table = distance_table([TEXT[:400]], [TEXT[:450], bytes(range(256))], conditional, "ncd")
    assert table[0, 0] < table[0, 1]
    for kind in ("gpt_max", "gpt_min", "gpt_mean"):
        table = distance_table([TEXT[:400]], [TEXT[:450], bytes(range(256))], conditional, kind)
        assert table[0, 0] < table[0, 1]


def test_months(integer: IntegerScorer) -> None:
    texts = {"2025-01-02-a": TEXT[:300], "2025-01-09-b": TEXT[300:500], "2025-03-01-c": TEXT[500:], "undated": b"x"}
    slices = by_month(texts)
    assert {month: len(data) for month, data in slices.items()} == {"2025-01": 500, "2025-03": len(TEXT) - 500}
    found = measure_months(integer, slices, "2025-01", context=64)
    rates = found.rate_percent_by_month
    assert found.robustness == pytest.approx(rates["2025-03"] - rates["2025-01"])
    assert rates["2025-01"] == pytest.approx(found.bits_per_byte_by_month["2025-01"] * 12.5)
    with pytest.raises(llmzip.LLMZipError, match="no text has a date"):
        by_month({"undated": b"x"})


def test_data_by_name_and_size(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    (tmp_path / "empty").write_bytes(b"")
    assert [(t.name, t.data) for t in load_texts((f"{tmp_path}:4",))] == [(f"{tmp_path}/a", b"0123")]
    assert load_texts((f"{tmp_path / 'a'}:4",), 2)[0].data == b"01"
    assert len(load_texts(("logs:1000",))[0].data) == 1000
    with pytest.raises(llmzip.LLMZipError, match="no text to measure"):
        load_texts((str(tmp_path / "empty"),))


def cli(*args: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, ["eval", *map(str, args)])


@pytest.fixture
def text_file(tmp_path: pathlib.Path, english: bytes) -> pathlib.Path:
    path = tmp_path / "text.txt"
    path.write_bytes(english[:4000])
    return path


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_the_command_measures_and_writes(text_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    models = ("--model", TINY_DIRECTORY, "--model", f"float:{TINY_DIRECTORY}")
    done = cli(
        *models,
        "--data",
        text_file,
        "--codec",
        "zlib:level=9",
        "--level",
        1,
        "--context",
        128,
        "--output",
        out,
        "--limit",
        "3KiB",
    )
    assert done.exit_code == 0, done.output
    assert "Testing only" in done.stdout
    suffixes = {path.suffix: path for path in out.iterdir()}
    assert set(suffixes) == {".json", ".md", ".html"}
    result = json.loads(suffixes[".json"].read_text())
    assert [row["kind"] for row in result["rows"]] == ["codec", "integer", "float"]
    codec, integer, floating = result["rows"]
    assert integer["bits_per_byte"] == pytest.approx(floating["bits_per_byte"], rel=0.01)
    overhead = sum(integer[f"{part}_bits"] for part in ("overhead_table", "overhead_tail", "overhead_header", "mixing"))
    assert integer["file_model_bits_per_byte"] == pytest.approx(
        (8 * integer["file_bytes"] - overhead) / result["texts"][0]["bytes"], abs=1e-3
    )
    packed = llmzip.compress(text_file.read_bytes()[:3072], 1, model=tiny())
    assert integer["file_bytes"] == len(packed)
    assert codec["bits_per_byte"] > 0
    redone = cli("report", suffixes[".json"], "--output", tmp_path / "again.html", "--pictures", tmp_path / "svg")
    drawn = {path.name for path in (tmp_path / "svg").iterdir() if path.read_text().startswith("<svg")}
    assert drawn == {f"{name}.svg" for name in ("bits_per_byte", "by_context", "by_position", "rank_histogram")}
    assert redone.exit_code == 0, redone.output
    assert (tmp_path / "again.html").read_text() == suffixes[".html"].read_text()


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_names_of_any_bytes_in_any_locale(tmp_path: pathlib.Path) -> None:
    names = {b"caf\xe9.txt": "caf\\xe9.txt", "\u00e9\u2192".encode(): "\u00e9\u2192", rb"a$\b$": r"a$\b$"}
    folder, out = tmp_path / "texts", os.fsencode(tmp_path) + b"/o\xff"
    folder.mkdir()
    for name in names:
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(TEXT[:200])
    arguments = ["-d", str(folder), "-m", str(TINY_DIRECTORY), "--task", "code_length", "--context", "32", "-q"]
    ran = subprocess.run(
        [sys.executable, "-m", "llmzip", "eval", *arguments, "--output", out],
        env={**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        capture_output=True,
    )
    assert ran.returncode == 0, ran.stderr
    written = {os.path.splitext(name)[1]: name for name in os.listdir(out)}  # noqa: PTH122, PTH208
    for ending, escaped in ((b".json", json.dumps), (b".md", str), (b".html", str)):
        with open(out + b"/" + written[ending], encoding="utf-8") as file:  # noqa: PTH123
            text = file.read()
        assert all(escaped(name).strip('"') in text for name in names.values())


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_sub_commands(text_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    compared = cli("compare", "--to", f"float:{TINY_DIRECTORY}", "--data", f"{text_file}:2000", "--context", 64)
    assert json.loads(compared.stdout)["texts"]["text.txt"]["kl_bits_per_token"] > 0
    overall = json.loads(compared.stdout)["overall"]
    assert overall["kl_bits_per_token"] == json.loads(compared.stdout)["texts"]["text.txt"]["kl_bits_per_token"]
    shorter = tmp_path / "shorter.txt"
    shorter.write_bytes(TEXT[:100])
    again = tmp_path / "again.txt"
    again.write_bytes(TEXT[:200])
    told = cli("conditional", "--text", again, "--given", shorter, "--full", again, "--codec", "xz")
    assert 0 < json.loads(told.stdout)["retained_information"] < 1
    grid = cli(
        "damage",
        "--data",
        text_file,
        "--contexts",
        "32",
        "--evict-fractions",
        "0",
        "--bits",
        "8",
        "--samples",
        1,
        "--output",
        tmp_path / "grid.json",
    )
    assert len(json.loads(grid.stdout)["cache_damage"]) == 1
    assert (tmp_path / "grid.svg").read_text().startswith("<svg")
    assert cli("damage", "--bits", "1").exit_code == 2
    dated = tmp_path / "dated"
    dated.mkdir()
    for month in ("2025-01", "2025-02"):
        (dated / f"{month}-01.txt").write_bytes(TEXT[:200])
    slices = cli("months", "--data", dated, "--cutoff", "2025-01", "--output", tmp_path / "months.json")
    assert json.loads(slices.stdout)["robustness"] == 0
    failed = cli("--data", tmp_path / "nothing")
    assert failed.exit_code == 1
    assert "no such file" in failed.stderr


def test_knn_align_and_information(tmp_path: pathlib.Path) -> None:
    for part, cut in (("train", slice(0, 300)), ("test", slice(300, 500))):
        for label, data in (("text", TEXT), ("numbers", b"".join(b"%d, " % (i * i) for i in range(300)))):
            (tmp_path / part / label).mkdir(parents=True)
            (tmp_path / part / label / "1").write_bytes(data[cut])
    guessed = cli(
        "knn", "--train", tmp_path / "train", "--test", tmp_path / "test", "--codec", "xz", "--distance", "ncd"
    )
    assert json.loads(guessed.stdout)["accuracy"] == 1.0
    chosen = cli("align", "--sources", tmp_path / "train", "--targets", tmp_path / "test" / "text", "--top", 1)
    assert json.loads(chosen.stdout)["selected"][0]["name"] == "text/1"
    shared = cli("information", "--inputs", tmp_path / "train", "--outputs", tmp_path / "train", "--codec", "xz")
    assert json.loads(shared.stdout)["mutual_information_bits"] == pytest.approx(1.0)
    assert cli("knn", "--train", tmp_path / "train" / "text", "--test", tmp_path, "--codec", "xz").exit_code == 1


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_sub_commands_go_on_after_an_interruption(
    text_file: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for month in ("2025-01", "2025-02", "2025-03"):
        (tmp_path / "dated").mkdir(exist_ok=True)
        (tmp_path / "dated" / f"{month}.txt").write_bytes(month.encode() + TEXT[:150])
    out = tmp_path / "new" / "out.json"
    commands = {
        dated: ("months", "--data", tmp_path / "dated", "--cutoff", "2025-02"),
        pairs: ("align", "--sources", tmp_path / "dated", "--targets", tmp_path / "dated", "--model", TINY_DIRECTORY),
        comparison: ("compare", "--to", TINY_DIRECTORY, "-d", f"{text_file}:300", "-d", "logs:300"),
    }
    names = {dated: "score", pairs: "score", comparison: "compare"}
    monkeypatch.setattr(pairs, "_TOGETHER", 4)
    for module, arguments in commands.items():
        honest = getattr(module, names[module])
        calls = []

        def failing(*rest: object, honest: Any = honest, calls: list[int] = calls, **named: object) -> object:
            calls.append(1)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return honest(*rest, **named)

        monkeypatch.setattr(module, names[module], failing)
        stopped = cli(*arguments, "--output", out)
        assert stopped.exit_code != 0
        assert [path.name for path in out.parent.iterdir()] == ["out.json.partial"]
        done = cli(*arguments, "--output", out)
        assert done.exit_code == 0, done.output
        whole = len(calls) - 1  # the interrupted call was repeated, the first one was not
        monkeypatch.setattr(module, names[module], honest)
        assert json.loads(cli(*arguments).stdout) == json.loads(out.read_text()) == json.loads(done.stdout)
        assert whole == {dated: 3, pairs: 3, comparison: 2}[module]
        assert not out.with_name("out.json.partial").exists()
        for path in out.parent.iterdir():
            path.unlink()


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_limits_and_progress_of_sub_commands(tmp_path: pathlib.Path) -> None:
    text = tmp_path / "text"
    text.write_bytes(TEXT)
    whole = cli("conditional", "--text", text, "--given", text)
    limited = cli("conditional", "--text", text, "--given", text, "--limit", "100")
    assert [json.loads(r.stdout)["testing_only"] for r in (whole, limited)] == [False, True]
    assert [json.loads(r.stdout)["bytes"] for r in (whole, limited)] == [len(TEXT), 100]
    assert "code lengths" in whole.stderr
    assert cli("conditional", "--text", text, "--given", text, "--limit", "100", "--quiet").stderr == ""


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compare", "--to", "nothing-here"], 1, "nothing-here"),
        (["compare", "--to", TINY_DIRECTORY, "-d", "nothing-here"], 1, "no such file"),
        (["compare", "--to", TINY_DIRECTORY, "--device", "nonsense"], 1, "cannot be used"),
        (["conditional", "--text", "EMPTY", "--given", __file__], 1, "no text to measure"),
        (["conditional", "--text", "nothing-here", "--given", __file__], 2, "does not exist"),
        (["conditional", "--text", __file__, "--given", __file__, "--codec", "xz:preset=99"], 1, "xz:preset=99"),
        (["knn", "--train", "TEXTS", "--test", "TEXTS", "-k", "9", "--codec", "xz"], 2, "has 1 texts"),
        (["align", "--sources", "nothing-here", "--targets", __file__], 1, "no such file"),
        (["align", "--sources", __file__, "--targets", __file__, "--codec", "nothing"], 1, "codecs are"),
        (["information", "--inputs", "TEXTS", "--outputs", __file__, "--codec", "xz"], 1, "share 0 file names"),
        (["correlate", "BINARY", "--x", "a", "--y", "b"], 1, "no CSV file"),
        (["correlate", "SHORT", "--x", "a", "--y", "b"], 1, "could not convert"),
        (["correlate", "INFINITE", "--x", "a", "--y", "b"], 1, "not finite"),
        (["damage", "--contexts", "many"], 2, "numbers separated by commas"),
        (["damage", "--contexts", "100000"], 1, "do not fit"),
        (["months", "--data", "TEXTS", "--cutoff", "2025"], 2, "is not a month"),
        (["months", "--data", "TEXTS", "--cutoff", "2025-01"], 1, "no text has a date"),
        (["report", "BINARY"], 1, "no result of"),
        (["report", "OLD"], 1, "format 99"),
    ],
)
def test_bad_input_is_one_clear_error(arguments: list[str], code: int, message: str, tmp_path: pathlib.Path) -> None:
    files = {
        "EMPTY": b"",
        "BINARY": b"a,b\n\xff\xfe",
        "SHORT": b"a,b\n1,2\n3\n",
        "INFINITE": b"a,b\n1,2\n3,nan\n4,5\n",
        "OLD": b'{"format": 99}',
        "TEXTS/label/text": TEXT,
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    known = {name.partition("/")[0] for name in files}
    failed = cli(*(tmp_path / a if a in known else a for a in arguments))
    assert failed.exit_code == code, failed.output
    assert message in " ".join(failed.stderr.split())
    assert "Traceback" not in failed.output
    assert not isinstance(failed.exception, Exception) or isinstance(failed.exception, SystemExit)


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
    assert made.markdown() == ["|  | cost ↓ |", "| --- | ---: |", "| a|<b> | 2,000.2 |", "| c | **3.0** |", "| d |  |"]
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
        (lambda v: v["rows"][1].update(tokens="many"), r"rows\[1\].tokens is 'many', which is no int"),
        (lambda v: v["rows"][0].update(kind="zip"), r"rows\[0\].kind is 'zip', not one of"),
        (lambda v: v.pop("date"), "has no date"),
        (lambda v: v.update(rows=7), "rows is '7', which is no list"),
    ):
        changed = json.loads(json.dumps(values))
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(llmzip.LLMZipError, match=message):
            run.read(path)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_same_model(dtype: str, floating: FloatScorer, english: bytes) -> None:
    half = load_float(str(TINY_DIRECTORY), dtype=dtype)
    assert half.model_card.settings["dtype"] == dtype
    assert half.model_card.model_bytes == floating.model_card.model_bytes // 2
    data = english[:1500]
    rates = [tasks.measure_code_length(s, data, OPTIONS).bits_per_byte for s in (half, floating)]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)
    bpc = [tasks.measure_bpc(s, data, OPTIONS).bpc for s in (half, floating)]
    assert bpc[0] == pytest.approx(bpc[1], rel=0.01)
    a, b = (
        measure_damage(s, english[:1500], contexts=(64,), evict_fractions=(0.5,), bits=(3,), samples=2)
        for s in (half, floating)
    )
    assert a[0].bits_per_byte == pytest.approx(b[0].bits_per_byte, rel=0.05)
    assert 0 < compare(floating, half, english[:1500], context=64).kl_bits_per_token < 0.01


def test_correlate(tmp_path: pathlib.Path) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("model,bpc,score\na,0.9,40\nb,0.8,50\nc,0.7,60\n")
    found = cli("correlate", table, "--x", "bpc", "--y", "score", "--label", "model", "--output", tmp_path / "fit.json")
    assert json.loads(found.stdout)["pearson"] == pytest.approx(-1)
    assert (tmp_path / "fit.svg").is_file()
    wrong = cli("correlate", table, "--x", "nothing", "--y", "score")
    assert wrong.exit_code == 1
    assert "no column 'nothing'; there are model, bpc, score" in wrong.stderr
