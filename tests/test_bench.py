"""`llmzip bench`: what is coded, what is forecast from it, what is shown."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib
import re
import signal
import subprocess
from typing import Any

import pytest

import llmzip
from llmzip.bench.coded import Coded, TokenCosts, code_at_level, code_with_codec
from llmzip.bench.learning import learned, measured_power, usual
from llmzip.bench.rows import Found, Row, marked
from llmzip.bench.run import Bench, Wishes
from llmzip.choosing.sample import Sample
from llmzip.cli.bench import parse_levels
from llmzip.cli.bench_table import table
from llmzip.codecs.registry import get_codec
from llmzip.corpora.builtin import logs
from llmzip.engine_loader import EngineLoader
from llmzip.errors import LLMZipError
from llmzip.metrics.pareto import front
from llmzip.model.integer_model import IntegerModel
from tests.command import LLMZIP, folder, run, tree  # noqa: F401
from tests.conftest import TINY_DIRECTORY
from tests.test_limits import words


@pytest.fixture
def text(folder: pathlib.Path, english: bytes, monkeypatch: pytest.MonkeyPatch) -> bytes:  # noqa: F811
    """A text in the folder, and the tiny model."""
    monkeypatch.setenv("LLMZIP_MODEL", str(TINY_DIRECTORY))
    data = english[:8000]
    pathlib.Path("text").write_bytes(data)
    return data


def found(*arguments: str) -> list[dict[str, Any]]:
    result = run("bench", "-q", "--json", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def english_like() -> bytes:
    """A text that even the tiny model codes best: words that it has been trained on."""
    return words(6000)


def row(name: str, *costs: float) -> Row:
    return Row(name, None, None, Coded(1, 1, 1.0, 1.0), int(costs[0]), costs[1], costs[2], None)


# ---- what is measured ----------------------------------------------------------------------------


def test_what_is_coded_as_a_whole_is_no_forecast(text: bytes) -> None:
    (one,) = found("--levels", "1,9", "-c", "xz:preset=9", "--sample", "1M", "text")
    assert (one["filename"], one["bytes"], one["sample_bytes"]) == ("text", 8000, 8000)
    rows = {row["name"]: row for row in one["rows"]}
    assert rows.keys() == {"llmzip -1", "llmzip -9", "xz:preset=9"}
    packed = get_codec("xz", preset=9).payload_codec.encode(text)
    assert rows["xz:preset=9"]["compressed_bytes"] == len(packed)
    assert rows["xz:preset=9"]["memory"] is None
    for level in (1, 9):
        file, said = llmzip.compress(text, level), rows[f"llmzip -{level}"]
        assert said["compressed_bytes"] == len(file)
        assert said["memory"] == llmzip.get_frame_info(file).memory
        assert said["coded"]["bytes"] == len(text)
        assert said["compression_seconds"] == pytest.approx(said["coded"]["compression_seconds"])
        assert said["bits_per_byte"] == 8 * said["compressed_bytes"] / len(text)


def test_the_whole_is_forecast_from_pieces(tiny_model: IntegerModel) -> None:
    data = logs()[:80_000]
    loader = EngineLoader.of(tiny_model)
    wishes = Wishes((1,), ("zlib:level=9",), (loader,), sample=1 << 13)
    bench = Bench(io.BytesIO(data), "logs", wishes, lambda what, size: None)
    bench.run()
    one = bench.found
    assert 0.7 * (1 << 13) < one.sample_bytes <= 1 << 13
    by_level = next(row for row in one.rows if row.level)
    whole = llmzip.compress(data, 1, model=tiny_model)
    assert by_level.compressed_bytes == pytest.approx(len(whole), rel=0.15)
    assert by_level.compression_seconds > 2 * by_level.coded.compression_seconds
    assert by_level.memory is not None
    assert by_level.memory >= llmzip.get_frame_info(whole).memory


def test_what_pieces_cost_among_the_others(tiny_model: IntegerModel) -> None:
    data = english_like()
    loader = EngineLoader.of(tiny_model)
    costs = TokenCosts(tiny_model.spec)
    coded = code_at_level(1, loader, data, costs=costs)
    assert costs.of_text is not None
    assert len(costs.of_text) == len(tiny_model.tokenizer.encode(data).ids)
    assert costs.of_text.sum() / 8 == pytest.approx(coded.payload_bytes, abs=20)
    sample = Sample(tuple(data[i : i + 1000] for i in range(0, len(data), 1000)), 40_000)
    for level in (1, 6):
        found = learned(level, loader, sample, costs)
        assert 0 <= found.power <= 1.2
        assert found.pieces_error > 0
        assert found.error(0.8) > found.error(1.0) == found.pieces_error
    assert learned(1, loader, sample, TokenCosts(tiny_model.spec)) == usual(1)


@pytest.mark.parametrize(
    ("zstd_gain", "gain", "low", "high"),
    [
        (0.999, 0.9, 0.6, 1.0),  # nothing to measure it by
        (0.5, 0.5**0.64, 0.6399, 0.6401),
        (0.5, 0.5**0.1, 0.1, 0.2),
        (0.9, 1.0, 0.4, 0.6),
        (0.5, 1.3, 0.0, 0.0),
        (0.5, 0.01, 1.2, 1.2),
    ],
)
def test_a_measured_power_counts_as_far_as_it_is_known(
    zstd_gain: float, gain: float, low: float, high: float
) -> None:
    power, error = measured_power(0.64, zstd_gain, gain)
    assert low <= power <= high
    assert error >= 0.25
    assert error >= abs(power - 0.64)


def test_a_large_error_is_told() -> None:
    sized = dataclasses.replace(row("llmzip -1", 100, 1, 1), size_error=0.123)
    lines = table(Found("a", 1000, 100, 4, (sized, row("xz", 100, 1, 1)), ())).splitlines()
    assert " 100 B ±12% " in lines[2]
    assert "±" not in lines[3]


def test_the_time_ends_it(text: bytes) -> None:
    (one,) = found("--levels", "1-9", "--time", "0.01s", "-c", "zlib", "text")
    assert [row["level"] for row in one["rows"] if row["level"]] == [1]  # in any case
    assert len(one["left_out"]) == 8
    assert all(re.fullmatch(r"llmzip -\d: the time is too short by .*", w) for w in one["left_out"])


def test_several_models(text: bytes) -> None:
    models = ("-m", str(TINY_DIRECTORY), "-m", "tiny")
    pathlib.Path("tiny").symlink_to(TINY_DIRECTORY)
    (one,) = found("--levels", "1", "-c", "none", "--sample", "4K", *models, "text")
    assert {row["name"] for row in one["rows"]} == {
        f"llmzip -1 -m {TINY_DIRECTORY}",
        "llmzip -1 -m tiny",
    }


def test_binary_data(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:  # noqa: F811
    pathlib.Path("binary").write_bytes(bytes(range(256)) * 100)
    (one,) = found("-c", "zstd", "-c", "zlib", "--levels", "1", "-m", str(TINY_DIRECTORY), "binary")
    assert len(one["rows"]) == 3
    assert max(row["compressed_bytes"] for row in one["rows"]) < 2000
    packed = llmzip.compress(pathlib.Path("binary").read_bytes(), 1)
    ours = next(row for row in one["rows"] if row["level"])
    assert ours["compressed_bytes"] == len(packed)
    assert ours["memory"] == llmzip.get_frame_info(packed).memory


def test_what_is_named_twice_is_measured_once(text: bytes) -> None:
    twice = ("-c", "zlib", "-c", "zlib", "-m", str(TINY_DIRECTORY), "-m", str(TINY_DIRECTORY))
    (one,) = found("--levels", "1,1", "--sample", "1K", *twice, "text")
    assert sorted(row["name"] for row in one["rows"]) == ["llmzip -1", "zlib"]


def test_a_codec_that_gives_other_bytes_is_an_error() -> None:
    codec = get_codec("raw")

    class Wrong:
        payload_codec = type(
            "Payloads", (), {"encode": lambda self, d: d, "decode": lambda self, d, n: d[1:]}
        )()

    assert code_with_codec(codec, b"abc").payload_bytes == 3
    with pytest.raises(LLMZipError, match="not what was coded"):
        code_with_codec(Wrong(), b"abc")


# ---- what is shown -------------------------------------------------------------------------------


def test_the_front_is_marked() -> None:
    rows = [row("a", 10, 1, 1), row("b", 9, 2, 1), row("c", 9, 2, 2), row("d", 8, 3, 3)]
    assert {row.name: row.on_front for row in marked([*rows, row("a2", 10, 1, 1)])} == {
        "a": True,
        "a2": True,
        "b": True,
        "c": False,
        "d": True,
    }
    by_time = front(rows, lambda row: (row.compression_seconds, row.compressed_bytes))
    assert [row.name for row in by_time] == ["a", "b", "d"]


def test_the_table(text: bytes) -> None:
    result = run("bench", "--levels", "1", "-c", "zlib", "--sample", "4K", "text", "text")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "text: the whole file, 7.81 KiB, would take"
    assert lines[1].split()[:4] == ["Compressed", "Ratio", "bits/byte", "Compress"]
    assert sum("llmzip -1" in line for line in lines) == 2
    assert all(len(line) <= 100 for line in lines)
    assert "llmzip: measuring llmzip -1\n" in result.stderr


@pytest.mark.parametrize("name", ["picture.svg", "picture.png"])
def test_the_picture(text: bytes, name: str) -> None:
    pytest.importorskip("matplotlib")
    arguments = ("--levels", "1", "-c", "zlib", "--sample", "4K", "-o", name, "text")
    found(*arguments)
    data = pathlib.Path(name).read_bytes()
    assert data.startswith(b"<svg" if name.endswith("svg") else b"\x89PNG")
    refused = run("bench", "-q", *arguments)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "already exists" in refused.stderr
    assert pathlib.Path(name).read_bytes() == data


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("missing", 1, "missing: No such file"),
        ("pipe-of-nothing", 1, "pipe-of-nothing: No such file"),
        ("sub", 1, "sub: Is a directory"),
        ("empty", 1, "empty: is empty"),
        ("-c lzw text", 1, "codec lzw"),
        ("-c llm text", 1, "codec llm has a model"),
        ("-c none -c zlib text", 2, "-c none goes with no other codec"),
        ("-m no/such -c none text", 1, "no/such"),
        ("-o picture.gif text", 1, "a picture is called .svg or .png"),
        ("--levels 0 text", 2, "'0' are no levels"),
        ("--levels 9-x text", 2, "are no levels"),
        ("--levels 1,6-3 text", 2, "'6-3' ends before it begins"),
        ("--time never text", 2, "'never' is not a duration"),
        ("--sample 1KB text", 2, "is not a size"),
        ("--sample 0 text", 2, "a sample has a byte and more"),
        ("-", 1, "-: is standard input"),
        ("-o no/such.svg text", 1, "no/such.svg: there is no such folder"),
        ("", 2, "Missing argument"),
    ],
)
def test_what_cannot_be_measured(text: bytes, arguments: str, code: int, said: str) -> None:
    pathlib.Path("empty").touch()
    before = tree()
    result = run("bench", "-q", "--offline", "--time", "5s", *arguments.split())
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert tree() == before


def test_the_others_are_measured_after_an_error(text: bytes) -> None:
    result = run("bench", "-q", "--levels", "1", "-c", "none", "--sample", "4K", "missing", "text")
    assert result.exit_code == 1
    assert "llmzip -1" in result.stdout


def test_levels() -> None:
    assert parse_levels("6,1") == (1, 6)
    assert parse_levels("1,4-6, 9") == (1, 4, 5, 6, 9)


def test_an_interruption_shows_what_there_is(text: bytes) -> None:
    pathlib.Path("text").write_bytes(text * 100)
    with subprocess.Popen(
        [*LLMZIP, "bench", "--levels", "9", "--sample", "600K", "-c", "zlib", "text"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:
        assert running.stderr is not None and running.stdout is not None
        for line in running.stderr:
            if "llmzip -9" in line:
                break
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == -signal.SIGINT
        shown = running.stdout.read()
    assert "zlib" in shown
    assert "llmzip -9" not in shown
