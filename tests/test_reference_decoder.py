"""The educational decoder: what llmzip writes under any options it reads, and it knows what is
wrong with a file."""

from __future__ import annotations

import ast
import dataclasses
import pathlib
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llmzip
from llmzip import levels
from llmzip.container.header import memory_limit
from llmzip.engine.torch_engine import TorchEngine
from llmzip.model.convert import convert
from llmzip.model.integer_model import IntegerModel
from llmzip.model.sources import read_source
from llmzip.model.vocabulary import NO_RULES
from llmzip.predictor.dictionary import Dictionary
from tests import golden, tiny
from tests.as_reference import reference_model
from tests.conftest import TESTS
from tests.conftest import tiny as committed_model
from tests.reference_decoder.__main__ import main
from tests.reference_decoder.decoder import decode_file
from tests.reference_decoder.dictionary import read_dictionary
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.frame import RAW
from tests.reference_decoder.integer_model import read_integer_model
from tests.reference_decoder.model import Model
from tests.reference_decoder.published_model import read_model
from tests.reference_decoder.working_memory import code_for, stated_bytes
from tests.tools.bad_frames import NAMES_MODEL, SINGLE, body, header, short_frame

FOLDER = TESTS / "reference_decoder"
LIBRARIES = {"numpy", "zstandard", "xxhash", "tokenizers"}


@pytest.fixture(scope="module")
def model() -> Model:
    return reference_model(committed_model())


def test_it_shares_no_code_with_llmzip() -> None:
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name.startswith("tests.reference_decoder")
                assert own or name.split(".")[0] in LIBRARIES | set(sys.stdlib_module_names), name


def test_the_readme_names_every_file() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    for path in FOLDER.glob("*.py"):
        assert path.name in ("__init__.py", "errors.py") or f"`{path.name}`" in readme, path.name


texts = st.one_of(
    st.integers(0, 800).flatmap(
        lambda i: st.integers(0, 200).map(lambda n: golden.TEXT[i : i + n])
    ),
    st.binary(max_size=120),
    st.text(max_size=60).map(str.encode),
)


pieces = st.lists(texts, max_size=4).map(lambda parts: [*parts, *parts[:1]])
options = st.fixed_dictionaries(
    {
        "level": st.sampled_from([1, 2, 4, 6, 9]),
        "block_size": st.sampled_from([1024, 1 << 20]),
        "codec": st.sampled_from([None, None, None, "llm", "meta-token", "xz", "zstd", "raw"]),
        "dictionary": st.sampled_from([None, None, b"", golden.TEXT[100:160], b"\xff\x04caf\xe9"]),
    }
)
kinds = st.sampled_from([{}, {"mixing": False}, {"solid": True}])


@settings(max_examples=25)
@given(pieces, options, kinds)
def test_it_reads_what_llmzip_writes(
    data: list[bytes], chosen: dict[str, Any], kind: dict[str, bool]
) -> None:
    packed = llmzip.compress(b"".join(data), model=committed_model(), **chosen, **kind)
    check(packed, b"".join(data), chosen)


@settings(max_examples=25)
@given(st.lists(st.tuples(pieces, st.sampled_from([0, 1, 2])), max_size=4), options, kinds)
def test_it_reads_what_is_written_in_pieces(
    data: list[tuple[list[bytes], int]], chosen: dict[str, Any], kind: dict[str, bool]
) -> None:
    """Blocks and frames end where the caller says."""

    def compressor() -> llmzip.LLMZipCompressor:
        return llmzip.LLMZipCompressor(model=committed_model(), **chosen, **kind)

    packed, current = b"", compressor()
    for parts, mode in data:
        packed += current.compress(b"".join(parts), mode)
        if mode == current.FLUSH_FRAME:
            current = compressor()
    packed += current.flush()
    check(packed, b"".join(part for parts, _ in data for part in parts), chosen)


def check(packed: bytes, data: bytes, chosen: dict[str, Any]) -> None:
    """Both decoders read it."""
    dictionary = chosen["dictionary"]
    assert llmzip.decompress(packed, model=committed_model(), dictionary=dictionary) == data
    assert decode_file(packed, reference_model(committed_model()), dictionary) == data


def test_it_reads_a_dictionary_longer_than_the_models_positions(tiny_model: IntegerModel) -> None:
    """The mixing learns it in several streams."""
    dictionary = golden.TEXT[:600][::-1] + golden.TEXT[:400]
    assert len(tiny_model.tokenizer.encode(dictionary).ids) > tiny_model.spec.max_positions
    data = golden.TEXT[500:560]
    packed = llmzip.compress(data, model=tiny_model, dictionary=dictionary)
    check(packed, data, {"dictionary": dictionary})


def test_it_converts_models_as_llmzip_does(
    tiny_model: IntegerModel, tmp_path: pathlib.Path
) -> None:
    """Its own conversion has the same fingerprint: head and embedding tied or not, odd shapes,
    several types and files."""
    assert read_model(golden.DATA / "tiny").fingerprint == tiny_model.fingerprint
    shapes = ({}, {"tied": False}, {"hidden_size": 48, "intermediate_size": 90, "head_dim": 6})
    for i, changes in enumerate(shapes):
        made = tiny.make(seed=i, **changes)
        for dtype, shards in (("float32", 1), ("bfloat16", 2), ("float16", 3)):
            path = tiny.write_directory(tmp_path / f"{i}-{dtype}", made, dtype, shards)
            assert read_model(path).fingerprint == convert(read_source(path)).fingerprint


def test_it_reads_integer_models(tiny_model: IntegerModel, tmp_path: pathlib.Path) -> None:
    path, damaged = tmp_path / "model.safetensors", tmp_path / "damaged.safetensors"
    tiny_model.save(path)
    assert read_integer_model(path).fingerprint == tiny_model.fingerprint
    data = path.read_bytes()
    damaged.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    with pytest.raises(DecodeError, match="fingerprint"):
        read_integer_model(damaged)
    for junk in (b"", data[:100], b"\x05" + bytes(7) + b"[1,2]"):
        damaged.write_bytes(junk)
        with pytest.raises(DecodeError, match="not an integer model"):
            read_integer_model(damaged)


@pytest.mark.slow
def test_it_decodes_a_file_of_the_default_model(
    default_model: IntegerModel, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that it has of llmzip's is the model's file, and it takes long for each token: a short
    text, in streams of two lengths. That llmzip writes the longer golden file of this model is in
    tests/test_default_model.py.
    """
    path, packed, out = (tmp_path / name for name in ("model.safetensors", "text.llmz", "text"))
    default_model.save(path)
    several = dataclasses.replace(levels.LEVELS[1], stream_tokens=10)
    monkeypatch.setitem(levels.LEVELS, 1, several)
    packed.write_bytes(llmzip.compress(golden.TEXT[:200], 1, model=default_model))
    assert main([str(path), str(packed), "-o", str(out)]) == 0
    assert out.read_bytes() == golden.TEXT[:200]


def test_it_counts_memory_as_llmzip_does() -> None:
    for code in range(256):
        assert stated_bytes(code) == memory_limit(code)
        assert stated_bytes(code_for(stated_bytes(code))) == stated_bytes(code)


def test_damage_anywhere_is_found(model: Model) -> None:
    frame = golden.frame_path("short").read_bytes()
    for i in range(len(frame)):
        with pytest.raises(DecodeError):
            decode_file(frame[:i], model)
        with pytest.raises(DecodeError):
            decode_file(frame[:i] + bytes([frame[i] ^ 16]) + frame[i + 1 :], model)
    with pytest.raises(DecodeError, match="no frame begins"):
        decode_file(frame + b"junk", model)


def test_another_model_or_dictionary_is_refused(model: Model) -> None:
    frame = golden.frame_path("dictionary").read_bytes()
    with pytest.raises(DecodeError, match="none was given"):
        decode_file(frame)
    with pytest.raises(DecodeError, match="give it with -D"):
        decode_file(frame, model)
    with pytest.raises(DecodeError, match="another dictionary"):
        decode_file(frame, model, b"something else")


def test_it_cuts_dictionaries_as_llmzip_does(
    tiny_model: IntegerModel, tmp_path: pathlib.Path
) -> None:
    """Of a published model and of an integer model, with rules and without."""
    published = read_model(golden.DATA / "tiny")
    without_rules = dataclasses.replace(tiny_model.vocabulary, rules=NO_RULES)
    bare = IntegerModel.build(tiny_model.spec, without_rules, tiny_model.tensors)
    for text in (
        b"",
        golden.TEXT[:300],
        b"\x04 caf\xe9 <|endoftext|>\r\n \xff the",
        " 中文 ñ\n\n".encode(),
    ):
        for model, other in ((tiny_model, published), (bare, reference_model(bare))):
            expected = model.tokenizer.encode(text)
            found = read_dictionary(text, other)
            assert found.tokens == tuple(expected.ids.tolist())
            assert found.literals == expected.literals
            assert found.digest(other) == Dictionary(text).on(TorchEngine(model)).digest


def test_a_dictionary_without_its_library_is_a_clear_error(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    frame = golden.frame_path("dictionary").read_bytes()
    with pytest.raises(DecodeError, match="pip install tokenizers"):
        decode_file(frame, model, golden.CASES["dictionary"][1]["dictionary"])
    assert decode_file(golden.frame_path("short").read_bytes(), model) == golden.TEXT[:120]


def test_a_model_is_needed_only_where_a_block_needs_it() -> None:
    """A frame may name one that none of its blocks needs."""
    head = header(SINGLE | NAMES_MODEL, bytes(4))
    frame = short_frame(head, body(RAW, 5, b"hello"), b"hello")
    assert decode_file(frame) == b"hello"
    assert llmzip.decompress(frame) == b"hello"


def test_the_command(tmp_path: pathlib.Path) -> None:
    """What its README says, in a process of its own."""
    text, again = tmp_path / "text", tmp_path / "text.again"
    text.write_bytes(golden.TEXT[:200])
    options = ["-m", str(golden.DATA / "tiny"), "-k", str(text)]
    environment = {"LLMZIP_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    root = str(TESTS.parent)

    def run(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, "-m", *arguments],
            check=True,
            cwd=root,
            env=environment,
            capture_output=True,
        )

    run("llmzip", "models", "pull", str(golden.DATA / "tiny"))
    run("llmzip", *options)
    packed = str(tmp_path / "text.llmz")
    run("tests.reference_decoder", str(golden.DATA / "tiny"), packed, "-o", str(again))
    assert again.read_bytes() == text.read_bytes()


def test_the_commands_errors(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "damaged.llmz", tmp_path / "out"
    path.write_bytes(golden.frame_path("short").read_bytes()[:-3])
    assert main([str(golden.DATA / "tiny"), str(path), "-o", str(out)]) == 1
    assert "damaged.llmz" in capfd.readouterr().err
    assert not out.exists()
    assert main([str(tmp_path), str(path), "-o", str(out)]) == 1
    assert "tests/data/tiny is one" in capfd.readouterr().err
    assert main([str(golden.DATA / "tiny"), str(golden.frame_path("one-byte"))]) == 0
    assert capfd.readouterr().out == "x"
