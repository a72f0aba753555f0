"""Data sets of others' evaluations: small files of each format, their arithmetic by hand."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import math
import pathlib
import sys
import tracemalloc

import click.testing
import numpy as np
import pytest
import zstandard

from llmzip.cli.main import llmzip as command
from llmzip.corpora.library import month_of
from llmzip.errors import LLMZipError
from llmzip.evaluation import tasks
from llmzip.evaluation.options import Options, Text, load_texts
from llmzip.metrics.capacity import bias
from llmzip.scoring import Scorer, Span, score
from tests.conftest import TINY_DIRECTORY
from tests.golden import TEXT

DOCUMENTS = ("The first document, a caf\u00e9.", TEXT[:150].decode(), TEXT[150:400].decode())


def lines(path: pathlib.Path, *rows: dict[str, object]) -> pathlib.Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def bytes_of(*documents: str) -> tuple[bytes, ...]:
    return tuple(document.encode() for document in documents)


def test_uncheatable_eval(tmp_path: pathlib.Path) -> None:
    """A JSON list of texts, JSON lines with `content`, and with a category per row."""
    listed = tmp_path / "bbc_news_20250701to20250715.json"
    listed.write_text(json.dumps([*DOCUMENTS, ""], ensure_ascii=False), "utf-8")
    lined = lines(tmp_path / "ao3.jsonl", *({"content": d, "id": 3} for d in DOCUMENTS[:2]))
    (tmp_path / "notes.txt").write_text("not a data set")
    (found,) = load_texts((f"uncheatable:{listed}",))
    assert (found.name, found.documents) == (listed.name, bytes_of(*DOCUMENTS))
    assert found.data == "".join(DOCUMENTS).encode()
    assert load_texts((f"uncheatable:{lined}",))[0].documents == bytes_of(*DOCUMENTS[:2])
    both = load_texts((f"uncheatable:{tmp_path}",))
    assert [pathlib.Path(text.name).name for text in both] == [lined.name, listed.name]
    rows = [{"content": d, "category": c} for d, c in zip(DOCUMENTS, "aba", strict=True)]
    by_category = load_texts((f"uncheatable:{lines(tmp_path / 'all.jsonl', *rows)}",))
    assert {text.name.rpartition("#")[2]: text.documents for text in by_category} == {
        "a": bytes_of(DOCUMENTS[0], DOCUMENTS[2]),
        "b": bytes_of(DOCUMENTS[1]),
    }


def test_llm_compression(tmp_path: pathlib.Path) -> None:
    rows = [
        {"content": d, "subset": s}
        for d, s in zip((*DOCUMENTS, ""), ("cc", "python", "cc", "python"), strict=True)
    ]
    found = load_texts((f"llm-compression:{lines(tmp_path / 'test.jsonl', *rows)}",))
    assert {text.name.rpartition("#")[2]: text.documents for text in found} == {
        "cc": bytes_of(DOCUMENTS[0], DOCUMENTS[2]),
        "python": bytes_of(DOCUMENTS[1]),
    }


SETS = ("mixed_text", "FinePDFs-en", "Ch-FineWeb-Edu", "FineWeb-Edu", "NextCoder")


def test_information_capacitys_five_sets_have_their_biases(
    integer: Scorer, tmp_path: pathlib.Path
) -> None:
    for name in SETS:
        lines(tmp_path / f"{name}.jsonl", *({"text": d} for d in DOCUMENTS))
    found = load_texts((f"information-capacity:{tmp_path}",))
    assert sorted(pathlib.Path(text.name).stem for text in found) == sorted(SETS)
    measured = {
        pathlib.Path(text.name).stem: tasks.measure_capacity(integer, text, Options()).b
        for text in found
    }
    others = dict.fromkeys(SETS, -27.0)
    assert measured == others | {"mixed_text": -24.0, "Ch-FineWeb-Edu": -18.7}
    given = tasks.measure_capacity(integer, found[0], Options(ic_bias=-1.5))
    assert given.b == -1.5


def test_information_capacity_is_the_scripts_arithmetic(integer: Scorer) -> None:
    """Recomputed as calc_ic.py, text_size.py, likelihood.py and flops.py do it."""
    long = TEXT.decode() * 4  # more than a sample
    text = Text("mixed_text.jsonl", b"", bytes_of(*DOCUMENTS, long, "a"))
    found = tasks.measure_capacity(integer, text, Options(samples=100))
    limit = 512  # the tiny model's positions, where the script takes 1024
    sizes, entropies = [], []
    for document in text.documents:
        tokens = integer.tokenize(document)
        ids = tokens.ids[:limit]
        if len(ids) < 2:
            continue  # the script would divide by zero
        sizes.append(8 * int(tokens.sizes[1 : len(ids)].sum()) / (len(ids) - 1))
        row = np.array([ids[:-1]], np.int32)
        for columns, predicted in integer.predict(row, np.ones(row.shape, np.bool_), None):
            log2 = predicted.log2_probabilities()
            entropies += [-log2[i, t] for i, t in enumerate(ids[1:][columns])]
    shape = integer.model_card.shape
    d, heads, length = shape.d_model, shape.heads, 1024
    kv = shape.kv_heads * (d // heads)
    layer = 2 * (2 * d * d) + 2 * (2 * d * kv) + 6 * d * shape.d_ff
    attention = 4 * heads * (d // heads) * (length * (length - 1) // 2)
    total = shape.layers * (length * layer + attention) + 2 * length * d * shape.vocab
    flops = total / length
    mean = float(np.mean(entropies))
    assert found.samples == len(DOCUMENTS) + 1
    assert found.nll == pytest.approx(mean, rel=1e-6)
    assert found.ts == pytest.approx(np.mean(sizes))
    assert found.flops_per_token_paper == pytest.approx(flops)
    expected = (round(float(np.mean(sizes)), 2) - mean - 24) / math.log2(flops)
    assert found.information_capacity_script == pytest.approx(expected, rel=1e-6)
    assert found.information_capacity == pytest.approx(expected, abs=0.005 / math.log2(flops))


def test_documents_are_uncheatable_evals_arithmetic(
    integer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "CHUNK_TOKENS", 40)  # so that documents have several chunks
    text = Text("t", "".join(DOCUMENTS).encode(), bytes_of(*DOCUMENTS))
    found = tasks.measure_documents(integer, text, Options())
    nats = []
    for document in text.documents:
        ids = integer.tokenize(document)
        chunks = [Span(b, b, min(b + 40, len(ids.ids))) for b in range(0, len(ids.ids), 40)]
        nats.append(score(integer, ids, chunks).total_bits * math.log(2))
    characters = np.mean([len(document) for document in DOCUMENTS])
    size = np.mean([len(document.encode()) for document in DOCUMENTS])
    mean = np.mean(nats)
    assert found.neg_log_prob_sum == pytest.approx(mean)
    assert found.bpc == pytest.approx(mean / characters / math.log(2))
    assert found.bpb == pytest.approx(mean / size / math.log(2))
    assert found.compression_rate == pytest.approx(mean / size / math.log(2) * 0.125 * 100)
    assert found.avg_character_count == pytest.approx(characters)
    assert found.avg_bytes == pytest.approx(size)
    assert (found.sample_count, found.chunk_size, found.bos_mode) == (3, 40, "add_default_bos")


def test_bos_modes(integer: Scorer, floating: Scorer) -> None:
    text = Text("t", "".join(DOCUMENTS).encode(), bytes_of(*DOCUMENTS))

    def measured(scorer: Scorer, mode: str) -> float:
        found = tasks.measure_documents(scorer, text, Options(bos_mode=mode))
        assert found.bos_mode == mode
        return found.bpb

    newline = integer.tokenize(b"\n" + text.data).ids[:1]
    assert newline.tolist() == integer.tokenize(b"\n").ids.tolist()
    assert measured(integer, "add_newline_token") != measured(integer, "add_default_bos")
    with pytest.raises(LLMZipError, match="names no end token"):
        measured(integer, "add_default_eos")
    assert floating.end_token is not None
    measured(floating, "add_default_eos")


def test_bpc_joins_documents_that_are_tokenized_one_by_one(integer: Scorer) -> None:
    parts = bytes_of("the an", "d the", "on")
    text = Text("t", b"".join(parts), parts)
    whole = tasks.measure_bpc(integer, Text("t", text.data), Options())
    found = tasks.measure_bpc(integer, text, Options())
    ids = np.concatenate([integer.tokenize(part).ids for part in parts])
    assert ids.tolist() != integer.tokenize(text.data).ids.tolist()
    assert found.bpc != pytest.approx(whole.bpc)


@pytest.mark.parametrize(
    ("name", "month"),
    [
        ("arxiv_computer_science_20250701to20250715.json", "2025-07"),
        ("all_20251101to20251115.jsonl#ao3", "2025-11"),
        ("bbc_news_240125_to_240203.json", "2024-01"),
        ("github_cpp_240401to240406.json", "2024-04"),
        ("wikipedia_20240412to20240422.json", "2024-04"),
        ("dev.json", None),
        ("eip-240125.md", None),
        ("12025071.txt", None),
    ],
)
def test_monthly_files_have_their_month(name: str, month: str | None) -> None:
    assert month_of(name, b"") == month


def cli(*args: object) -> click.testing.Result:
    return click.testing.CliRunner().invoke(command, ["eval", *map(str, args), "-q"])


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_monthly_files_feed_eval_months_unchanged(tmp_path: pathlib.Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for month in ("06", "07"):
        file = folder / f"bbc_news_2025{month}01to2025{month}15.json"
        file.write_text(json.dumps(list(DOCUMENTS)))
    done = cli("months", "-d", f"uncheatable:{folder}", "--cutoff", "2025-06")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert set(found["bytes_by_month"]) == {"2025-06", "2025-07"}
    assert found["robustness"] == 0


@pytest.mark.usefixtures("cache_with_tiny_model")
def test_a_row_for_each_source_with_their_columns(tmp_path: pathlib.Path) -> None:
    rows = [
        {"content": d * 3, "subset": s}
        for d, s in zip(DOCUMENTS, ("cc", "code", "cc"), strict=True)
    ]
    file = lines(tmp_path / "test.jsonl", *rows)
    done = cli("-d", f"llm-compression:{file}", "--output", tmp_path, "--samples", 99)
    assert done.exit_code == 0, done.output
    for title in ("compression_rate [%]", "BPC 1900/512", "IC ", "bits/byte"):
        assert title in done.stdout
    (path,) = tmp_path.glob("results_*.json")
    found = json.loads(path.read_text())
    assert [row["text"].rpartition("#")[2] for row in found["rows"]] == ["cc", "code"]
    assert found["options"]["bos_mode"] == "add_default_bos"
    for row in found["rows"]:
        documents = row["documents"]
        assert documents["compression_rate"] == pytest.approx(documents["bpb"] * 12.5)
        assert documents["bos_mode"] == "add_default_bos"
        assert row["information_capacity_script"] is not None
    redone = click.testing.CliRunner().invoke(command, ["eval", "report", str(path)])
    assert redone.exit_code == 0, redone.output
    assert "as UncheatableEval scores them" in path.with_suffix(".html").read_text()
    plain = tmp_path / "plain.txt"
    plain.write_bytes(TEXT)
    named = cli("-d", plain, "--task", "documents", "--bos-mode", "add_newline_token")
    assert "compression_rate" in named.stdout
    assert "compression_rate" not in cli("-d", plain, "--task", "code_length").stdout
    limited = load_texts((f"llm-compression:{file}:70",))
    assert [len(text.data) for text in limited] == [70, 70]
    assert all(sum(map(len, text.documents)) == 70 for text in limited)


@pytest.mark.parametrize(
    ("reader", "name", "content", "message"),
    [
        ("uncheatable", "a.json", "{}", "no JSON list of texts"),
        ("uncheatable", "a.json", "[1]", "text 1: no row with a text as content"),
        ("uncheatable", "a.json", "[", "no JSON"),
        ("uncheatable", "a.json", "[" * 100_000, "no JSON"),
        ("uncheatable", "a.json", '["\\ud800"]', "half of a surrogate pair"),
        ("uncheatable", "a.json", "[]", "no text"),
        ("uncheatable", "a.jsonl", '{"content": "x"}\n{"text": "y"}\n', "line 2: no row"),
        ("uncheatable", "a.jsonl", '{"content": "x", "category": 3}\n', "line 1: no row"),
        ("llm-compression", "a.jsonl", '["x"]\n', "content (and subset)"),
        ("llm-compression", "a.jsonl", "x\n", "line 1: no JSON"),
        ("information-capacity", "a.jsonl", '{"content": "x"}\n', "a text as text"),
        ("information-capacity", "a.jsonl", "\n", "no text"),
    ],
)
def test_files_that_are_not_of_the_format_are_one_error(
    reader: str, name: str, content: str, message: str, tmp_path: pathlib.Path
) -> None:
    file = tmp_path / name
    file.write_text(content)
    failed = cli("-d", f"{reader}:{file}")
    assert isinstance(failed.exception, SystemExit), failed.exception
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert message in failed.stderr
    assert name in failed.stderr
    assert len(failed.stderr.splitlines()) == 1


def test_paths_that_lead_nowhere_and_bytes_that_are_no_text(tmp_path: pathlib.Path) -> None:
    with pytest.raises(LLMZipError, match="no such file or folder"):
        load_texts((f"uncheatable:{tmp_path / 'nothing'}",))
    with pytest.raises(LLMZipError, match=r"holds no \.jsonl, \.json, \.parquet file"):
        load_texts((f"uncheatable:{tmp_path}",))
    (tmp_path / "a.jsonl").write_bytes(b'{"content": "\xff"}')
    with pytest.raises(LLMZipError, match="no text of UTF-8"):
        load_texts((f"uncheatable:{tmp_path}",))


def test_a_path_that_looks_like_a_reader_is_a_path(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "uncheatable:x").write_bytes(b"mine")
    (tmp_path / "data:30").write_text(json.dumps(["a", "b"]))
    (tmp_path / "data:30").rename("data:30.json")
    lines(tmp_path / "rows:30", {"content": "xy"})
    assert load_texts(("uncheatable:x",))[0].data == b"mine"
    assert load_texts(("uncheatable:data:30.json:1",))[0].data == b"a"
    assert load_texts(("uncheatable:rows:30",))[0].data == b"xy"
    assert load_texts((str(TINY_DIRECTORY / "config.json"),))[0].documents == ()


PACKERS = {
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor(write_checksum=True).compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
}


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_are_what_they_hold(ending: str, tmp_path: pathlib.Path) -> None:
    """By a reader and as plain paths; several packed parts are all read; limits cut the text."""
    pack = PACKERS[ending]
    rows = [json.dumps({"content": d}).encode() + b"\n" for d in DOCUMENTS]
    lined = tmp_path / f"bbc_news_20250701to20250715.jsonl{ending}"
    lined.write_bytes(pack(rows[0]) + pack(b"".join(rows[1:])))
    (found,) = load_texts((f"uncheatable:{tmp_path}",))
    assert found.documents == bytes_of(*DOCUMENTS)
    assert month_of(found.name, b"") == "2025-07"
    listed = tmp_path / f"dev.json{ending}"
    listed.write_bytes(pack(json.dumps(DOCUMENTS).encode()))
    assert load_texts((f"uncheatable:{listed}",))[0].documents == bytes_of(*DOCUMENTS)
    plain = tmp_path / "folder" / f"notes.txt{ending}"
    plain.parent.mkdir()
    plain.write_bytes(pack(TEXT))
    (found,) = load_texts((str(plain),))
    assert (found.name, found.data, found.documents) == (plain.name, TEXT, ())
    assert load_texts((str(plain.parent),))[0].data == TEXT
    assert load_texts((f"{plain}:70",))[0].data == TEXT[:70]
    plain.write_bytes(TEXT)  # a name alone packs nothing
    assert load_texts((str(plain),))[0].data == TEXT


@pytest.mark.parametrize("ending", PACKERS)
def test_packed_files_that_are_damaged_are_one_error(ending: str, tmp_path: pathlib.Path) -> None:
    data = json.dumps([np.random.default_rng(0).bytes(5000).hex()]).encode()
    whole = PACKERS[ending](data)
    flipped = whole[:900] + bytes([whole[900] ^ 1]) + whole[901:]
    for damaged in (whole[:-5], whole[:200], flipped):
        file = tmp_path / f"notes.json{ending}"
        file.write_bytes(damaged)
        for name in (file, f"uncheatable:{file}"):
            with pytest.raises(LLMZipError) as caught:
                load_texts((str(name),))
            assert str(caught.value).startswith(f"{file}: does not unpack")


def test_frames_of_zstd_that_carry_no_text_are_passed(tmp_path: pathlib.Path) -> None:
    pack = PACKERS[".zst"]
    file = tmp_path / "a.zst"
    file.write_bytes(b"\x50\x2a\x4d\x18\x04\0\0\0abcd" + pack(b"one") + pack(b"") + pack(b"two"))
    assert load_texts((str(file),))[0].data == b"onetwo"


def parquet(path: pathlib.Path, **columns: object) -> pathlib.Path:
    pyarrow = pytest.importorskip("pyarrow")
    writer = pytest.importorskip("pyarrow.parquet")
    writer.write_table(pyarrow.table(columns), path, row_group_size=2)
    return path


def test_parquet_is_rows_like_json_lines(tmp_path: pathlib.Path) -> None:
    ids = list(range(len(DOCUMENTS)))
    file = parquet(tmp_path / "mixed_text.parquet", id=ids, text=DOCUMENTS)
    for name in (f"information-capacity:{file}", f"information-capacity:{tmp_path}", f"{file}"):
        (found,) = load_texts((name,))
        assert found.name == file.name
        assert found.documents == bytes_of(*DOCUMENTS)
    assert bias(file.name) == -24
    assert [len(text.data) for text in load_texts((f"rows:{file}:60",))] == [60]
    by_source = parquet(tmp_path / "all.parquet", subset=["cc", "code", "cc"], content=DOCUMENTS)
    by_subset = load_texts((f"llm-compression:{by_source}",))
    assert {text.name.rpartition("#")[2]: text.documents for text in by_subset} == {
        "cc": bytes_of(DOCUMENTS[0], DOCUMENTS[2]),
        "code": bytes_of(DOCUMENTS[1]),
    }


def test_rows_are_of_any_data_set_with_text_or_content(tmp_path: pathlib.Path) -> None:
    lines(tmp_path / "a.jsonl", {"content": "first"}, {"text": "second", "content": "no"})
    (tmp_path / "b.json").write_text('["third", {"text": "fourth"}]')
    found = [text.documents for text in load_texts((f"rows:{tmp_path}",))]
    assert found == [(b"first", b"second"), (b"third", b"fourth")]


def test_parquet_that_is_none_or_lacks_the_column(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = parquet(tmp_path / "a.parquet", title=["x"], body=["y"])

    def said(name: str) -> str:
        with pytest.raises(LLMZipError) as caught:
            load_texts((name,))
        return str(caught.value)

    assert said(str(file)) == f"{file}: no column text or content; there are title, body"
    parquet(file, text=["x", None, "y"])
    assert said(str(file)) == f"{file}: row 2: no row with a text as text or content"
    parquet(file, text=[1, 2])
    assert "row 1: no row with a text" in said(str(file))
    parquet(file, category=["a"])
    assert "no column content; there are category" in said(f"uncheatable:{file}")
    whole = parquet(file, text=["some text"] * 9).read_bytes()
    for damaged in (whole[:-9], b"", b"PAR1", whole[:4] + bytes(60) + whole[64:]):
        file.write_bytes(damaged)
        assert said(str(file)).startswith(f"{file}: ")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'llmzip[parquet]'" in said(str(file))


@pytest.mark.parametrize("kind", ["rows", "text", "parquet"])
def test_only_the_part_that_is_wanted_is_in_memory(kind: str, tmp_path: pathlib.Path) -> None:
    text = "all work and no play " * 500
    if kind == "parquet":
        name = f"rows:{parquet(tmp_path / 'a.parquet', text=[text] * 1000)}"
    elif kind == "rows":
        file = tmp_path / "a.jsonl.gz"
        file.write_bytes(gzip.compress((json.dumps({"text": text}) + "\n").encode() * 2000))
        name = f"rows:{file}"
    else:
        file = tmp_path / "a.txt.zst"
        file.write_bytes(PACKERS[".zst"](text.encode() * 2000))
        name = str(file)
    load_texts((f"{name}:10",))  # imports
    tracemalloc.start()
    try:
        (found,) = load_texts((f"{name}:20000",))
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(found.data) == 20000
