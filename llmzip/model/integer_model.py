"""An integer model: specification, vocabulary and tensors, its fingerprint, and its file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import struct
from collections.abc import Sequence

import numpy as np
import safetensors.numpy

from llmzip.errors import FormatError, IntegrityError, ModelMismatchError, UnsupportedModelError
from llmzip.model.bounds import Tensors, check_tensors
from llmzip.model.chat import ChatFormat
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.model.spec import ARITHMETIC_VERSION, ModelSpec
from llmzip.model.tokenizer import Tokenizer
from llmzip.model.vocabulary import Vocabulary

MODEL_FILE = "model.safetensors"
_FORMAT = "llmzip-integer-model"


@dataclasses.dataclass(frozen=True)
class IntegerModel:
    """What an engine computes with. Two models with one fingerprint give the same integers
    everywhere.
    """

    spec: ModelSpec
    vocabulary: Vocabulary
    tensors: Tensors
    """`embedding`, `head` and `layers.<i>.<q|k|v|o|gate|up|down>`, each as `.weight` [N, K] int8
    and `.scale` [N] float32; `rope` [positions, 2, D/2] int16.
    """
    fingerprint: bytes

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together or are outside docs/arithmetic.md, section 2.5:
        UnsupportedModelError.
        """
        words = self.vocabulary
        if len(words.token_bytes) != self.spec.vocab or words.token_bytes[self.spec.escape_token]:
            raise UnsupportedModelError(
                f"{len(words.token_bytes)} tokens for a vocabulary of {self.spec.vocab}, "
                "or an escape token with text"
            )
        check_tensors(self.spec, self.tensors)

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Splits text into this model's tokens."""
        return Tokenizer(self.vocabulary)

    @classmethod
    def build(cls, spec: ModelSpec, vocabulary: Vocabulary, tensors: Tensors) -> IntegerModel:
        """Join the parts and compute the fingerprint. Raises what the constructor raises."""
        return cls(spec, vocabulary, tensors, fingerprint(spec, vocabulary, tensors))

    def save(self, path: pathlib.Path) -> None:
        """Write the model as one safetensors file (not atomic: see the store)."""
        metadata = {
            "format": _FORMAT,
            "arithmetic": str(ARITHMETIC_VERSION),
            "fingerprint": self.fingerprint.hex(),
            "spec": self.spec.to_json(),
            "token_bytes": json.dumps(
                [t.hex() for t in self.vocabulary.token_bytes], separators=(",", ":")
            ),
            "rules": self.vocabulary.rules,
            "rules_sha256": text_digest(self.vocabulary.rules),  # the fingerprint leaves them out
        }
        if self.vocabulary.chat:
            metadata["chat"] = self.vocabulary.chat.to_json()
            metadata["chat_sha256"] = text_digest(metadata["chat"])
        arrays = {name: np.ascontiguousarray(a) for name, a in self.tensors.items()}
        safetensors.numpy.save_file(arrays, path, metadata)

    @classmethod
    def load(cls, path: pathlib.Path) -> IntegerModel:
        """Read a model and verify its fingerprint: a damaged model would write files that nothing
        can read.

        Its tensors are read into memory, and what was read is verified: the file may change
        afterwards.

        Raises ModelMismatchError for another arithmetic version, IntegrityError for damage,
        UnsupportedModelError for a sound file of a model that is outside the bounds of
        docs/arithmetic.md, section 2.5.
        """
        repair = "run `llmzip models remove` and `llmzip models pull` for this model"
        try:
            file = SafetensorsFile(path)
            metadata = file.metadata
            if metadata["arithmetic"] != str(ARITHMETIC_VERSION):
                raise ModelMismatchError(
                    f"{path}: arithmetic version {metadata['arithmetic']}, "
                    f"this program has {ARITHMETIC_VERSION}; {repair}"
                )
            tensors = {name: file.tensor(name) for name in file.names}
            token_bytes = tuple(bytes.fromhex(t) for t in json.loads(metadata["token_bytes"]))
            rules, stated = metadata["rules"], bytes.fromhex(metadata["fingerprint"])
            intact = metadata["format"] == _FORMAT and metadata["rules_sha256"] == text_digest(
                rules
            )
            described = metadata["spec"]
            chat = metadata.get("chat")
            intact = intact and (chat is None or metadata["chat_sha256"] == text_digest(chat))
            conversations = ChatFormat.from_json(chat) if chat and intact else None
            intact = intact and _fingerprint(described, token_bytes, tensors) == stated
        except (UnsupportedModelError, KeyError, TypeError, ValueError, RecursionError) as error:
            raise IntegrityError(
                f"{path}: damaged or not an integer model ({error}); {repair}"
            ) from error
        if not intact:
            raise IntegrityError(
                f"{path}: the weights or tokenizer rules do not match their digests; {repair}"
            )
        try:
            spec = ModelSpec.from_json(described)
            return cls(
                spec,
                Vocabulary(token_bytes, spec.start_token, spec.escape_token, rules, conversations),
                tensors,
                stated,
            )
        except (FormatError, UnsupportedModelError) as error:
            raise UnsupportedModelError(f"{path}: {error}") from error


def text_digest(text: str) -> str:
    """SHA-256 of a text, in hex."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def fingerprint(spec: ModelSpec, vocabulary: Vocabulary, tensors: Tensors) -> bytes:
    """SHA-256 over everything that decides a coded bit (docs/arithmetic.md, section 3.4)."""
    return _fingerprint(spec.to_json(), vocabulary.token_bytes, tensors)


def _fingerprint(spec: str, token_bytes: Sequence[bytes], tensors: Tensors) -> bytes:
    digest = hashlib.sha256()

    def field(data: bytes) -> None:
        digest.update(struct.pack("<Q", len(data)))
        digest.update(data)

    field(b"llmzip arithmetic %d" % ARITHMETIC_VERSION)
    field(spec.encode("utf-8"))
    lengths = {n: struct.pack("<I", n) for n in set(map(len, token_bytes))}
    field(b"".join([lengths[len(t)] + t for t in token_bytes]))
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        field(f"{name} {array.dtype.name} {list(array.shape)}".encode())
        digest.update(struct.pack("<Q", little.nbytes))
        digest.update(little.data)
    return digest.digest()
