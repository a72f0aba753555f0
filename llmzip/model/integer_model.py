"""An integer model: specification, vocabulary and tensors, its fingerprint, and its file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import struct
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from llmzip.errors import IntegrityError, ModelMismatchError
from llmzip.model.spec import ARITHMETIC_VERSION, ModelSpec
from llmzip.model.tokenizer import Tokenizer
from llmzip.model.vocabulary import Vocabulary

MODEL_FILE = "model.safetensors"
_FORMAT = "llmzip-integer-model"

Tensors = Mapping[str, npt.NDArray[np.generic]]


@dataclasses.dataclass(frozen=True)
class IntegerModel:
    """What an engine computes with. Two models with one fingerprint give the same integers everywhere."""

    spec: ModelSpec
    vocabulary: Vocabulary
    tensors: Tensors
    """`embedding`, `head` and `layers.<i>.<q|k|v|o|gate|up|down>`, each as `.weight` [N, K] int8 and `.scale` [N]
    float32; `rope` [positions, 2, D/2] int16."""
    fingerprint: bytes

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        """Cuts text into this model's tokens."""
        return Tokenizer(self.vocabulary)

    @classmethod
    def build(cls, spec: ModelSpec, vocabulary: Vocabulary, tensors: Tensors) -> IntegerModel:
        """Put the parts together and compute the fingerprint."""
        return cls(spec, vocabulary, tensors, fingerprint(spec, vocabulary, tensors))

    def save(self, path: pathlib.Path) -> None:
        """Write the model as one safetensors file (not atomic: see the store)."""
        metadata = {
            "format": _FORMAT,
            "arithmetic": str(ARITHMETIC_VERSION),
            "fingerprint": self.fingerprint.hex(),
            "spec": self.spec.to_json(),
            "token_bytes": json.dumps([t.hex() for t in self.vocabulary.token_bytes], separators=(",", ":")),
            "rules": self.vocabulary.rules,
            "rules_sha256": _text_digest(self.vocabulary.rules),  # the fingerprint leaves them out
        }
        arrays = {name: np.ascontiguousarray(a) for name, a in self.tensors.items()}
        safetensors.numpy.save_file(arrays, path, metadata)

    @classmethod
    def load(cls, path: pathlib.Path) -> IntegerModel:
        """Read a model and verify its fingerprint: a damaged model would write files that nothing can read.

        Raises ModelMismatchError for another arithmetic version, IntegrityError for damage.
        """
        repair = "run `llmzip models remove` and `llmzip models pull` for this model"
        try:
            with safetensors.safe_open(path, framework="np") as opened:
                metadata = opened.metadata() or {}
            tensors = _mapped_tensors(path)
            if metadata["arithmetic"] != str(ARITHMETIC_VERSION):
                raise ModelMismatchError(
                    f"{path}: arithmetic version {metadata['arithmetic']}, this program has {ARITHMETIC_VERSION}; "
                    f"{repair}"
                )
            spec = ModelSpec.from_json(metadata["spec"])
            token_bytes = tuple(bytes.fromhex(t) for t in json.loads(metadata["token_bytes"]))
            stated = bytes.fromhex(metadata["fingerprint"])
            rules = metadata["rules"]
            intact = metadata["format"] == _FORMAT and metadata["rules_sha256"] == _text_digest(rules)
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise IntegrityError(f"{path}: damaged or not an integer model ({error}); {repair}") from error
        model = cls.build(spec, Vocabulary(token_bytes, spec.start_token, spec.escape_token, rules), tensors)
        if not intact or model.fingerprint != stated:
            raise IntegrityError(f"{path}: the weights or cutting rules do not match their digests; {repair}")
        return model


_DTYPES: dict[str, np.dtype[np.generic]] = {"I8": np.dtype("i1"), "I16": np.dtype("<i2"), "F32": np.dtype("<f4")}


def _mapped_tensors(path: pathlib.Path) -> Tensors:
    """The tensors of a safetensors file that the library has found sound, in the page cache instead of copied."""
    with path.open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    data = np.memmap(path, np.uint8, "c", offset=8 + length)  # writable, for torch, but never written back
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            first, end = entry["data_offsets"]
            little = np.asarray(data[first:end]).view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
            tensors[name] = little.astype(little.dtype.newbyteorder("="), copy=False)
    return tensors


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def fingerprint(spec: ModelSpec, vocabulary: Vocabulary, tensors: Tensors) -> bytes:
    """SHA-256 over everything that decides a coded bit (docs/arithmetic.md, section 3.4)."""
    digest = hashlib.sha256()

    def field(data: bytes) -> None:
        digest.update(struct.pack("<Q", len(data)))
        digest.update(data)

    field(b"llmzip arithmetic %d" % ARITHMETIC_VERSION)
    field(spec.to_json().encode("ascii"))
    field(b"".join(struct.pack("<I", len(t)) + t for t in vocabulary.token_bytes))
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        field(f"{name} {array.dtype.name} {list(array.shape)}".encode("ascii"))
        digest.update(struct.pack("<Q", little.nbytes))
        digest.update(little.data)
    return digest.digest()
