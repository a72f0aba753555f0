"""Float models in directories as Hugging Face publishes them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.files import MAX_CONFIG, parse_object, read_whole
from llmzip.model.float_model import FloatModel
from llmzip.model.published_decoder import read_decoder
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.types import Float32Array


def read_directory(path: pathlib.Path) -> FloatModel:
    """The model in a directory. Raises UnsupportedModelError or, from what cannot be understood,
    other errors.
    """
    try:
        config = parse_object(read_whole(path / "config.json", MAX_CONFIG), path / "config.json")
    except FileNotFoundError as error:
        raise UnsupportedModelError(
            "no config.json; expected a Hugging Face model directory or a .gguf file"
        ) from error
    decoder = read_decoder(config)
    words = vocabulary.from_directory(path, config).padded(decoder.vocab)
    load = _loader(path)
    return decoder.float_model(words, load)


def _loader(path: pathlib.Path) -> Callable[[Sequence[str]], Float32Array]:
    """What reads a tensor by its name, or the first of several that is there, from the directory's
    safetensors files.
    """
    files = [SafetensorsFile(file) for file in sorted(path.glob("*.safetensors"))]
    if not files:
        raise UnsupportedModelError("no *.safetensors file")
    file_of = {name: file for file in files for name in file.names}

    def load(names: Sequence[str]) -> Float32Array:
        name = next((name for name in names if name in file_of), None)
        if name is None:
            raise UnsupportedModelError(f"{path}: no tensor {names[0]!r}")
        array = file_of[name].tensor(name)
        if array.dtype.kind != "f":
            raise UnsupportedModelError(
                f"{file_of[name].path}: {name!r}: {array.dtype} instead of floats"
            )
        # What is not finite is refused by whoever asked.
        with np.errstate(over="ignore", under="ignore"):
            return array.astype(np.float32, copy=False)

    return load
