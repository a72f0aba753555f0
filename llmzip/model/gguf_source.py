"""Float models in GGUF files."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.files import shown
from llmzip.model.float_model import FloatModel
from llmzip.model.gguf_families import (
    ARCHITECTURES,
    ROTARY_TENSORS,
    architecture_of,
    config_of,
    family_of,
)
from llmzip.model.gguf_file import GGUFFile
from llmzip.model.published_decoder import read_decoder
from llmzip.types import Float32Array


def read_gguf(path: pathlib.Path) -> FloatModel:
    """The model in a `.gguf` file. Raises UnsupportedModelError or, from what cannot be understood,
    other errors.
    """
    file = GGUFFile(path)
    name, names = file.field("general.architecture"), frozenset(file.names)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise UnsupportedModelError(
            f"architecture {shown(name)} is not supported (only {', '.join(ARCHITECTURES)})"
        )
    words = vocabulary.from_gguf(file.field)
    config = config_of(name, file.fields, names, file.tensor)
    config["vocab_size"] = len(words.token_bytes)
    decoder = read_decoder(config, family_of(architecture_of(name, file.fields), names))

    def load(wanted: Sequence[str]) -> Float32Array:
        found = next((one for one in wanted if one in names), None)
        if found is None:
            raise UnsupportedModelError(f"{path}: no tensor {wanted[0]!r}")
        return file.tensor(found)

    model = decoder.float_model(words, load)
    known = {stored for part in model.names() for stored in decoder.stored(part)}
    unknown = sorted(names - known - {*ROTARY_TENSORS})
    if unknown:  # a feature that would be left out without a word
        raise UnsupportedModelError(f"{shown(unknown[0])}: no part of {name} that is supported")
    return model
