"""The command `llmzip eval` and its sub-commands, with the tiny model."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import click.testing
import pytest

import llmzip
from llmzip.cli.main import llmzip as command
from llmzip.evaluation import compare as comparison
from llmzip.evaluation import dated, pairs
from llmzip.evaluation.partial import Partial
from tests.conftest import TINY_DIRECTORY, tiny
from tests.golden import TEXT


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
    overhead = sum(
        integer[f"{part}_bits"]
        for part in ("overhead_table", "overhead_tail", "overhead_header", "mixing")
    )
    assert integer["file_model_bits_per_byte"] == pytest.approx(
        (8 * integer["file_bytes"] - overhead) / result["texts"][0]["bytes"], abs=1e-3
    )
    packed = llmzip.compress(text_file.read_bytes()[:3072], 1, model=tiny())
    assert integer["file_bytes"] == len(packed)
    assert codec["bits_per_byte"] > 0
    redone = cli(
        "report",
        suffixes[".json"],
        "--output",
        tmp_path / "again.html",
        "--pictures",
        tmp_path / "svg",
    )
    drawn = {
        path.name for path in (tmp_path / "svg").iterdir() if path.read_text().startswith("<svg")
    }
    assert drawn == {
        f"{name}.svg" for name in ("bits_per_byte", "by_context", "by_position", "rank_histogram")
    }
    assert redone.exit_code == 0, redone.output
    assert (tmp_path / "again.html").read_text() == suffixes[".html"].read_text()


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_names_of_any_bytes_in_any_locale(tmp_path: pathlib.Path) -> None:
    names = {
        b"caf\xe9.txt": "caf\\xe9.txt",
        "\u00e9\u2192".encode(): "\u00e9\u2192",
        rb"a$\b$": r"a$\b$",
    }
    folder, out = tmp_path / "texts", os.fsencode(tmp_path) + b"/o\xff"
    folder.mkdir()
    for name in names:
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(TEXT[:200])
    arguments = [
        "-d",
        str(folder),
        "-m",
        str(TINY_DIRECTORY),
        "--task",
        "code_length",
        "--context",
        "32",
        "-q",
    ]
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
    compared = cli(
        "compare", "--to", f"float:{TINY_DIRECTORY}", "--data", f"{text_file}:2000", "--context", 64
    )
    assert json.loads(compared.stdout)["texts"]["text.txt"]["kl_bits_per_token"] > 0
    overall = json.loads(compared.stdout)["overall"]
    assert (
        overall["kl_bits_per_token"]
        == json.loads(compared.stdout)["texts"]["text.txt"]["kl_bits_per_token"]
    )
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
    slices = cli(
        "months", "--data", dated, "--cutoff", "2025-01", "--output", tmp_path / "months.json"
    )
    assert json.loads(slices.stdout)["robustness"] == 0
    failed = cli("--data", tmp_path / "nothing")
    assert failed.exit_code == 1
    assert "no such file" in failed.stderr


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ("nosuch", "codecs are raw"),
        ("xz:preset=x", "xz: preset must be an integer, not 'x'"),
        ("zlib:level=", "zlib: level must be an integer, not ''"),
        ("ldm:min_match=x", "ldm: min_match must be an integer, not 'x'"),
        ("xz:preset=\u00b2", "xz:preset=\u00b2"),
        ("xz:level=3", "unexpected keyword"),
        ("xz:9", "parameters are key=value"),
        ("zlib:level=99", "levels are 1 to 9"),
        ("llm:runtime=x", "llm:runtime=x"),
        ("rank:level=x", "rank:level=x"),
        ("equal-info:bits=x", "equal-info:bits=x"),
        ("ldm:inner=nosuch", "codecs are raw"),
        ("ppmd:order=x", "ppmd:order=x"),
        ("brotli:window_bits=x", "brotli:window_bits=x"),
    ],
)
@pytest.mark.usefixtures("cache_with_tiny_model")
def test_a_codec_that_is_none_is_one_error_before_anything_is_measured(
    codec: str, message: str, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    pair = ("--text", text_file, "--given", text_file)
    for arguments in (("-d", text_file), ("conditional", *pair)):
        failed = cli(*arguments, "-c", codec, "-q", "--output", tmp_path / arguments[0])
        assert isinstance(failed.exception, SystemExit), failed.exception
        assert (failed.exit_code, failed.stdout) == (1, "")
        assert message in failed.stderr
        assert len(failed.stderr.splitlines()) == 1


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_what_was_asked_for_by_name_and_gives_nothing_is_no_success(
    tmp_path: pathlib.Path,
) -> None:
    short = tmp_path / "short.txt"
    short.write_bytes(TEXT[:300])
    unasked = cli("-d", short, "-q")  # the sample of the capacity is longer: a note, no failure
    assert unasked.exit_code == 0, unasked.output
    assert "needs a sample" in unasked.stdout
    asked = cli("-d", short, "-q", "--task", "code_length", "--task", "capacity")
    assert asked.exit_code == 1
    assert "bits/byte" in asked.stdout
    assert "information capacity needs a sample of 512 tokens" in asked.stderr
    nothing = cli("-d", short, "-q", "--task", "file", "-m", f"float:{TINY_DIRECTORY}")
    assert nothing.exit_code == 1
    assert "nothing was measured" in nothing.stderr
    grid = cli("-d", short, "-q", "--task", "code_length", "--damage")
    assert grid.exit_code == 1
    assert "cache_damage" in grid.stderr


def test_knn_align_and_information(tmp_path: pathlib.Path) -> None:
    for part, cut in (("train", slice(0, 300)), ("test", slice(300, 500))):
        for label, data in (
            ("text", TEXT),
            ("numbers", b"".join(b"%d, " % (i * i) for i in range(300))),
        ):
            (tmp_path / part / label).mkdir(parents=True)
            (tmp_path / part / label / "1").write_bytes(data[cut])
    guessed = cli(
        "knn",
        "--train",
        tmp_path / "train",
        "--test",
        tmp_path / "test",
        "--codec",
        "xz",
        "--distance",
        "ncd",
    )
    assert json.loads(guessed.stdout)["accuracy"] == 1.0
    chosen = cli(
        "align",
        "--sources",
        tmp_path / "train",
        "--targets",
        tmp_path / "test" / "text",
        "--top",
        1,
    )
    assert json.loads(chosen.stdout)["selected"][0]["name"] == "text/1"
    shared = cli(
        "information",
        "--inputs",
        tmp_path / "train",
        "--outputs",
        tmp_path / "train",
        "--codec",
        "xz",
    )
    assert json.loads(shared.stdout)["mutual_information_bits"] == pytest.approx(1.0)
    assert (
        cli(
            "knn", "--train", tmp_path / "train" / "text", "--test", tmp_path, "--codec", "xz"
        ).exit_code
        == 1
    )


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
        pairs: (
            "align",
            "--sources",
            tmp_path / "dated",
            "--targets",
            tmp_path / "dated",
            "--model",
            TINY_DIRECTORY,
        ),
        comparison: ("compare", "--to", TINY_DIRECTORY, "-d", f"{text_file}:300", "-d", "logs:300"),
    }
    names = {dated: "score_text", pairs: "score", comparison: "compare"}
    monkeypatch.setattr(pairs, "_TOGETHER", 4)
    for module, arguments in commands.items():
        honest = getattr(module, names[module])
        calls = []

        def failing(
            *rest: object, honest: Any = honest, calls: list[int] = calls, **named: object
        ) -> object:
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
        assert (
            json.loads(cli(*arguments).stdout)
            == json.loads(out.read_text())
            == json.loads(done.stdout)
        )
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
    assert (
        cli("conditional", "--text", text, "--given", text, "--limit", "100", "--quiet").stderr
        == ""
    )


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["compare", "--to", "nothing-here"], 1, "nothing-here"),
        (["compare", "--to", TINY_DIRECTORY, "-d", "nothing-here"], 1, "no such file"),
        (["compare", "--to", TINY_DIRECTORY, "--device", "nonsense"], 1, "cannot be used"),
        (["conditional", "--text", "EMPTY", "--given", __file__], 1, "no text to measure"),
        (["conditional", "--text", "nothing-here", "--given", __file__], 2, "does not exist"),
        (
            ["conditional", "--text", __file__, "--given", __file__, "--codec", "xz:preset=99"],
            1,
            "xz:preset=99",
        ),
        (
            ["knn", "--train", "TEXTS", "--test", "TEXTS", "-k", "9", "--codec", "xz"],
            2,
            "has 1 texts",
        ),
        (["align", "--sources", "nothing-here", "--targets", __file__], 1, "no such file"),
        (
            ["align", "--sources", __file__, "--targets", __file__, "--codec", "nothing"],
            1,
            "codecs are",
        ),
        (
            ["information", "--inputs", "TEXTS", "--outputs", __file__, "--codec", "xz"],
            1,
            "share 0 file names",
        ),
        (["correlate", "BINARY", "--x", "a", "--y", "b"], 1, "no CSV file"),
        (["correlate", "SHORT", "--x", "a", "--y", "b"], 1, "row 2: 'b' is no number: ''"),
        (["correlate", "EMPTY", "--x", "a", "--y", "b"], 1, "no column 'a'; there are none"),
        (["correlate", "TWICE", "--x", "a", "--y", "b"], 1, "2 columns 'a'"),
        (["correlate", "HEADER", "--x", "a", "--y", "b"], 1, "no rows"),
        (["correlate", "INFINITE", "--x", "a", "--y", "b"], 1, "not finite"),
        (["damage", "--contexts", "many"], 2, "numbers separated by commas"),
        (["damage", "--contexts", "100000"], 1, "do not fit"),
        (["damage", "--contexts", "512"], 1, "do not fit into a model of 512 positions"),
        (["damage", "--contexts", "4"], 1, "the first 4 are never evicted"),
        (["damage", "--contexts", "64", "--bits", "8,99"], 2, "there are 2 to 16"),
        (["--data", "/dev/null"], 1, "neither a file nor a folder"),
        (["--data", __file__, "--ic-bias", "nan"], 2, "'nan' is not a finite number"),
        (["--data", __file__, "--ic-bias", "inf"], 2, "'inf' is not a finite number"),
        (["verify", "--data", __file__, "--claimed", "nan"], 2, "not a finite number"),
        (["verify", "--data", __file__, "--tolerance", "inf"], 2, "not a finite number"),
        (["harness", "--tasks", "mine", "--limit", "nan"], 2, "not a finite number"),
        (
            ["conditional", "--text", __file__, "--given", __file__, "-m", "tiny", "-c", "xz"],
            2,
            "--model, --codec: one of them",
        ),
        (
            ["align", "--sources", "TEXTS", "--targets", "TEXTS", "-m", "tiny", "-c", "xz"],
            2,
            "--model, --codec: one of them",
        ),
        (["months", "--data", "TEXTS", "--cutoff", "2025"], 2, "is not a month"),
        (["months", "--data", "TEXTS", "--cutoff", "2025-01"], 1, "no text has a date"),
        (["report", "BINARY"], 1, "no result of"),
        (["report", "OLD"], 1, "format 99"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str], code: int, message: str, tmp_path: pathlib.Path
) -> None:
    files = {
        "EMPTY": b"",
        "BINARY": b"a,b\n\xff\xfe",
        "SHORT": b"a,b\n1,2\n3\n",
        "TWICE": b"a,a,b\n1,2,3\n2,3,4\n",
        "HEADER": b"a,b\n",
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


def test_correlate(tmp_path: pathlib.Path) -> None:
    table = tmp_path / "scores.csv"
    table.write_text("model,bpc,score\na,0.9,40\nb,0.8,50\nc,0.7,60\n")
    found = cli(
        "correlate",
        table,
        "--x",
        "bpc",
        "--y",
        "score",
        "--label",
        "model",
        "--output",
        tmp_path / "fit.json",
    )
    assert json.loads(found.stdout)["pearson"] == pytest.approx(-1)
    assert (tmp_path / "fit.svg").is_file()
    wrong = cli("correlate", table, "--x", "nothing", "--y", "score")
    assert wrong.exit_code == 1
    assert "no column 'nothing'; there are model, bpc, score" in wrong.stderr


def test_a_codec_that_does_not_exist_is_an_error() -> None:
    failed = cli("conditional", "--text", __file__, "--given", __file__, "--codec", "nothing")
    assert failed.exit_code == 1


@pytest.mark.usefixtures("cache_with_tiny_model")
@pytest.mark.parametrize(
    "left",
    [
        b"\xff\xfe\0garbage",
        b'[1]\n3\n{"key": 1}\n{"values": 2}\n',
        b'{"key": "',
        b"[" * 100_000,
    ],
)
def test_what_a_crash_leaves_of_a_measurement_is_measured_again(
    left: bytes, text_file: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    """Not UTF-8, no cells, a line that is cut: behind which the next cell is a line of its own."""
    arguments = ("-d", text_file, "-q", "--task", "code_length")
    whole = cli(*arguments).stdout
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "partial.jsonl").write_bytes(left)
    done = cli(*arguments, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert done.stdout == whole
    partial = tmp_path / "cells"
    partial.write_bytes(left)
    Partial(partial).put("cell", 3.5)
    again = Partial(partial)
    assert again.get(float, "cell") == 3.5
    assert again.get(list[float], "cell") is None  # another kind of value


def test_folders_of_results_are_made(tmp_path: pathlib.Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("a,b\n1,2\n2,4\n3,7\n")
    output = tmp_path / "new" / "folder" / "r.json"
    done = cli("correlate", table, "--x", "a", "--y", "b", "--output", output)
    assert done.exit_code == 0, done.output
    assert json.loads(output.read_text())["n"] == 3


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_contexts_are_printed(text_file: pathlib.Path) -> None:
    done = cli("-d", text_file, "-q", "--task", "context", "--samples", 2)
    assert done.exit_code == 0, done.output
    assert "| bits/byte behind | 16 tokens | 64 tokens | 256 tokens |" in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("| tiny")]) == 1
