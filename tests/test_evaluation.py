"""`llmzip eval` and what it is made of, with the tiny model."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib

import click.testing
import numpy as np
import pytest

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.codecs.registry import get_codec
from llmzip.evaluation import run, tasks
from llmzip.evaluation.cache_damage import measure_damage
from llmzip.evaluation.codec_rows import measure_codec, parse_codec
from llmzip.evaluation.compare import compare
from llmzip.evaluation.dated import by_month, measure_months
from llmzip.evaluation.options import Options, Text, load_texts
from llmzip.evaluation.pairs import ModelCodeLengths, codec_length, conditional_by_codec, distance_table
from llmzip.evaluation.report import report
from llmzip.evaluation.tables import markdown
from llmzip.metrics.windows import Span
from llmzip.scoring.base import Scorer
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
    assert found["bits_per_byte"] == pytest.approx(found["bits_per_token"] / found["bytes_per_token"])
    assert found["bits_per_byte"] == pytest.approx(8 * found["raw_rate"])
    assert found["bits_per_char_low"] < found["bits_per_char"] < found["bits_per_char_high"]
    coders = found["coders_bits_per_char"]
    assert coders["ranks_deflate"] > coders["whole_bits"] > coders["arithmetic"] > found["bits_per_char"]
    assert coders["arithmetic"] == pytest.approx(found["bits_per_char"], rel=1e-3)
    assert found["position_edges"] == [0, 16, 64, 128]
    assert len(found["bits_per_byte_by_position"]) == 3
    assert sum(found["rank_histogram"]) == pytest.approx(1)
    assert found["rank_histogram"][0] == found["top1"]
    assert found["adjusted_rate_stored"] == pytest.approx(found["raw_rate"] + integer.card.model_bytes / 6000)
    assert found["smoothed_bits_per_byte"] != found["bits_per_byte"]


def test_capacity_by_the_definition(integer: IntegerScorer, english: bytes) -> None:
    data = english[:6000]
    found = tasks.measure_capacity(integer, data, OPTIONS)
    text = integer.tokenize(data)
    length = integer.max_positions
    count = min(4, len(text.ids) // length)
    assert (found["samples"], found["sample_tokens"]) == (count, 512)
    ts = np.mean([8 * text.sizes[i * length + 1 : (i + 1) * length].sum() / (length - 1) for i in range(count)])
    assert found["ts"] == pytest.approx(ts)
    expected = (found["ts"] - found["nll"] - 27) / math.log2(found["flops_per_token_paper"])
    assert found["information_capacity"] == pytest.approx(expected)
    with pytest.raises(llmzip.LLMZipError, match="needs a sample of 512 tokens"):
        tasks.measure_capacity(integer, b"short", OPTIONS)


def test_context_scores_the_same_tokens_each_time(integer: IntegerScorer, english: bytes) -> None:
    found = tasks.measure_context(integer, english[:6000], OPTIONS)
    assert found["contexts"] == [16, 64, 128]
    text = integer.tokenize(english[:6000])
    starts = np.linspace(128, len(text.ids) - 64, 4).astype(int).tolist()
    direct = score(integer, text, [Span(s - 16, s, s + 64) for s in starts])
    assert found["bits_per_byte_by_context"][0] == pytest.approx(direct.total_bits / direct.total_bytes)


def test_bpc_counts_every_character(integer: IntegerScorer) -> None:
    data = ("caf\u00e9 " * 30).encode()
    found = tasks.measure_bpc(integer, data, OPTIONS)
    text = integer.tokenize(data)
    assert found["bpc"] == pytest.approx(score(integer, text, [Span(0, 0, len(text.ids))]).total_bits / 150)


def test_codecs_are_measured_on_the_payload() -> None:
    found = measure_codec("xz:preset=6", TEXT)
    assert found["file_bytes"] == len(get_codec("xz", preset=6).coder.encode(TEXT))
    assert found["bits_per_byte"] == 8 * found["file_bytes"] / len(TEXT)
    assert parse_codec("zstd") == ("zstd", {})
    with pytest.raises(ValueError, match="key=value"):
        parse_codec("zstd:19")


def test_what_does_not_apply_is_reported(integer: IntegerScorer) -> None:
    options = Options(tasks=("code_length", "context"), context=64)
    texts = [Text("short", TEXT[:60])]
    result = run.evaluate([lambda: integer], texts, options, codecs=["xz:level=3", "nothing"], damage=texts[0])
    assert "unexpected keyword" in result["rows"][0]["errors"]["codec"]
    assert "codecs are raw" in result["rows"][1]["errors"]["codec"]
    assert "too short" in result["rows"][2]["errors"]["context"]
    assert "do not fit" in result["errors"]["tiny: cache_damage"]
    assert "- tiny: cache_damage: contexts of up to 1024" in markdown(result)
    assert cli("conditional", "--text", __file__, "--given", __file__, "--codec", "nothing").exit_code == 1


def test_results_resume_after_an_interruption(
    integer: IntegerScorer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [Text("a", TEXT[:400]), Text("b", TEXT[400:])]
    options = Options(tasks=("code_length", "capacity"), context=64)
    measured: list[bytes] = []
    honest = tasks.measure_code_length

    def failing(scorer: Scorer, data: bytes, *rest: object) -> tasks.Measured:
        if len(measured) == 1 and data == TEXT[400:]:
            measured.append(b"interrupted")
            raise KeyboardInterrupt
        measured.append(data)
        return honest(scorer, data, *rest)

    monkeypatch.setitem(tasks.TASKS, "code_length", failing)
    with pytest.raises(KeyboardInterrupt):
        run.evaluate([lambda: integer], texts, options, codecs=["zlib"], folder=tmp_path)
    result = run.evaluate([lambda: integer], texts, options, codecs=["zlib"], folder=tmp_path)
    assert measured == [TEXT[:400], b"interrupted", TEXT[400:]]
    assert list(tmp_path.iterdir()) == []
    again = run.evaluate([lambda: integer], texts, options, codecs=["zlib"])
    values = [[row.get("bits_per_byte") for row in r["rows"]] for r in (result, again)]
    assert values[0] == values[1]
    assert "needs a sample" in result["rows"][-1]["errors"]["capacity"]
    path = run.write(result, tmp_path)
    assert json.loads(path.read_text())["texts"][0]["sha256"] == texts[0].sha256
    table = markdown(result)
    assert "| zlib |" in table
    assert "### a, 400 bytes" in table


def test_a_report_holds_everything_in_one_file(integer: IntegerScorer, english: bytes) -> None:
    text = Text("<prose>", english[:5000])
    options = dataclasses.replace(OPTIONS, damage_contexts=(32, 64))
    result = run.evaluate([lambda: integer], [text], options, codecs=["zlib"], damage=text)
    assert result["rows"][-1]["errors"] == {}
    page = report(result)
    assert page.count("<svg") == 6
    assert "&lt;prose&gt;" in page
    assert "<prose>" not in page
    assert "http://" not in page.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    assert "src=" not in page
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("kind", ["integer", "floating"])
def test_an_undamaged_cache_costs_nothing_and_damage_costs_more(
    kind: str, english: bytes, request: pytest.FixtureRequest
) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    data = english[:3000]
    rows = measure_damage(scorer, data, contexts=(96,), shares=(0, 0.9), bits=(16, 8, 2), samples=4)
    extra = {(row["evicted_share"], row["cache_bits"]): row["extra_bits_per_byte"] for row in rows}
    assert extra[0, 16] == pytest.approx(0, abs=1e-6)
    assert abs(extra[0, 8]) < 0.01
    assert extra[0, 2] > 0.05
    assert extra[0.9, 2] > 0
    # The undamaged rate is that of the plain scorer with the same context.
    text = scorer.tokenize(data)
    starts = np.unique(np.linspace(96, len(text.ids) - 64, 4).astype(int)).tolist()
    direct = score(scorer, text, [Span(s - 95, s, s + 64) for s in starts])
    whole = next(row for row in rows if row["evicted_share"] == 0 and row["cache_bits"] == 16)
    assert whole["bits_per_byte"] == pytest.approx(direct.total_bits / direct.total_bytes, abs=1e-4)


def test_integer_damage_is_float_damage(integer: IntegerScorer, floating: FloatScorer, english: bytes) -> None:
    a, b = (
        measure_damage(s, english[:3000], contexts=(96,), shares=(0.5,), bits=(3,), samples=4)[0]["bits_per_byte"]
        for s in (integer, floating)
    )
    assert a == pytest.approx(b, rel=0.05)


def test_a_model_compared_with_itself_and_its_integers(
    integer: IntegerScorer, floating: FloatScorer, english: bytes
) -> None:
    data = english[:2500]
    same = compare(floating, floating, data, context=100)
    assert (same["delta_bits_per_byte"], same["flips"]) == (0, 0)
    assert same["kl_bits_per_token"] == pytest.approx(0, abs=1e-9)
    quantised = compare(floating, integer, data, context=100)
    assert 0 < quantised["js_bits_per_token"] < quantised["kl_bits_per_token"] < 0.05
    assert 0 < quantised["flips"] < 0.1
    assert quantised["bits_per_byte_original"] == pytest.approx(same["bits_per_byte_original"])
    delta = quantised["bits_per_byte_changed"] - quantised["bits_per_byte_original"]
    assert quantised["delta_bits_per_byte"] == pytest.approx(delta)


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
    rates = found["rate_percent_by_month"]
    assert found["robustness"] == pytest.approx(rates["2025-03"] - rates["2025-01"])
    assert rates["2025-01"] == pytest.approx(found["bits_per_byte_by_month"]["2025-01"] * 12.5)
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
    overhead = sum(integer[f"{part}_bits"] for part in ("overhead_table", "overhead_tail", "overhead_header", "memory"))
    assert integer["file_model_bits_per_byte"] == pytest.approx(
        (8 * integer["file_bytes"] - overhead) / result["texts"][0]["bytes"], abs=1e-3
    )
    packed = llmzip.compress(text_file.read_bytes()[:3072], 1, model=tiny())
    assert integer["file_bytes"] == len(packed)
    assert codec["bits_per_byte"] > 0
    redone = cli("report", suffixes[".json"], "--output", tmp_path / "again.html")
    assert redone.exit_code == 0, redone.output
    assert (tmp_path / "again.html").read_text() == suffixes[".html"].read_text()


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_sub_commands(text_file: pathlib.Path, tmp_path: pathlib.Path) -> None:
    compared = cli("compare", "--to", f"float:{TINY_DIRECTORY}", "--data", f"{text_file}:2000", "--context", 64)
    assert json.loads(compared.stdout)["texts"]["text.txt"]["kl_bits_per_token"] > 0
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
        "--shares",
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


def test_correlate(tmp_path: pathlib.Path) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("model,bpc,score\na,0.9,40\nb,0.8,50\nc,0.7,60\n")
    found = cli("correlate", table, "--x", "bpc", "--y", "score", "--label", "model", "--output", tmp_path / "fit.json")
    assert json.loads(found.stdout)["pearson"] == pytest.approx(-1)
    assert (tmp_path / "fit.svg").is_file()
    wrong = cli("correlate", table, "--x", "nothing", "--y", "score")
    assert wrong.exit_code == 1
    assert "no column 'nothing'; there are model, bpc, score" in wrong.stderr
