"""A model as it is published: a folder with config.json, *.safetensors and tokenizer.json
(docs/arithmetic.md, 3)."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np

from tests.reference_decoder.conversion import Matrix, convert
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.featured_conversion import KINDS, convert_featured, features_of
from tests.reference_decoder.model import Model, Spec
from tests.reference_decoder.safetensors import Safetensors

_MAX_POSITIONS, _MAX_ROTARY_NUMBERS = 1 << 17, 1 << 24


def read_model(folder: pathlib.Path) -> Model:
    """The integer model of a folder; some seconds for a small one, minutes for a real one."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
        files = [Safetensors(path) for path in sorted(folder.glob("*.safetensors"))]
    except (OSError, ValueError) as error:
        raise DecodeError(
            f"{folder}: no model is here ({error}); a folder with config.json, tokenizer.json and "
            "*.safetensors is needed, as Hugging Face publishes them: tests/data/tiny is one"
        ) from error
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = config.get("model_type")
    if kind not in ("llama", *KINDS) or rope.get("rope_type", "default") != "default":
        raise DecodeError(f"{folder}: only plain Llama models and {', '.join(KINDS)} are covered")
    spec, token_bytes = spec_of(config, tokenizer)
    tied = config.get("tie_word_embeddings", False)

    def read(name: str) -> Matrix:
        file = next((file for file in files if name in file.header), None)
        if file is None:
            raise DecodeError(f"{folder}: no tensor {name}")
        return file.tensor(name).astype(np.float64)

    def load(name: str) -> Matrix:
        name = "model.embed_tokens" if tied and name == "lm_head" else name
        return read(name + ".weight")

    if kind in KINDS:
        tensors = convert_featured(spec, read, config)
        return Model(spec, tensors, token_bytes, rules_of(tokenizer))
    theta = rope.get("rope_theta") or config.get("rope_theta") or 10000.0
    return Model(spec, convert(spec, load, float(theta)), token_bytes, rules_of(tokenizer))


def spec_of(config: dict[str, Any], tokenizer: dict[str, Any]) -> tuple[Spec, tuple[bytes, ...]]:
    """The specification (2.1), and what each token stands for (3.7)."""
    heads, vocab = config["num_attention_heads"], config["vocab_size"]
    head_dim = config.get("head_dim") or config["hidden_size"] // heads
    pieces, escape_token = pieces_of(tokenizer, vocab)
    start = config.get("bos_token_id")
    published = config["max_position_embeddings"]
    spec = Spec(
        layers=config["num_hidden_layers"],
        d_model=config["hidden_size"],
        heads=heads,
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        d_ff=config["intermediate_size"],
        vocab=vocab,
        max_positions=min(published, _MAX_POSITIONS, _MAX_ROTARY_NUMBERS // head_dim),
        norm_eps=float(np.float32(config.get("rms_norm_eps") or config["layer_norm_eps"])),
        start_token=start if isinstance(start, int) and start >= 0 else escape_token,
        escape_token=escape_token,
        features=features_of(config) if config["model_type"] in KINDS else None,
    )
    return spec, pieces


def pieces_of(tokenizer: dict[str, Any], vocab: int) -> tuple[tuple[bytes, ...], int]:
    """The bytes of each token of a byte-level BPE tokenizer, and the escape token (3.7)."""
    if "ByteLevel" not in json.dumps([tokenizer["pre_tokenizer"], tokenizer["decoder"]]):
        raise DecodeError("only byte-level tokenizers are covered")
    alphabet = byte_alphabet()
    pieces = [b""] * vocab
    for token, i in tokenizer["model"]["vocab"].items():
        known = all(character in alphabet for character in token)
        pieces[i] = bytes(alphabet[c] for c in token) if known else token.encode()
    special = []
    for added in tokenizer["added_tokens"]:
        pieces[added["id"]] = b"" if added["special"] else added["content"].encode()
        special += [added["id"]] * added["special"]
    escape_token = min(special, default=0)
    pieces[escape_token] = b""
    return tuple(pieces), escape_token


def rules_of(tokenizer: dict[str, Any]) -> str:
    """The published tokenizer without what would change the text (3.7)."""
    bare = tokenizer | {"added_tokens": [], "normalizer": None, "post_processor": None}
    return json.dumps(bare).replace('"add_prefix_space": true', '"add_prefix_space": false')


def byte_alphabet() -> dict[str, int]:
    """GPT-2's visible characters for the 256 bytes: printable ones stand for themselves, others
    come behind."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
