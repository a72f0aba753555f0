"""Model files that are not what they should be: one kind of error, soon, and no memory for what a
file only claims.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import time
from typing import Any

import pytest

from llmzip.errors import LLMZipError, ModelError, UnsupportedModelError
from llmzip.model.convert import convert
from llmzip.model.sources import gguf_vocabulary, read_source, source_digest
from llmzip.model.spec import MAX_POSITIONS
from tests import tiny
from tests.tools.model_mutants import GGUFDraft, Mutants


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    return tiny.write_directory(tmp_path / "m", tiny.make())


def change_json(path: pathlib.Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_model(directory: pathlib.Path, **changes: Any) -> None:
    """Change what tokenizer.json says of its model."""
    file = directory / "tokenizer.json"
    described = json.loads(file.read_text())
    described["model"] |= changes
    file.write_text(json.dumps(described))


def refusal(path: pathlib.Path) -> str:
    """What is said, within seconds, of a model that cannot be converted."""
    start = time.process_time()
    with pytest.raises(LLMZipError) as caught:
        source_digest(path)
        convert(read_source(path))
    assert time.process_time() - start < 10
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("shard", range(6))
def test_mutants_are_refused_or_work(tmp_path: pathlib.Path, shard: int) -> None:
    mutants = Mutants(tmp_path)
    results = [mutants.attempt(seed) for seed in range(100 * shard, 100 * shard + 100)]
    assert {"refused", "converted"} == set(results)


@pytest.mark.slow
def test_many_mutants(tmp_path: pathlib.Path) -> None:
    mutants = Mutants(tmp_path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(1_000_000, 1_005_000):
        mutants.attempt(seed)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


# Configurations


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_attention_heads": 0}, "num_attention_heads is 0"),
        ({"num_attention_heads": "4"}, "num_attention_heads is '4'"),
        ({"num_key_value_heads": -1}, "num_key_value_heads is -1"),
        ({"hidden_size": True}, "hidden_size is True"),
        ({"hidden_size": 10**400}, "hidden_size is 1000"),
        ({"intermediate_size": 1e9}, "intermediate_size is 1000000000.0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
        ({"num_hidden_layers": None}, "'num_hidden_layers' is missing"),
        ({"vocab_size": 10**9}, "vocab_size is 1,000,000,000"),
        ({"rope_theta": 1e-300}, "rotary base 1e-300"),
        ({"rope_theta": 0}, "rotary base 0.0"),
        ({"rope_theta": -1.0}, "rotary base -1.0"),
        ({"rope_theta": float("inf")}, "rotary base inf"),
        ({"rope_theta": float("nan")}, "rotary base nan"),
        ({"rope_theta": 10**400}, "rope_theta is 1000"),
        ({"rope_parameters": ["a"]}, "not understood"),
        ({"rms_norm_eps": "1e-5"}, "rms_norm_eps is '1e-5'"),
        ({"rms_norm_eps": float("nan")}, "norm_eps is nan"),
        ({"bos_token_id": 10**9}, "start_token 1000000000"),
    ],
)
def test_configurations(directory: pathlib.Path, changes: dict[str, Any], message: str) -> None:
    change_json(directory / "config.json", **changes)
    assert message in refusal(directory)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff",
        b"",
        b'{"a": 1e',
        b"9" * 5000,
    ],
)
def test_what_is_no_json_object(directory: pathlib.Path, name: str, content: bytes) -> None:
    (directory / name).write_bytes(content)
    assert "not understood" in refusal(directory)


def test_a_configuration_that_is_too_large(directory: pathlib.Path) -> None:
    os.truncate(directory / "config.json", 1 << 40)  # has holes for its bytes
    assert "larger than 4,194,304 bytes" in refusal(directory)


def test_many_positions_are_no_more_than_the_arithmetic_covers(tmp_path: pathlib.Path) -> None:
    model = tiny.make(max_position_embeddings=1 << 20)
    for path in (
        tiny.write_directory(tmp_path / "m", model),
        tiny.write_gguf(tmp_path / "m.gguf", model),
    ):
        assert read_source(path).spec.max_positions == MAX_POSITIONS
    wide = tiny.make(max_position_embeddings=1 << 20, head_dim=512)
    assert read_source(tiny.write_directory(tmp_path / "w", wide)).spec.max_positions == 1 << 15


# Tokenizers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merges": ["t h", "no such"]}, "tokenizer rules that do not work"),
        ({"merges": ["th"]}, "merge 'th' is not of two tokens"),
        ({"merges": [["t", "h", "e"]]}, "is not of two tokens"),
        ({"merges": None}, "not understood"),
        ({"vocab": {"a": 10**9}}, "a token 1000000000"),
        ({"vocab": {"a": -1}}, "a token -1"),
        ({"vocab": {"a": "b"}}, "a token 'b'"),
        ({"vocab": []}, "not understood"),
        ({"vocab": {"\ud800": 1}}, "not understood"),
        ({"type": "Unigram"}, "tokenizer model 'Unigram'"),
        ({"type": 5}, "tokenizer model 5"),
    ],
)
def test_tokenizer_models(directory: pathlib.Path, changes: dict[str, Any], message: str) -> None:
    change_model(directory, **changes)
    assert message in refusal(directory)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "pre_tokenizer": {
                    "type": "Split",
                    "pattern": {"Regex": "("},
                    "behavior": "Isolated",
                    "invert": False,
                }
            },
            "rules",
        ),
        ({"pre_tokenizer": {"type": "Nothing"}}, "tokenizer rules that do not work"),
        ({"pre_tokenizer": {"kind": "ByteLevel"}}, "'type' is missing"),
        ({"pre_tokenizer": {"type": "Sequence", "pretokenizers": 5}}, "not understood"),
        ({"normalizer": {"type": "Sequence"}}, "'normalizers' is missing"),
        ({"added_tokens": [{"id": 10**9, "content": "x"}]}, "a token 1000000000"),
        ({"added_tokens": [{"id": 300, "content": 5}]}, "added token that is no text"),
        ({"added_tokens": [5]}, "not understood"),
        ({"added_tokens": {"a": 5}}, "not understood"),
        ({"model": []}, "not understood"),
        ({"model": None}, "not understood"),
    ],
)
def test_tokenizer_files(directory: pathlib.Path, changes: dict[str, Any], message: str) -> None:
    change_json(directory / "tokenizer.json", **changes)
    assert message in refusal(directory)


def test_an_unknown_token_that_is_itself_unknown(directory: pathlib.Path) -> None:
    change_json(directory / "tokenizer.json", pre_tokenizer=None)
    change_model(directory, unk_token="nowhere")
    assert "tokenizer rules that do not work" in refusal(directory)


def test_a_token_that_the_rules_have_and_the_vocabulary_has_not_loses_nothing(
    directory: pathlib.Path,
) -> None:
    """An added token with the content of one of the model's, under another number."""
    file = directory / "tokenizer.json"
    described = json.loads(file.read_text())
    described["added_tokens"].append(
        {**described["added_tokens"][0], "id": 5, "content": "the", "special": False}
    )
    file.write_text(json.dumps(described))
    model = convert(read_source(directory))
    text = b"the other thing and a the"
    assert model.tokenizer.decode(model.tokenizer.encode(text)) == text


# Files that are no files, and that claim more than they hold


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "more.safetensors"]
)
@pytest.mark.parametrize("kind", ["pipe", "folder", "device", "link to itself", "empty", "pointer"])
def test_something_else_in_the_place_of_a_file(
    directory: pathlib.Path, name: str, kind: str
) -> None:
    file = directory / name
    file.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(file)
    elif kind == "folder":
        file.mkdir()
    elif kind == "device":
        file.symlink_to("/dev/zero")
    elif kind == "link to itself":
        file.symlink_to(file)
    else:
        file.write_bytes(
            b"version https://git-lfs.github.com/spec/v1\n" if kind == "pointer" else b""
        )
    said = refusal(directory)
    assert kind != "pointer" or "git lfs pull" in said
    assert kind not in ("pipe", "folder", "device") or "not a regular file" in said


def test_what_may_not_be_read(directory: pathlib.Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (directory / "config.json").chmod(0)
    with pytest.raises(ModelError, match="cannot be read"):
        source_digest(directory)


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"[]",
        b'{"a": 5}',
        b'{"a": {"dtype": "F32", "shape": [1000000000], "data_offsets": [0, 4000000000]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [4, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [0, 9223372036854775807, 9223372036854775807], '
        b'"data_offsets": [0, 0]}}',
        b'{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": 5, "shape": [1], "data_offsets": [0, 4]}}',
        b'{"__metadata__": {"a": 5}}',
        b'{"__metadata__": []}',
        b"[" * 50_000,
        b'{"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, '
        b'"b": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}, '
        b'"c": {"dtype": "F32", "shape": [400], "data_offsets": [0, 1600]}}',
    ],
)
def test_safetensors_headers(directory: pathlib.Path, header: bytes) -> None:
    (directory / "model.safetensors").write_bytes(
        struct.pack("<Q", len(header)) + header + bytes(16)
    )
    assert "model.safetensors" in refusal(directory) or "no tensor" in refusal(directory)


@pytest.mark.parametrize("length", [1 << 20, 1 << 40, 1 << 62, (1 << 64) - 1])
def test_a_safetensors_header_that_has_no_room(directory: pathlib.Path, length: int) -> None:
    (directory / "model.safetensors").write_bytes(struct.pack("<Q", length) + bytes(100))
    assert "its header has no room in it" in refusal(directory)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("I32", "int32 instead of floats"), ("F8_E4M3", "numbers of type 'F8_E4M3'")],
)
def test_tensors_that_are_no_floats(directory: pathlib.Path, kind: str, message: str) -> None:
    file = directory / "model.safetensors"
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(b'"F32"', f'"{kind}"'.encode())
    file.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])
    assert message in refusal(directory)


# GGUF


def gguf(tmp_path: pathlib.Path, change: Any) -> pathlib.Path:
    """A GGUF file with another header."""
    import random

    path = tiny.write_gguf(tmp_path / "m.gguf", tiny.make())
    draft = GGUFDraft(path.read_bytes())
    change(draft)
    rng = random.Random(0)
    rng.random = lambda: 1.0  # type: ignore[method-assign] # no lies but the one that is asked for
    path.write_bytes(draft.written(rng))
    return path


def set_field(key: str, kind: int, value: Any) -> Any:
    def change(draft: GGUFDraft) -> None:
        draft.fields = [field for field in draft.fields if field[0] != key] + [[key, kind, value]]

    return change


U32, F32, STRING, ARRAY = 4, 6, 8, 9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_field("llama.attention.head_count", U32, 0), "llama.attention.head_count is 0"),
        (set_field("llama.attention.head_count", STRING, "4"), "llama.attention.head_count is '4'"),
        (
            set_field("llama.attention.head_count_kv", ARRAY, [U32, [2, 2]]),
            "num_key_value_heads is [2, 2]",
        ),
        (set_field("llama.block_count", U32, 10**9), "layers is 1000000000"),
        (set_field("llama.rope.freq_base", F32, 1e-30), "rotary base"),
        (set_field("llama.rope.freq_base", F32, float("nan")), "rotary base nan"),
        (set_field("llama.attention.layer_norm_rms_epsilon", F32, 0.0), "norm_eps is 0.0"),
        (set_field("general.architecture", U32, 5), "architecture 5"),
        (set_field("general.alignment", U32, 0), "alignment 0"),
        (set_field("general.alignment", U32, 33), "alignment 33"),
        (set_field("tokenizer.ggml.tokens", ARRAY, [STRING, []]), "for 0 tokens"),
        (set_field("tokenizer.ggml.tokens", STRING, "a"), "a list of texts is needed"),
        (set_field("tokenizer.ggml.tokens", ARRAY, [U32, [1, 2]]), "a list of texts is needed"),
        (set_field("tokenizer.ggml.token_type", ARRAY, [U32, [1]]), "for 268 tokens"),
        (set_field("tokenizer.ggml.merges", ARRAY, [STRING, ["th"]]), "is not of two tokens"),
        (
            set_field("tokenizer.ggml.merges", ARRAY, [STRING, ["no such"]]),
            "tokenizer rules that do not work",
        ),
        (set_field("tokenizer.ggml.model", STRING, "bert"), "tokenizer family 'bert'"),
        (set_field("more", ARRAY, [ARRAY, []]), "values of type 9"),
        (set_field("more", 77, 0), "values of type 77"),
        (lambda draft: draft.fields.append(draft.fields[0]), "twice"),
        (lambda draft: draft.tensors.append(draft.tensors[0]), "is there twice"),
        (lambda draft: draft.tensors[0].__setitem__(1, [10**9, 10**4]), "has no room"),
        (lambda draft: draft.tensors[0].__setitem__(1, [1 << 62, 1 << 62]), "has the shape"),
        (lambda draft: draft.tensors[0].__setitem__(1, []), "0 dimensions"),
        (lambda draft: draft.tensors[0].__setitem__(2, 999), "not a valid GGMLQuantizationType"),
        (lambda draft: draft.tensors[0].__setitem__(2, 26), "is not supported"),
        (lambda draft: draft.tensors[0].__setitem__(3, 1 << 63), "has no room"),
        (lambda draft: setattr(draft, "version", 3 << 24), "version 50331648"),
        (lambda draft: setattr(draft, "rest", draft.rest[:-1]), "has no room"),
    ],
)
def test_gguf_headers(tmp_path: pathlib.Path, change: Any, message: str) -> None:
    assert message in refusal(gguf(tmp_path, change))


@pytest.mark.parametrize("count", [10**9, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("place", [8, 16])
def test_gguf_counts_that_have_no_room(tmp_path: pathlib.Path, count: int, place: int) -> None:
    path = tiny.write_gguf(tmp_path / "m.gguf", tiny.make())
    data = bytearray(path.read_bytes())
    data[place : place + 8] = struct.pack("<Q", count)
    path.write_bytes(data)
    assert "have no room" in refusal(path)
    with pytest.raises(UnsupportedModelError, match="have no room"):
        gguf_vocabulary(path)


@pytest.mark.parametrize("kind", [0, 8, 12])
def test_a_gguf_list_that_claims_a_thousand_million_entries(
    tmp_path: pathlib.Path, kind: int
) -> None:
    path = tmp_path / "m.gguf"
    head = (
        b"GGUF"
        + struct.pack("<IQQ", 3, 0, 1)
        + struct.pack("<Q", 1)
        + b"a"
        + struct.pack("<IIQ", 9, kind, 10**9)
    )
    path.write_bytes(head + bytes(100))
    assert "1,000,000,000 entries have no room" in refusal(path)


def test_memory_is_bounded_by_the_files_size(tmp_path: pathlib.Path) -> None:
    """Small files that claim much are refused by a process that may not have much."""
    directory = tiny.write_directory(tmp_path / "m", tiny.make())
    change_model(directory, vocab={"a": 2**20 - 1})
    claims = tmp_path / "claims.gguf"
    claims.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 40, 1 << 40) + bytes(1000))
    script = (
        "import pathlib, resource, sys\n"
        "from llmzip.model.convert import convert\n"
        "from llmzip.model.sources import read_source\n"
        "from llmzip.errors import UnsupportedModelError\n"
        "import gguf, tokenizers\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        convert(read_source(pathlib.Path(path)))\n"
        "    except UnsupportedModelError:\n"
        "        print('refused')\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(directory), str(claims)],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, peak = ran.stdout.split()
    assert (first, second) == ("refused", "refused")
    assert int(peak) < 100  # MiB
