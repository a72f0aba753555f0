"""What `llmzip eval` is made of, with the tiny model."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np
import pytest

import llmzip
from benchmarks import compare as compare_benchmark
from llmzip.cli.eval.evaluate import DEFAULT_DATA
from llmzip.codecs.registry import get_codec
from llmzip.evaluation import run, tasks
from llmzip.evaluation.cache_damage import measure_damage
from llmzip.evaluation.codec_rows import measure_codec, parse_codec
from llmzip.evaluation.compare import compare
from llmzip.evaluation.dated import by_month, measure_months
from llmzip.evaluation.json_values import from_json, to_json
from llmzip.evaluation.options import Options, Text, load_texts
from llmzip.evaluation.pairs import (
    ModelCodeLengths,
    codec_length,
    conditional_by_codec,
    distance_table,
)
from llmzip.evaluation.report import report
from llmzip.evaluation.rows import CodeLengthMeasures, Result
from llmzip.evaluation.tables import markdown
from llmzip.metrics.windows import Span
from llmzip.scoring.base import Scorer, joined
from llmzip.scoring.float_loader import load_float
from llmzip.scoring.float_scorer import FloatScorer
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.scoring.spans import score
from tests.conftest import TINY_DIRECTORY
from tests.golden import TEXT

OPTIONS = Options(context=128, contexts=(16, 64, 128), samples=4, level=1)


def test_code_length_keys_agree_with_each_other(integer: IntegerScorer, english: bytes) -> None:
    data = english[:6000]
    found = tasks.measure_code_length(integer, Text("t", data), OPTIONS)
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
    assert found.adjusted_rate_stored == pytest.approx(
        found.raw_rate + integer.model_card.model_bytes / 6000
    )
    assert found.smoothed_bits_per_byte != found.bits_per_byte


def test_capacity_by_the_definition(integer: IntegerScorer, english: bytes) -> None:
    data = english[:6000]
    found = tasks.measure_capacity(integer, Text("t", data), OPTIONS)
    text = integer.tokenize(data)
    length = integer.max_positions
    count = min(4, len(text.ids) // length)
    assert (found.samples, found.sample_tokens) == (count, 512)
    ts = np.mean(
        [
            8 * text.sizes[i * length + 1 : (i + 1) * length].sum() / (length - 1)
            for i in range(count)
        ]
    )
    assert found.ts == pytest.approx(ts)
    expected = (found.ts - found.nll - 27) / math.log2(found.flops_per_token_paper)
    assert found.information_capacity == pytest.approx(expected)
    with pytest.raises(llmzip.LLMZipError, match="needs a sample of 512 tokens"):
        tasks.measure_capacity(integer, Text("t", b"short"), OPTIONS)


def test_context_scores_the_same_tokens_each_time(integer: IntegerScorer, english: bytes) -> None:
    found = tasks.measure_context(integer, Text("t", english[:6000]), OPTIONS)
    assert found.contexts == [16, 64, 128]
    text = integer.tokenize(english[:6000])
    starts = np.linspace(128, len(text.ids) - 64, 4).astype(int).tolist()
    direct = score(integer, text, [Span(s - 16, s, s + 64) for s in starts])
    assert found.bits_per_byte_by_context[0] == pytest.approx(
        direct.total_bits / direct.total_bytes
    )


def test_bpc_counts_every_character(integer: IntegerScorer) -> None:
    data = ("caf\u00e9 " * 30).encode()
    found = tasks.measure_bpc(integer, Text("t", data), OPTIONS)
    text = integer.tokenize(data)
    assert found.bpc == pytest.approx(
        score(integer, text, [Span(0, 0, len(text.ids))]).total_bits / 150
    )


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
    result = run.evaluate(
        [lambda: integer], texts, options, codecs=["xz:level=3", "nothing"], damage=texts[0]
    )
    assert "unexpected keyword" in result.rows[0].errors["codec"]
    assert "codecs are raw" in result.rows[1].errors["codec"]
    assert "too short" in result.rows[2].errors["context"]
    assert "do not fit" in result.errors["tiny: cache_damage"]
    assert "- tiny: cache_damage: contexts of up to 1024" in markdown(result)


def test_results_resume_after_an_interruption(
    integer: IntegerScorer, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [Text("a", TEXT[:400]), Text("b", TEXT[400:])]
    options = Options(tasks=("code_length", "capacity"), context=64)
    measured: list[bytes] = []
    honest = tasks.measure_code_length

    def failing(scorer: Scorer, text: Text, *rest: Any) -> CodeLengthMeasures:
        if len(measured) == 1 and text.data == TEXT[400:]:
            measured.append(b"interrupted")
            raise KeyboardInterrupt
        measured.append(text.data)
        return honest(scorer, text, *rest)

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
    assert "http://" not in page.replace("http://www.w3.org", "").replace(
        "http://purl.org", ""
    ).replace("http://creativecommons.org", "")
    assert "src=" not in page
    assert from_json(Result, json.loads(json.dumps(to_json(result), allow_nan=False))) == result


@pytest.mark.parametrize("kind", ["integer", "floating"])
def test_an_undamaged_cache_costs_nothing_and_damage_costs_more(
    kind: str, english: bytes, request: pytest.FixtureRequest
) -> None:
    scorer: Scorer = request.getfixturevalue(kind)
    data = english[:3000]
    rows = measure_damage(
        scorer, data, contexts=(96,), evict_fractions=(0, 0.9), bits=(16, 8, 2), samples=4
    )
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


def test_integer_damage_is_float_damage(
    integer: IntegerScorer, floating: FloatScorer, english: bytes
) -> None:
    a, b = (
        measure_damage(
            s, english[:3000], contexts=(96,), evict_fractions=(0.5,), bits=(3,), samples=4
        )[0].bits_per_byte
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
    text = joined([integer.tokenize(first), integer.tokenize(second)])
    count = len(integer.tokenize(first).ids)
    direct = score(integer, text, [Span(0, count, len(text.ids))]).total_bits
    assert length(second, first) == pytest.approx(direct)
    assert length(b"", first) == 0
    long = TEXT * 5
    assert length(second, long) > 0  # cut from the left to fit
    by_codec = conditional_by_codec(codec_length("xz"))
    assert by_codec(TEXT, TEXT) < 0.2 * by_codec(TEXT, b"")


def test_all_of_a_long_text_is_scored_each_part_behind_the_given_one(
    integer: IntegerScorer, english: bytes
) -> None:
    """The tiny model has 512 positions; the text has more tokens than that several times over."""
    long, given = english[:4000], english[4000:4300]
    y, z = integer.tokenize(long), integer.tokenize(given)
    assert len(y.ids) > 3 * integer.max_positions
    half = integer.max_positions // 2
    expected = alone = 0.0
    for start in range(0, len(y.ids), half):
        part = y[start : start + half]
        whole = Span(0, len(z.ids), len(z.ids) + len(part.ids))
        expected += score(integer, joined([z, part]), [whole]).total_bits
        alone += score(integer, part, [Span(0, 0, len(part.ids))]).total_bits
    length = ModelCodeLengths(integer)
    assert length(long, given) == pytest.approx(expected)
    assert length(long) == pytest.approx(alone)
    copied = length(english[:1500], english[:1500])
    assert copied != pytest.approx(length(english[:1500]), rel=1e-3)  # z has room, and tells
    # More text is more bits: nothing is left out, whatever is given.
    assert length(long + given, given) > length(long, given)


def test_the_windows_of_a_text_are_the_same_whatever_is_given(
    integer: IntegerScorer, english: bytes
) -> None:
    length = ModelCodeLengths(integer)
    useless = length(english[:4000], b" ")
    assert useless == pytest.approx(length(english[:4000]), rel=0.05)


def test_distances_tell_texts_apart() -> None:
    conditional = conditional_by_codec(codec_length("xz"))
    table = distance_table([TEXT[:400]], [TEXT[:450], bytes(range(256))], conditional, "ncd")
    assert table[0, 0] < table[0, 1]
    for kind in ("gpt_max", "gpt_min", "gpt_mean"):
        table = distance_table([TEXT[:400]], [TEXT[:450], bytes(range(256))], conditional, kind)
        assert table[0, 0] < table[0, 1]


def test_months(integer: IntegerScorer) -> None:
    texts = {
        "2025-01-02-a": TEXT[:300],
        "2025-01-09-b": TEXT[300:500],
        "2025-03-01-c": TEXT[500:],
        "undated": b"x",
    }
    slices = by_month(texts)
    assert {month: len(data) for month, data in slices.items()} == {
        "2025-01": 500,
        "2025-03": len(TEXT) - 500,
    }
    found = measure_months(integer, slices, "2025-01", context=64)
    rates = found.rate_percent_by_month
    assert found.robustness == pytest.approx(rates["2025-03"] - rates["2025-01"])
    assert rates["2025-01"] == pytest.approx(found.bits_per_byte_by_month["2025-01"] * 12.5)
    with pytest.raises(llmzip.LLMZipError, match="no text has a date"):
        by_month({"undated": b"x"})


def test_data_by_name_and_size(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")
    (tmp_path / "empty").write_bytes(b"")
    assert [(t.name, t.data) for t in load_texts((f"{tmp_path}:4",))] == [
        (f"{tmp_path}/a", b"0123")
    ]
    assert load_texts((f"{tmp_path / 'a'}:4",), 2)[0].data == b"01"
    assert len(load_texts(("logs:1000",))[0].data) == 1000
    with pytest.raises(llmzip.LLMZipError, match="no text to measure"):
        load_texts((str(tmp_path / "empty"),))


def test_what_exists_wins_over_corpora_and_sizes(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "today").write_bytes(b"mine")
    (tmp_path / "run-12:30").write_bytes(b"0123456789" * 5)
    (tmp_path / "json").write_bytes(b"mine, too")
    monkeypatch.chdir(tmp_path)
    assert [(t.name, t.data) for t in load_texts(("logs", "logs:2"))] == [
        ("logs", b"mine"),
        ("logs:2", b"mi"),
    ]
    assert load_texts(("json",))[0].data == b"mine, too"
    assert load_texts(("run-12:30", "run-12:30:4"))[0].data == b"0123456789" * 5
    assert load_texts(("run-12:30:4",))[0].data == b"0123"
    (corpus,) = load_texts(("corpus:logs:1000",))
    assert (corpus.name, len(corpus.data)) == ("logs", 1000)
    for text in load_texts((*DEFAULT_DATA, *compare_benchmark.DEFAULT_DATA)):
        assert not text.data.startswith(b"mine")  # what is measured by default is always the same


def test_texts_of_one_name_are_told_apart(tmp_path: pathlib.Path) -> None:
    one, other = tmp_path / "a" / "t.txt", tmp_path / "b" / "t.txt"
    for path, data in (one, b"one"), (other, b"other"):
        path.parent.mkdir()
        path.write_bytes(data)
    asked = (str(one), str(other), f"{other}:3", str(one))
    assert [(t.name, t.data) for t in load_texts(asked)] == [
        (str(one), b"one"),
        (str(other), b"other"),
        (f"{other}:3", b"oth"),
    ]
    assert [t.name for t in load_texts((str(one), str(one)))] == [str(one)]


@pytest.mark.parametrize("size", ["\u00b2", "\u0663", "1e3", "-1", "", "9" * 30])
def test_a_size_has_ascii_digits(size: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"0123456789")
    with pytest.raises(llmzip.LLMZipError, match="no such file or folder"):
        load_texts((f"{tmp_path / 't.txt'}:{size}",))
    assert parse_codec(f"xz:preset={size}")[1] == {"preset": -1 if size == "-1" else size}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_the_same_model(
    dtype: str, floating: FloatScorer, english: bytes
) -> None:
    half = load_float(str(TINY_DIRECTORY), dtype=dtype)
    assert half.model_card.settings["dtype"] == dtype
    assert half.model_card.model_bytes == floating.model_card.model_bytes // 2
    data = english[:1500]
    rates = [
        tasks.measure_code_length(s, Text("t", data), OPTIONS).bits_per_byte
        for s in (half, floating)
    ]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)
    bpc = [tasks.measure_bpc(s, Text("t", data), OPTIONS).bpc for s in (half, floating)]
    assert bpc[0] == pytest.approx(bpc[1], rel=0.01)
    a, b = (
        measure_damage(
            s, english[:1500], contexts=(64,), evict_fractions=(0.5,), bits=(3,), samples=2
        )
        for s in (half, floating)
    )
    assert a[0].bits_per_byte == pytest.approx(b[0].bits_per_byte, rel=0.05)
    assert 0 < compare(floating, half, english[:1500], context=64).kl_bits_per_token < 0.01
