"""Float models as they are published: GGUF files and Hugging Face directories.

What no feature covers is refused, never approximated; what cannot be understood is
refused with one error, before anything large is allocated.
"""

from __future__ import annotations

import hashlib
import pathlib

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.directory_source import read_directory
from llmzip.model.files import MAX_CONFIG, MAX_TOKENIZER, digest_of, one_error
from llmzip.model.float_model import FloatModel
from llmzip.model.gguf_file import GGUFFile
from llmzip.model.gguf_source import read_gguf
from llmzip.model.peft_folder import PeftAdapter
from llmzip.model.vocabulary import Vocabulary


def read_source(path: pathlib.Path, adapter: PeftAdapter | None = None) -> FloatModel:
    """The float model in a `.gguf` file or a directory with config.json, tokenizer.json and
    safetensors files; adapter: merged into a directory's.

    Raises UnsupportedModelError for another architecture or a file that cannot be understood.
    """
    with one_error(path, "not a complete model"):
        if path.is_dir():
            return read_directory(path, adapter)
        if adapter:
            raise UnsupportedModelError(
                "a PEFT adapter is merged into the folder or hub model that it was trained on, "
                "not into a GGUF file"
            )
        return read_gguf(path)


def gguf_vocabulary(path: pathlib.Path) -> Vocabulary:
    """The vocabulary in a `.gguf` file of any architecture. Raises UnsupportedModelError where it
    is of no known kind.
    """
    with one_error(path, "no tokenizer in the file"):
        return vocabulary.from_gguf(GGUFFile(path).field)


def source_digest(path: pathlib.Path) -> str:
    """SHA-256, in hex, of a `.gguf` file, or of the names and digests of the files that make up a
    model directory.
    """
    with one_error(path, "not a complete model"):
        if not path.is_dir():
            return digest_of(path).hex()
        digest = hashlib.sha256()
        limits = {path / "config.json": MAX_CONFIG, path / "tokenizer.json": MAX_TOKENIZER}
        for file in sorted([*limits, *path.glob("*.safetensors")]):
            if file.is_file():
                digest.update(file.name.encode("utf-8") + b"\0" + digest_of(file, limits.get(file)))
        return digest.hexdigest()
