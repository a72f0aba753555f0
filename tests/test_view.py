"""What the page of `llmzip view` says: every bit of a file is somewhere, and the tokens' numbers
are those of the coder, of the model and of `llmzip eval`.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import itertools
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmzip
from llmzip.blocks.options import CompressionOptions
from llmzip.engine_loader import EngineLoader
from llmzip.mixing.base import EXPERTS
from llmzip.records import RecordWriter
from llmzip.scoring.file_length import file_length
from llmzip.scoring.integer_scorer import IntegerScorer
from llmzip.view.attribution import mixing_gain, saved_bits
from llmzip.view.cells import cells_of
from llmzip.view.layout import Kind
from llmzip.view.observe import Observed, observe_file, observe_text
from llmzip.view.page import page
from llmzip.view.summary import summary
from llmzip.view.words import Words
from tests import golden
from tests.command import ROOT, process, run
from tests.conftest import tiny

HOSTILE = (
    b"</script><!-- \x00\x1b[31m \xff\xfe caf\xe9 \xe2\x80\xae evil \xe2\x80\x8b "
    + "naïve 中文 😀 e\u0301 שלום עולם\r\n\t".encode()
) * 3


def loader(**needs: Any) -> EngineLoader:
    return EngineLoader(tiny(), **needs)


@functools.cache
def watched(name: str, version: int | None = None) -> Observed:
    path = golden.frame_path(name, golden.OF_VERSIONS[version] if version else golden.FOLDER)
    return observe_file(path.read_bytes(), loader(**golden.needs(name)))


def bytes_of(seen: Observed) -> int:
    """Of all frames and blocks."""
    layout = seen.layout
    return sum(
        [*(frame.bytes for frame in layout.frames), *(block.bytes for block in layout.blocks)]
    )


@pytest.mark.parametrize("name", golden.CASES)
def test_every_bit_is_somewhere(name: str) -> None:
    seen, packed = watched(name), golden.frame_path(name).read_bytes()
    layout = seen.layout
    assert (seen.text, seen.packed_bytes) == (golden.CASES[name][0], len(packed))
    assert sum(layout.sizes) == len(seen.text) == sum(block.size for block in layout.blocks)
    assert all(layout.sizes)
    assert bytes_of(seen) == len(packed)
    words = Words(seen.payloads)
    found = summary(seen, words)
    assert sum(bits for _, bits in found["parts"]) == pytest.approx(8 * len(packed))
    assert layout.kinds.count(Kind.TOKEN) == found["model"]["tokens"]
    assert layout.kinds.count(Kind.MATCH) == len(layout.matches)
    assert layout.kinds.count(Kind.OTHER) == len(layout.runs)
    for sums in (found["classes"], found["costliest"]):
        assert sum(bits for *_, bits in sums) <= found["model"]["coded"] + 1e-6
    assert sum(count for _, count, _ in found["classes"]) == found["model"]["tokens"]


@pytest.mark.parametrize("name", ["text", "matches-solid", "dictionary"])
@pytest.mark.parametrize("version", golden.OF_VERSIONS)
def test_files_of_earlier_versions_can_be_watched(name: str, version: int) -> None:
    seen = watched(name, version)
    assert seen.text == golden.CASES[name][0]
    saved = np.concatenate([tokens.saved for tokens in seen.payloads])
    has_calibration = version >= 5  # mixing version 1 has none
    assert saved[:, EXPERTS.index("calibration")].any() == has_calibration
    assert saved.any()


@pytest.mark.parametrize(
    "name", ["streams", "blocks", "escapes", "no-mixing", "solid", "matches", "matches-dictionary"]
)
def test_an_encoder_is_watched_as_its_decoder_is(name: str) -> None:
    text, options = golden.CASES[name]
    given_options = {key: value for key, value in options.items() if key != "dictionary"}
    encoded = observe_text(text, CompressionOptions(**given_options), loader(**golden.needs(name)))
    decoded = watched(name)
    assert encoded.layout == decoded.layout
    for a, b in zip(encoded.payloads, decoded.payloads, strict=True):
        for field in dataclasses.fields(a):
            assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), field.name


def test_the_numbers_are_those_of_eval(english: bytes) -> None:
    text, options = english[:6000], CompressionOptions(1)
    seen = observe_text(text, options, loader())
    length = file_length(IntegerScorer(loader().for_compression(), "tiny"), text, options)
    model = summary(seen, Words(seen.payloads))["model"]
    assert model["alone"] == pytest.approx(length.model_bits)
    assert model["coded"] - model["alone"] == pytest.approx(
        length.mixing_bits + length.table_bits, abs=1e-6
    )
    assert 8 * seen.packed_bytes == length.file_bits
    # What the experts saved, and not the tables, is the difference.
    assert abs(model["tables"]) < 0.01 * abs(sum(model["saved"].values()))
    for tokens in seen.payloads:
        without_tables = tokens.model_bits - tokens.saved.sum(axis=1)
        assert np.abs(tokens.bits - without_tables).max() < 0.1


def test_alternatives_are_the_predictions(english: bytes) -> None:
    (tokens,) = observe_text(english[:3000], CompressionOptions(1), loader()).payloads
    assert (np.diff(tokens.probabilities, axis=1) <= 0).all()
    assert tokens.probabilities.sum(axis=1).max() <= 1 + 1e-5
    first = tokens.model_probabilities.argmax(axis=1)
    choice = tokens.alternatives[np.arange(len(first)), first]
    assert ((choice == tokens.ids) == (tokens.ranks == 0)).mean() > 0.99  # the first of equal ones
    rows, columns = np.nonzero(tokens.alternatives == tokens.ids[:, None])
    plain = tokens.ids[rows] != tokens.vocabulary.escape_token
    rows, columns = rows[plain], columns[plain]
    assert len(rows) > 100
    assert -np.log2(tokens.probabilities[rows, columns]) == pytest.approx(
        tokens.bits[rows], abs=0.1
    )
    known = tokens.model_probabilities[rows, columns]
    assert -np.log2(known[known > 0]) == pytest.approx(tokens.model_bits[rows][known > 0], abs=1e-3)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 12), st.floats(0, 12))
def test_parts_add_up_to_what_mixing_saved(
    seed: int, rows: int, columns: int, strength: float
) -> None:
    rng = np.random.default_rng(seed)
    weights = (2.0 ** rng.uniform(0, 23, (rows, columns))).astype(np.int32)
    evidence = rng.normal(0, strength, (rows, columns, len(EXPERTS)))
    evidence[:, :, 1] = 0
    corrected = np.rint(weights * 2 ** np.clip(evidence.sum(axis=2), -20, 20)).astype(np.int64)
    totals = weights.sum(axis=1, dtype=np.int64) + rng.integers(1, 1 << 23, rows)
    observed = np.arange(columns) == rng.integers(-1, columns, rows)[:, None]
    own = np.where(observed.any(axis=1), (weights * observed).sum(axis=1), 1.0 + rng.integers(99))
    arguments = weights, corrected, totals
    saved = saved_bits(*arguments, evidence, observed, own)
    gain = mixing_gain(*arguments, observed, own)
    before = own / totals
    after = np.where(observed.any(axis=1), (corrected * observed).sum(axis=1), own) / (
        totals + (corrected - weights).sum(axis=1)
    )
    assert saved.sum(axis=1) == pytest.approx(gain, abs=1e-5)
    possible = after > 1e-7  # others round to nothing
    assert gain[possible] == pytest.approx(np.log2(after[possible] / before[possible]), abs=1e-6)
    assert not saved[:, 1].any()  # who says nothing neither saves nor costs


def test_whose_evidence_it_was() -> None:
    """Two tokens of equal weight; one expert is for the one that comes, one for the other."""
    weights = np.array([[1 << 20, 1 << 20]], np.int32)
    evidence = np.zeros((1, 2, 4))
    evidence[0, 0, 0], evidence[0, 1, 2] = 3, 1
    corrected = np.array([[8 << 20, 2 << 20]], np.int64)
    (saved,) = saved_bits(
        weights,
        corrected,
        np.array([2 << 20]),
        evidence,
        np.array([[True, False]]),
        np.array([1.0 * (1 << 20)]),
    )
    assert saved[0] > 0 > saved[2]
    assert saved.sum() == pytest.approx(np.log2(0.8 / 0.5))


@given(st.binary(max_size=40), st.lists(st.integers(1, 5), max_size=60))
def test_cells_lie_between_characters(text: bytes, wanted: list[int]) -> None:
    sizes, left = [], len(text)
    for size in [*wanted, len(text)]:
        if left:
            sizes.append(min(size, left))
            left -= sizes[-1]
    cells = cells_of(text, sizes)
    characters = cells.units.tobytes().decode("utf-16-le", "surrogatepass")
    assert characters.encode("utf-8", "surrogateescape") == text
    ends = [*cells.starts[1:].tolist(), len(cells.units)] if sizes else []
    pieces = [
        characters_of(cells.units[a:b]).encode("utf-8", "surrogateescape")
        for a, b in zip(cells.starts.tolist(), ends, strict=True)
    ]
    parts = [*cells.parts.tolist(), len(sizes)]
    assert [len(piece) for piece in pieces] == [
        sum(sizes[a:b]) for a, b in itertools.pairwise(parts) if sizes
    ]
    assert b"".join(pieces) == text


def characters_of(units: np.ndarray[Any, Any]) -> str:
    return units.astype("<u2").tobytes().decode("utf-16-le", "surrogatepass")


@pytest.mark.parametrize("name", ["matches", "matches-solid", "matches-dictionary", "mixed"])
def test_matches_are_where_their_bytes_are(name: str) -> None:
    seen = watched(name)
    position = 0
    matches, runs = iter(seen.layout.matches), iter(seen.layout.runs)
    for kind, size in zip(seen.layout.kinds, seen.layout.sizes, strict=True):
        if kind == Kind.MATCH:
            match = next(matches)
            assert (match.start, match.size) == (position, size)
            copied = seen.text[position : position + size]
            if match.source >= 0:
                source = seen.text[match.source : match.source + size]
                assert source == copied
            else:
                assert copied in golden.needs(name)["dictionary"]
        elif kind == Kind.OTHER:
            assert next(runs).start == position
        position += size
    assert (list(matches), list(runs)) == ([], [])


def test_frames_of_all_kinds_one_after_the_other() -> None:
    names = ["text", "empty", "stored", "escapes", "matches-solid", "meta-token"]
    packed = b"".join(golden.frame_path(name).read_bytes() for name in names)
    seen = observe_file(packed, loader())
    assert seen.text == b"".join(golden.CASES[name][0] for name in names)
    assert [frame.size for frame in seen.layout.frames] == [
        len(golden.CASES[name][0]) for name in names
    ]
    assert bytes_of(seen) == len(packed)
    unpacked(page(seen, "several"))


def test_a_damaged_file_raises_what_its_decoder_raises() -> None:
    packed = golden.frame_path("text").read_bytes()
    with pytest.raises(llmzip.IntegrityError):
        observe_file(packed[:60] + b"?" + packed[61:], loader())
    with pytest.raises(llmzip.TruncatedError):
        observe_file(packed[:-1], loader())
    with pytest.raises(llmzip.FormatError, match="junk"):
        observe_file(packed + b"junk", loader())
    with pytest.raises(llmzip.LimitError):
        observe_file(packed, loader(), max_output=10)


# ---- the page ------------------------------------------------------------------------------------


def unpacked(text: str) -> dict[str, Any]:
    """The page's data, read as its script reads it."""
    chunks = re.findall(r'<script type="text/plain" class="data">([^<]*)</script>', text)
    data = zlib.decompress(base64.b64decode("".join(chunks)), -zlib.MAX_WBITS)
    size = int.from_bytes(data[:4], "little")
    found: dict[str, Any] = json.loads(data[4 : 4 + size])
    body = data[4 + size :]
    for name, (kind, offset, count) in found["arrays"].items():
        found[name] = np.frombuffer(body, np.dtype(kind).newbyteorder("<"), count, offset)
    return found


def test_the_page_has_what_was_seen(english: bytes) -> None:
    seen = observe_text(english[:3000], CompressionOptions(1), loader())
    (tokens,) = seen.payloads
    data = unpacked(page(seen, "a.txt"))
    bits, saved, probabilities = data["units"]
    assert data["token_bits"] / bits == pytest.approx(tokens.bits, abs=0.51 / bits)
    assert data["token_model_bits"] / bits == pytest.approx(tokens.model_bits, abs=0.51 / bits)
    assert data["token_saved"] / saved == pytest.approx(tokens.saved.ravel(), abs=0.51 / saved)
    assert data["others"] / probabilities == pytest.approx(
        tokens.probabilities.ravel(), abs=0.51 / probabilities
    )
    assert data["token_ranks"].tolist() == tokens.ranks.tolist()
    ends = np.cumsum(data["word_sizes"])
    texts = [data["word_bytes"][a:b].tobytes() for a, b in zip([0, *ends], ends, strict=False)]
    assert b"".join(texts[word] for word in data["token_words"]) == english[:3000]
    (block,) = data["blocks"]
    assert sum(block["stream_bits"]) == pytest.approx(tokens.bits.sum(), abs=0.1 * tokens.streams)


def test_the_page_loads_nothing_and_text_cannot_leave_it() -> None:
    name = "</title><script>alert(1)</script>\udcff\u202e.txt"
    text = page(observe_text(HOSTILE, CompressionOptions(1), loader()), name)
    assert "alert(1)</script>" not in text.split("<style>")[0]
    assert (
        unpacked(text)["text"]
        .tobytes()
        .decode("utf-16-le", "surrogatepass")
        .encode("utf-8", "surrogateescape")
        == HOSTILE
    )
    scripts = text.count("<script")
    assert scripts == text.count("</script>") == 2
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)|@import|url\(|https?:""", text)
    assert "default-src 'none'" in text
    text.encode()  # it can be written


def test_a_page_of_nothing() -> None:
    data = unpacked(page(observe_text(b"", CompressionOptions(), loader()), "empty"))
    assert (data["bytes"], data["blocks"], data["text"].size) == (0, [], 0)


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def small(cache_with_tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a text and its compressed file, where the tiny model is the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    Path("text").write_bytes(golden.TEXT)
    Path("text.llmz").write_bytes(golden.frame_path("text").read_bytes())


def read(name: str) -> dict[str, Any]:
    return unpacked(Path(name).read_text("utf-8"))


def test_the_command_makes_a_page_of_a_text_and_of_a_file(small: None) -> None:
    for name in ("text", "text.llmz"):
        result = run("view", name)
        assert (result.exit_code, result.output) == (0, "")
        assert read(f"{name}.html")["bytes"] == len(golden.TEXT)
    assert read("text.html")["name"] == "text"
    assert run("view", "-1", "--no-mixing", "text", "-o", "other").exit_code == 0
    assert (read("other")["token_saved"] == 0).all()
    assert len(read("other")["blocks"][0]["streams"]) > len(
        read("text.html")["blocks"][0]["streams"]
    )


@pytest.mark.parametrize("name", ["blocks", "solid", "frames"])
def test_a_part_of_a_file_has_the_numbers_of_the_whole(name: str) -> None:
    if name == "frames":
        one = golden.frame_path("text").read_bytes()
        packed, needs = one + golden.frame_path("blocks").read_bytes(), golden.needs("blocks")
    elif name == "solid":  # with matches that reach before the part
        packed = llmzip.compress(golden.TEXT * 3, model=tiny(), solid=True, block_size=1024)
        needs = {}
    else:
        packed, needs = golden.frame_path(name).read_bytes(), golden.needs(name)
    whole = observe_file(packed, loader(**needs))
    blocks = whole.layout.blocks
    assert len(blocks) > 2
    first, last = blocks[1], blocks[-2]
    span = range(first.start + 1, last.start + 1)
    part = observe_file(packed, loader(**needs), span=span)
    assert part.text == whole.text[first.start : last.start + last.size]
    assert part.packed_bytes == bytes_of(part)
    assert [block.codec for block in part.layout.blocks] == [b.codec for b in blocks[1:-1]]
    assert [block.bytes for block in part.layout.blocks] == [b.bytes for b in blocks[1:-1]]
    assert part.layout.blocks[0].start == 0
    numbers = [block.payload for block in blocks[1:-1] if block.payload is not None]
    for number, tokens in zip(numbers, part.payloads, strict=True):
        for field in dataclasses.fields(tokens):
            one, other = (getattr(t, field.name) for t in (whole.payloads[number], tokens))
            assert np.array_equal(one, other), field.name
    found = summary(part, Words(part.payloads))
    assert sum(bits for _, bits in found["parts"]) == pytest.approx(8 * part.packed_bytes)
    assert unpacked(page(part, name))["bytes"] == len(part.text)
    for start in (len(whole.text), len(whole.text) + 99):
        with pytest.raises(llmzip.LLMZipError, match="it ends before byte"):
            observe_file(packed, loader(**needs), span=range(start, start + 9))


def test_the_command_shows_a_part(small: None) -> None:
    for name, size in (("text", 6), ("text.llmz", len(golden.TEXT))):
        result = run("view", "--bytes", "4-9", name)
        assert (result.exit_code, result.output) == (0, "")
        shown = unpacked(Path(f"{name}.html").read_text())
        assert (shown["bytes"], shown["name"]) == (size, f"{name}, bytes 4-9")
    for name in ("text", "text.llmz"):
        result = run("view", "-f", "--bytes", "99999-", name)
        assert (result.exit_code, f"{name}: it ends before byte" in result.stderr) == (1, True)
    assert run("view", "--bytes", "9-4", "text").exit_code == 2


def test_archives_of_records_are_refused(small: None) -> None:
    with RecordWriter("log.llmr", model=tiny()) as writer:
        writer.write(b"one")
    result = run("view", "log.llmr")
    assert (result.exit_code, "log.llmr: " in result.stderr) == (1, True)
    assert "llmzip records" in result.stderr


def test_the_command_overwrites_nothing_by_itself(small: None) -> None:
    Path("text.html").write_text("mine")
    result = run("view", "text")
    assert (result.exit_code, "already exists; -f" in result.stderr) == (1, True)
    assert Path("text.html").read_text() == "mine"
    assert run("view", "-f", "text").exit_code == 0
    assert run("view", "-f", "text", "-o", "text").exit_code == 1
    assert Path("text").read_bytes() == golden.TEXT


def test_the_command_says_what_is_wrong(small: None) -> None:
    Path("junk.llmz").write_bytes(b"junk")
    Path("cut.llmz").write_bytes(Path("text.llmz").read_bytes()[:-5])
    for arguments, code, words in (
        (["nothing"], 1, "No such file"),
        (["cut.llmz"], 1, "llmzip repair"),
        (["junk.llmz"], 1, "not an llmzip file"),
        (["--solid", "--no-mixing", "text"], 2, "--no-mixing"),
        ([], 2, "Missing argument"),
    ):
        result = run("view", *arguments)
        assert (result.exit_code, words in result.stderr) == (code, True), result.stderr
    assert not list(Path().glob("*.html"))


def test_the_command_in_a_pipe(small: None) -> None:
    found = process("view", "-", input=golden.TEXT)
    assert found.returncode == 0
    assert unpacked(found.stdout.decode())["bytes"] == len(golden.TEXT)
