"""The comparison of compressors: verified round trips, honest failures, tables."""

from __future__ import annotations

import csv
import dataclasses
import doctest
import importlib.util
import json
import pathlib
import re
import shutil

import click.testing
import numpy as np
import numpy.typing as npt
import pytest
import torch

import llmzip
from benchmarks import compare, compressors, gpu, many_cores, pictures, results, single_stream
from benchmarks.random_model import SHAPES
from benchmarks.results import Row
from benchmarks.sections import Report, Results
from benchmarks.worker import CodecTask
from llmzip import levels
from llmzip.codecs.registry import codec_names
from llmzip.engine.native_engine import NativeEngine, native_is_available
from llmzip.engine.torch_engine import TorchEngine
from llmzip.evaluation.options import Text
from llmzip.evaluation.plots import svg
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec
from tests.conftest import tiny
from tests.golden import TEXT
from tests.native_models import random_model

ROOT = pathlib.Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch, cache_with_tiny_model: pathlib.Path) -> None:
    monkeypatch.chdir(ROOT)  # where `python -m benchmarks.worker` is found


def test_the_example() -> None:
    assert doctest.testmod(pictures).failed == 0


def test_the_index_names_every_script_and_no_other() -> None:
    scripts = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "__main__" in path.read_text("utf-8")
    }
    index = (ROOT / "benchmarks" / "README.md").read_text("utf-8")
    assert set(re.findall(r"python -m benchmarks\.(\w+)", index)) == scripts - {"worker"}


@pytest.mark.parametrize(
    ("changed", "group", "rate"),
    [
        ({}, 1, 8 * 100),  # 8 groups of one core, 0.1 s for 10 tokens
        ({}, 2, 4 * 200),
        ({"alone": 0.1}, 4, 2 * 10 / 0.125),
        ({"meetings": 0.01}, 2, 4 * 200),  # so few do not meet
        ({"meetings": 0.01}, 4, 2 * 10 / 0.045),
        ({"locked": 0.1}, 2, 10 / 0.1),
        ({"bytes": 40.0}, 2, 10 * 100 / 40),
    ],
)
def test_many_cores_are_calculated(changed: dict[str, float], group: int, rate: float) -> None:
    plain = many_cores.Costs(10, 0.1, alone=0, locked=0, meetings=0, most_apart=2, bytes=0)
    costs = dataclasses.replace(plain, **changed)  # type: ignore[arg-type]
    found = many_cores.tokens_per_second(costs, 8, 100.0, group)
    assert found == pytest.approx(rate, rel=0.05)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_for_random_weights_are_models(name: str) -> None:
    rest = {"max_positions": 64, "norm_eps": 1e-5, "start_token": 0, "escape_token": 0}
    assert ModelSpec(**SHAPES[name], **rest).weight_bytes > 1 << 27


@pytest.mark.skipif(not native_is_available(), reason="no native engine")
def test_decoding_with_drafts_is_measured() -> None:
    engine = NativeEngine(tiny(), 1)
    usual, found = engine.batches, single_stream.decodings(engine, TEXT, 2)
    assert found.tokens == len(engine.model.tokenizer.encode(TEXT).ids)
    assert min(*found.seconds, found.ratio, found.processor_ratio) > 0
    assert engine.batches == usual


def test_compressors_that_are_not_here_say_so() -> None:
    found = compressors.extra_compressor("nothing=no-such-program -c|no-such-program -d")
    assert compare.measure(found, Text("t", TEXT)).note == "not installed"
    with pytest.raises(ValueError, match="NAME=COMPRESSION"):
        compressors.extra_compressor("nothing")
    assert all(
        c.missing or c.version
        for c in compressors.programs(None)
        if c.name in ("gzip -9", "xz -9e")
    )


@pytest.mark.skipif(
    not shutil.which("cat") or not shutil.which("head"), reason="needs cat and head"
)
def test_a_round_trip_that_changes_the_text_gets_no_numbers() -> None:
    row = compare.measure(compressors.extra_compressor("bad=cat|head -c 5"), Text("t", TEXT))
    assert (row.note, row.compressed_bytes) == ("the round trip changes the text", None)
    failed = compare.measure(compressors.extra_compressor("bad=false|cat"), Text("t", TEXT))
    assert failed.note.startswith("failed")


@pytest.mark.skipif(not shutil.which("cat"), reason="needs cat")
def test_the_command(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "SIZES", tmp_path / "sizes.csv")
    data = tmp_path / "prose"
    data.write_bytes(TEXT)
    monkeypatch.setattr(
        compressors, "_PROGRAMS", (("stored", "cat", "cat"), ("gone", "no-such-program", "cat"))
    )
    arguments = [
        str(data),
        "--levels",
        "1",
        "--codecs",
        "meta-token",
        "--output",
        str(tmp_path / "out"),
        "--sizes",
    ]
    done = click.testing.CliRunner().invoke(compare.main, arguments)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = {row["compressor"]: row for row in csv.DictReader(file)}
    assert rows["stored"]["bits_per_byte"] == "8.0"
    assert rows["gone"]["note"] == "not installed"
    ours = rows["llmzip -1"]
    assert int(ours["compressed_bytes"]) < len(TEXT) / 2
    assert float(ours["decode_bytes_per_s"]) > 0
    assert int(ours["decode_peak_bytes"]) > 10_000_000
    assert len(ours["model_digest"]) == 8  # what a short file says of its model
    assert rows["codec meta-token"]["model_digest"].startswith(ours["model_digest"])
    assert "❌ not installed" in done.stdout
    assert "]: `cat`\n" in done.stdout
    assert (tmp_path / "out" / "speed-prose.svg").read_text().startswith("<svg")
    assert (tmp_path / "out" / "sizes.svg").read_text().startswith("<svg")
    assert (tmp_path / "out" / "results.md").read_text() in done.stdout
    assert "llmzip" in ours["version"]
    sizes = (tmp_path / "sizes.csv").read_text()
    assert f"llmzip -1,{ours['compressed_bytes']}\n" in sizes


def test_changed_sizes_are_told(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "sizes.csv"
    row = Row("t", "digest", 10, "x", "x", compressed_bytes=5)
    assert results.write_sizes([row], path) == []
    row.compressed_bytes = 4
    assert results.write_sizes([row], path) == ["t, x: 5 -> 4 bytes"]
    assert path.read_text().splitlines() == ["data,data_sha256,compressor,bytes", "t,digest,x,4"]


def test_a_second_run_measures_what_is_missing_only(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, names = Text("t", TEXT), ["zlib:level=9", "bzip2:level=9", "xz:preset=6"]
    table, done = tmp_path / "results.csv", []
    honest = compare.measure

    def failing(compressor: compressors.Compressor, text: Text) -> Row:
        if len(done) == 1:
            done.append("interrupted")
            raise KeyboardInterrupt
        done.append(compressor.name)
        return honest(compressor, text)

    def run(names: list[str]) -> list[Row]:
        known = results.read_csv(table) if table.is_file() else []
        found = compressors.codecs(names)
        return compare.measure_missing(
            found, [text], known, lambda rows: results.write_csv(rows, table)
        )

    monkeypatch.setattr(compare, "measure", failing)
    with pytest.raises(KeyboardInterrupt):
        run(names)
    rows = run(names)
    assert done == ["codec zlib:level=9", "interrupted", "codec bzip2:level=9", "codec xz:preset=6"]
    assert results.read_csv(table) == rows
    assert [row.compressor for row in run(["xz:preset=6"])] == [
        "codec xz:preset=6",
        *(f"codec {n}" for n in names[:2]),
    ]
    assert len(done) == 4
    other = compare.measure_missing(
        compressors.codecs(names[:1]), [Text("t", b"other")], rows, lambda rows: None
    )
    assert [row.data_bytes for row in other] == [5]


def test_every_codec_of_the_registry_is_compared() -> None:
    found = {
        c.task.codec
        for c in compressors.codecs()
        if not c.missing and isinstance(c.task, CodecTask)
    }
    assert found == set(codec_names()) - {"raw", "llm"}


def test_tables_and_pictures_begin_with_the_smallest() -> None:
    def row(name: str, size: int | None) -> Row:
        numbers = (
            {}
            if size is None
            else {"bits_per_byte": size / 10, "decode_bytes_per_s": 1.0, "encode_bytes_per_s": 1.0}
        )
        return Row(
            "t",
            "digest",
            80,
            name,
            name,
            compressed_bytes=size,
            note="" if size else "failed",
            **numbers,
        )

    rows = [
        row("gone", None),
        row("xz -9e", 50),
        row("codec xz:preset=9", 49),
        row("llmzip -1", 20),
        row("llmzip -9", 10),
    ]
    lines = [
        line.split("[")[0]
        for line in results.markdown(rows).splitlines()
        if line.startswith("| ") and "[" in line
    ]
    assert lines == ["| llmzip -9", "| llmzip -1", "| codec xz:preset=9", "| xz -9e", "| gone"]
    drawn = svg(pictures.sizes(rows))
    assert "llmzip -9" in drawn and "xz -9e" in drawn
    assert "codec xz" not in drawn  # the program stands for it
    assert drawn == svg(pictures.sizes(rows))


def test_the_check_of_a_gpu(
    cache_with_tiny_model: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On the CPU: the script itself, and that it does tell a difference."""
    monkeypatch.setattr(gpu, "COPIED_BYTES", 1 << 16)
    (model,) = cache_with_tiny_model.rglob("*.safetensors")
    arguments = [
        str(model),
        "--device",
        "cpu",
        "--streams",
        "2",
        "--context",
        "20",
        "--steps",
        "3",
        "--bytes",
        "300",
    ]
    assert gpu.main(arguments) == 0
    told = capsys.readouterr().out
    assert told.count("    equal  ") == 9
    assert "decode 2" in told
    assert "no graph" in told

    class Wrong(TorchEngine):
        def token_weights(
            self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]
        ) -> npt.NDArray[np.int32]:
            return super().token_weights(vectors, scales) ^ 1

    monkeypatch.setattr(gpu, "TorchEngine", Wrong)
    assert gpu.main(arguments) == 1
    assert capsys.readouterr().out.count("DIFFERENT") == 6


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_kernels_check_counts_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a device torch stands in for the kernels."""
    from benchmarks import gpu_parity
    from llmzip.engine.triton.engine import TritonEngine
    from llmzip.engine.triton.operations import Operations
    from llmzip.engine.triton.reference import TorchOperations

    model = random_model()
    engine = TritonEngine(model, "cpu", operations=Operations(model.spec))
    engine.transformer.operations = TorchOperations(engine.transformer)
    report, figures = Report(60, None), Results()
    gpu_parity.compare_steps(report, engine, TorchEngine(model), 3, 16, [4, 1, 1, 1], figures)
    assert not report.wrong
    gpu_parity.compare_steps(
        report, engine, TorchEngine(random_model(seed=1)), 3, 16, [4, 1], figures
    )
    assert report.wrong
    assert "vectors: first differs in step 0" in capsys.readouterr().out

    class Wrong(TorchOperations):
        def top(self, found: torch.Tensor, maxima: torch.Tensor, top: torch.Tensor) -> None:
            top.zero_()

    engine.transformer.operations = Wrong(engine.transformer)
    gpu_parity.check_kernels(report, engine, figures := Results())
    assert list(figures) == ["top", "equal"]
    assert "differ, first at" in figures["top"][0]
    assert isinstance(engine.transformer.operations.top.__self__, TorchOperations)  # type: ignore[attr-defined]


def test_files_are_coded_and_compared(
    tiny_model: IntegerModel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the CPU: in lanes, with the host's times, and that a difference is told."""
    from benchmarks import gpu_files

    monkeypatch.setattr(levels, "MIN_BLOCK_SIZE", 100)
    monkeypatch.setattr(gpu_files, "SMALL_BYTES", 900)
    engine = TorchEngine(tiny_model, threads=1)
    engine.batches = dataclasses.replace(engine.batches, lane_rows=2)
    text = gpu_files.source_text(1500)
    report, figures = Report(3600, None), Results()
    settings = [(1, 1), (4, 2)]
    gpu_files.code_files(report, engine, settings, text, 2, 700, figures)
    gpu_files.code_tokens(report, engine, 8, 2, 12, 64, figures)
    assert not report.wrong
    assert figures["equal to the CPU's"]
    told = capsys.readouterr().out
    assert told.count("restored, ") == 2
    assert "the same tokens" in told
    assert "RangeDecoders.decode" in told
    assert engine.batches.rows == 1

    packed = iter(range(9))
    monkeypatch.setattr(llmzip, "compress", lambda *given, **more: b"%d" % next(packed))
    monkeypatch.setattr(llmzip, "decompress", lambda *given, **more: text)
    gpu_files.code_files(report, engine, settings, text, 2, 700, figures)
    assert report.wrong
    assert "DIFFERENT" in capsys.readouterr().out


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_the_bytes_of_a_step() -> None:
    from benchmarks.gpu_times import step_bytes

    spec = random_model("smallest").spec  # 2 layers, d 5, 2 heads of 2 on 2, F 7, 3 tokens
    weights = 2 * (4 + 4 + 4 + 4) * 5 + 2 * 3 * 7 * 5 + 3 * 5
    assert step_bytes(spec, 10, 100) == weights + 10 * 100 * 2 * 2 * 2 * (2 + 4)


def test_a_report_outlives_its_sections(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report(60, tmp_path / "report.json")
    report.section("late", lambda figures: figures.update(one=1), least=1e9)
    assert not report.wrong
    report.section("broken", lambda figures: 1 / 0)
    report.section("sound", lambda figures: figures.update(one=1))
    assert report.wrong
    found = json.loads((tmp_path / "report.json").read_text())
    assert "no time left" in found["late"]["error"]
    assert "ZeroDivisionError" in found["broken"]["error"]
    assert found["sound"]["one"] == 1
    assert "ZeroDivisionError" in capsys.readouterr().out


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_its_check_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        gpu.main(["model.safetensors"])
    assert "finds no CUDA device" in capsys.readouterr().err
