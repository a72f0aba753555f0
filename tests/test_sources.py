"""Reading published models: every format of the same weights is the same model, and the integers
follow the floats.
"""

from __future__ import annotations

import json
import pathlib
from typing import Any

import gguf
import numpy as np
import pytest
import safetensors.numpy
import tokenizers
import torch
import transformers

from llmzip.engine.torch_engine import TorchEngine
from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.convert import convert
from llmzip.model.sources import read_source, source_digest
from tests import tiny

FINGERPRINT = "a3f5d61fdccfe2cb055b165a7ab978ea6b6d38a3867275ee1b35844dc6903b09"
"""Of tiny.make(): pins reader, conversion and fingerprint. It changes with the arithmetic version,
and only then.
"""


def fingerprint(path: pathlib.Path) -> str:
    return convert(read_source(path)).fingerprint.hex()


def test_directory_fingerprint_is_pinned(tmp_path: pathlib.Path) -> None:
    assert fingerprint(tiny.write_directory(tmp_path / "m", tiny.make())) == FINGERPRINT


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_weights_and_shards_are_the_same_model(tmp_path: pathlib.Path, dtype: str) -> None:
    assert (
        fingerprint(tiny.write_directory(tmp_path / "m", tiny.make(), dtype, shards=3))
        == FINGERPRINT
    )


def test_gguf_is_the_same_model(tmp_path: pathlib.Path) -> None:
    assert fingerprint(tiny.write_gguf(tmp_path / "m.gguf", tiny.make())) == FINGERPRINT


def test_untied_head_is_another_model_in_both_formats(tmp_path: pathlib.Path) -> None:
    model = tiny.make(tied=False)
    found = fingerprint(tiny.write_directory(tmp_path / "m", model))
    assert found == fingerprint(tiny.write_gguf(tmp_path / "m.gguf", model))
    assert found != FINGERPRINT


def test_head_size_of_its_own(tmp_path: pathlib.Path) -> None:
    model = tiny.make(head_dim=32)
    found = fingerprint(tiny.write_directory(tmp_path / "m", model))
    fields = {"attention.key_length": 32, "attention.value_length": 32}
    assert found == fingerprint(tiny.write_gguf(tmp_path / "m.gguf", model, **fields))


def test_what_transformers_saves_is_the_same_model(tmp_path: pathlib.Path) -> None:
    written = tiny.write_directory(tmp_path / "m", tiny.make())
    saved = tmp_path / "saved"
    transformers.LlamaForCausalLM.from_pretrained(written, dtype=torch.float32).save_pretrained(
        saved
    )
    (saved / "tokenizer.json").write_bytes((written / "tokenizer.json").read_bytes())
    assert fingerprint(saved) == FINGERPRINT


@pytest.mark.parametrize(
    "changes", [{"tied": True}, {"tied": False, "head_dim": 32, "num_key_value_heads": 1}]
)
def test_integers_follow_the_float_model(tmp_path: pathlib.Path, changes: dict[str, Any]) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make(seed=1, **changes))
    reference = transformers.LlamaForCausalLM.from_pretrained(path, dtype=torch.float32)
    engine = TorchEngine(convert(read_source(path)))
    tokens = (
        np.random.Generator(np.random.PCG64(2))
        .integers(0, engine.model.spec.vocab, (1, 60))
        .astype(np.int32)
    )
    with torch.inference_mode():
        expected = torch.log_softmax(
            reference(torch.from_numpy(tokens.astype(np.int64))).logits[0], -1
        ).numpy()
    head = engine.session(1, 64, 60).advance(tokens)
    weights = engine.token_weights(head.vectors[0], head.scales[0]).astype(np.float64)
    found = np.log(weights / weights.sum(axis=1, keepdims=True))
    expected, found = (x - x.mean(axis=1, keepdims=True) for x in (expected, found))
    cosine = (
        (expected * found).sum(axis=1)
        / np.linalg.norm(expected, axis=1)
        / np.linalg.norm(found, axis=1)
    )
    assert cosine.min() > 0.99


def test_digest_covers_the_files_that_matter_and_no_others(tmp_path: pathlib.Path) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make())
    before = source_digest(path)
    (path / "README.md").write_text("notes")
    assert source_digest(path) == before
    (path / "config.json").write_text((path / "config.json").read_text() + "\n")
    assert source_digest(path) != before


# What is refused, and how it is said.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "clip"}, "model_type 'clip'"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        (
            {"rope_scaling": {"rope_type": "dynamic", "factor": 8.0}},
            "scaled rotary positions .'dynamic'",
        ),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized weights"),
        ({"hidden_size": "wide"}, "not understood"),
        ({"vocab_size": 10}, "the tokenizer has 268 tokens, the model only 10"),
        ({"bos_token_id": 1000}, "start_token 1000 is outside the vocabulary"),
    ],
)
def test_configurations_outside_the_arithmetic(
    tmp_path: pathlib.Path, changes: dict[str, Any], message: str
) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make())
    config = json.loads((path / "config.json").read_text()) | changes
    (path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModelError, match=message):
        read_source(path)


def test_incomplete_directories(tmp_path: pathlib.Path) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make())
    tensors = safetensors.numpy.load_file(path / "model.safetensors")
    missing = tensors.pop("model.layers.1.mlp.up_proj.weight")
    safetensors.numpy.save_file(tensors, path / "model.safetensors")
    with pytest.raises(
        UnsupportedModelError, match=r"no tensor 'model\.layers\.1\.mlp\.up_proj\.weight'"
    ):
        convert(read_source(path))
    safetensors.numpy.save_file(
        tensors | {"model.layers.1.mlp.up_proj.weight": missing[1:]}, path / "model.safetensors"
    )
    with pytest.raises(
        UnsupportedModelError, match=r"layers\.1\.up: shape \(127, 64\), expected \(128, 64\)"
    ):
        convert(read_source(path))
    (path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(UnsupportedModelError, match="not a readable safetensors file"):
        read_source(path)
    (path / "model.safetensors").unlink()
    with pytest.raises(UnsupportedModelError, match=r"no \*\.safetensors file"):
        read_source(path)
    (path / "config.json").write_text("{")
    with pytest.raises(UnsupportedModelError, match="not understood"):
        read_source(path)
    (path / "config.json").unlink()
    with pytest.raises(UnsupportedModelError, match=r"no config\.json"):
        read_source(path)


@pytest.mark.parametrize(
    "name",
    [
        "model.layers.0.self_attn.q_proj.bias",
        "model.layers.1.self_attn.q_norm.weight",
        "model.layers.2.mlp.up_proj.weight",
        "model.layers.0.attn.bias",
        "score.weight",
        "lm_head.bias",
    ],
)
def test_a_tensor_that_no_feature_explains_is_refused(tmp_path: pathlib.Path, name: str) -> None:
    model = tiny.make()
    model.tensors[name] = np.zeros(64, np.float32)
    path = tiny.write_directory(tmp_path / "m", model, shards=2)
    with pytest.raises(UnsupportedModelError, match=f"'{name}': no part of the decoder"):
        read_source(path)


def test_tensors_without_a_meaning_change_nothing(tmp_path: pathlib.Path) -> None:
    model = tiny.make()
    model.tensors["model.layers.1.self_attn.rotary_emb.inv_freq"] = np.ones(8, np.float32)
    model.tensors["model.rotary_emb.inv_freq"] = np.ones(8, np.float32)
    model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"]
    path = tiny.write_directory(tmp_path / "m", model)
    assert fingerprint(path) == FINGERPRINT
    # The weights once more, under other names, as some publish them.
    safetensors.numpy.save_file(
        {"layers.0.attention.wq.weight": np.zeros(4)}, path / "consolidated.safetensors"
    )
    assert fingerprint(path) == FINGERPRINT


def test_files_beside_the_weights_change_nothing(tmp_path: pathlib.Path) -> None:
    """Another copy beside model.safetensors or its shards, as transformers passes over it, too."""
    other = {"model.embed_tokens.weight": np.zeros((268, 64), np.float32)}
    whole = tiny.write_directory(tmp_path / "whole", tiny.make())
    for name in ("model_old", "model-00002-of-00002"):
        safetensors.numpy.save_file(other, whole / f"{name}.safetensors")
    assert fingerprint(whole) == FINGERPRINT
    shards = tiny.write_directory(tmp_path / "shards", tiny.make(), shards=2)
    safetensors.numpy.save_file(other, shards / "model.fp16-00001-of-00002.safetensors")
    assert fingerprint(shards) == FINGERPRINT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("model-00001-of-00001", r"both model-00001-of-00001.* and model-00001-of-00003.* have"),
        ("model-00004-of-00004", r"model-00001-of-00004\S+ is missing, though model-00004-of-"),
    ],
)
def test_shards_of_two_models_are_refused(tmp_path: pathlib.Path, name: str, message: str) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make(), shards=3)
    copied = safetensors.numpy.load_file(path / "model-00001-of-00003.safetensors")
    safetensors.numpy.save_file(copied, path / f"{name}.safetensors")
    with pytest.raises(UnsupportedModelError, match=message):
        read_source(path)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_missing_shard_is_named(tmp_path: pathlib.Path, number: int) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make(), shards=3)
    (path / f"model-0000{number}-of-00003.safetensors").unlink()
    with pytest.raises(
        UnsupportedModelError, match=rf"model-0000{number}-of-00003\.safetensors is missing"
    ):
        read_source(path)


def test_a_tied_head_that_is_not_the_embedding_is_refused(tmp_path: pathlib.Path) -> None:
    model = tiny.make()
    model.tensors["lm_head.weight"] = model.tensors["model.embed_tokens.weight"] + 1
    with pytest.raises(UnsupportedModelError, match=r"'lm_head\.weight' is not the embedding"):
        read_source(tiny.write_directory(tmp_path / "m", model))


def test_a_folder_with_an_adapter_is_no_model(tmp_path: pathlib.Path) -> None:
    path = tiny.write_directory(tmp_path / "m", tiny.make())
    (path / "adapter_config.json").write_text("{}")
    with pytest.raises(UnsupportedModelError, match="give the adapter as --adapter"):
        read_source(path)


def test_broken_gguf(tmp_path: pathlib.Path) -> None:
    path = tiny.write_gguf(tmp_path / "m.gguf", tiny.make())
    data = path.read_bytes()
    for broken in (b"", b"GGUF", data[: len(data) // 2], b"\0" * 100):
        path.write_bytes(broken)
        with pytest.raises(UnsupportedModelError):
            read_source(path)


def test_gguf_with_partly_rotated_heads(tmp_path: pathlib.Path) -> None:
    path = tiny.write_gguf(tmp_path / "m.gguf", tiny.make(), **{"rope.dimension_count": 8})
    with pytest.raises(UnsupportedModelError, match="rotary positions on a part"):
        read_source(path)


# Vocabularies. A cut is right when the bytes of its tokens are the text.


TEXTS = [
    "the cat and the hat",
    "  two  spaces\n\tand a tab",
    "na\u00efve caf\u00e9 \u2014 \U0001f600",
    "",
    " ",
    "in in",
]


def cut(words: vocabulary.Vocabulary, text: str) -> bytes:
    ids = tokenizers.Tokenizer.from_str(words.rules).encode(text, add_special_tokens=False).ids
    return b"".join(words.token_bytes[i] for i in ids)


def sentencepiece_tokenizer(merges_as_pairs: bool, metaspace: bool) -> dict[str, Any]:
    """A tokenizer.json like Llama 2's, in its older form (normalizer) or the newer one
    (Metaspace).
    """
    space = "\u2581"
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256))]
    pieces += [space, *"abcdehinot", "th", "the", f"{space}the", "in", "<0x", "\n"]
    merges = [("t", "h"), ("th", "e"), (space, "the"), ("i", "n")]
    special = [
        {
            "id": i,
            "content": t,
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
        }
        | {"normalized": False}
        for i, t in enumerate(pieces[:3])
    ]
    marked = {"type": "Replace", "pattern": {"String": " "}, "content": space}
    prefixed = {
        "type": "Sequence",
        "normalizers": [{"type": "Prepend", "prepend": space}, marked, {"type": "NFC"}],
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None if metaspace else prefixed,
        "pre_tokenizer": (
            {
                "type": "Metaspace",
                "replacement": space,
                "add_prefix_space": True,
                "prepend_scheme": "first",
            }
            if metaspace
            else None
        ),
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {t: i for i, t in enumerate(pieces)},
            "merges": [list(m) for m in merges]
            if merges_as_pairs
            else [" ".join(m) for m in merges],
        },
    }


@pytest.mark.parametrize("merges_as_pairs", [False, True])
@pytest.mark.parametrize("metaspace", [False, True])
def test_sentencepiece_vocabulary(
    tmp_path: pathlib.Path, merges_as_pairs: bool, metaspace: bool
) -> None:
    described = sentencepiece_tokenizer(merges_as_pairs, metaspace)
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), "utf-8")
    words = vocabulary.from_directory(tmp_path, {"bos_token_id": 1})
    ids = described["model"]["vocab"]
    assert (words.start_token, words.escape_token) == (1, 0)
    assert words.token_bytes[:3] == (b"", b"", b"")
    assert words.token_bytes[ids["<0x0A>"]] == b"\n"
    assert words.token_bytes[ids["<0xFF>"]] == b"\xff"
    assert words.token_bytes[ids["\u2581the"]] == b" the"
    assert words.token_bytes[ids["<0x"]] == b"<0x"
    for text in TEXTS:
        assert cut(words, text) == text.encode("utf-8")
    with_space = tokenizers.Tokenizer.from_str(words.rules).encode("in the").tokens
    assert with_space == ["in", "\u2581the"]


def test_byte_level_vocabulary(tmp_path: pathlib.Path) -> None:
    described = tiny.make().tokenizer()
    described["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            described["pre_tokenizer"],
        ],
    }
    described["pre_tokenizer"]["pretokenizers"][1]["add_prefix_space"] = True
    described["model"]["merges"] = [merge.split(" ") for merge in tiny.MERGES]
    special = described["added_tokens"]
    special.append({**special[0], "id": 300, "content": "\u00e9t\u00e9", "special": False})
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), "utf-8")
    words = vocabulary.from_directory(tmp_path, {"bos_token_id": None})
    assert (words.start_token, words.escape_token) == (0, 0)
    assert len(words.token_bytes) == 301
    assert words.token_bytes[290] == b""  # a hole between the model's tokens and the added one
    assert words.token_bytes[300] == "\u00e9t\u00e9".encode()
    assert sorted(words.token_bytes[2:258]) == [bytes([b]) for b in range(256)]
    for text in TEXTS:
        assert cut(words, text) == text.encode("utf-8")


@pytest.mark.parametrize("bos", [-1, None, [1, 2]])
def test_unusable_start_tokens_fall_back_to_the_escape_token(
    tmp_path: pathlib.Path, bos: Any
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tiny.make().tokenizer()), "utf-8")
    assert vocabulary.from_directory(tmp_path, {"bos_token_id": bos}).start_token == 0


def gguf_field(values: dict[str, Any]) -> Any:
    def field(key: str, default: Any = ...) -> Any:
        found = values.get(key, default)
        if found is ...:
            raise KeyError(key)
        return found

    return field


def test_gguf_user_defined_tokens_are_plain_text() -> None:
    kinds = gguf.TokenType
    field = gguf_field(
        {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.tokens": ["<|end|>", "\u00e9", "\u00e9", "[PAD3]"],
            "tokenizer.ggml.token_type": [
                kinds.CONTROL,
                kinds.NORMAL,
                kinds.USER_DEFINED,
                kinds.UNUSED,
            ],
            "tokenizer.ggml.merges": [],
        }
    )
    assert vocabulary.from_gguf(field).token_bytes == (b"", b"\xe9", "\u00e9".encode(), b"")


@pytest.mark.parametrize(
    ("family", "extra", "start"),
    [
        ("llama", {}, 1),
        ("llama", {"tokenizer.ggml.add_bos_token": False}, 0),
        ("gpt2", {}, 0),
        ("gpt2", {"tokenizer.ggml.add_bos_token": True}, 1),
        ("gpt2", {"tokenizer.ggml.pre": "llama-bpe"}, 1),
    ],
)
def test_gguf_start_token(family: str, extra: dict[str, Any], start: int) -> None:
    kinds = gguf.TokenType
    field = gguf_field(
        {
            "tokenizer.ggml.model": family,
            "tokenizer.ggml.tokens": ["<unk>", "<s>", "<0x41>", "b"],
            "tokenizer.ggml.token_type": [kinds.UNKNOWN, kinds.CONTROL, kinds.BYTE, kinds.NORMAL],
            "tokenizer.ggml.merges": [],
            "tokenizer.ggml.bos_token_id": 1,
            **extra,
        }
    )
    words = vocabulary.from_gguf(field)
    assert (words.start_token, words.escape_token) == (start, 0)
    if family == "llama":
        assert words.token_bytes == (b"", b"", b"A", b"b")
