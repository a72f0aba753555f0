"""Float models in directories as Hugging Face publishes them."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np

from llmzip.errors import UnsupportedModelError
from llmzip.model import vocabulary
from llmzip.model.files import MAX_CONFIG, parse_object, read_whole
from llmzip.model.float_model import FloatModel
from llmzip.model.peft_folder import PeftAdapter
from llmzip.model.published_decoder import Load, PublishedDecoder, read_decoder
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.types import Float32Array

_WHOLE = "model.safetensors"
_SHARD = re.compile(r"model-(\d{5})-of-(\d{5})\.safetensors")


def read_directory(path: pathlib.Path, adapter: PeftAdapter | None = None) -> FloatModel:
    """The model in a directory, with an adapter merged into it.

    Raises UnsupportedModelError or, from what cannot be understood, other errors.
    """
    try:
        config = parse_object(read_whole(path / "config.json", MAX_CONFIG), path / "config.json")
    except FileNotFoundError as error:
        raise UnsupportedModelError(
            "no config.json; expected a Hugging Face model directory or a .gguf file"
        ) from error
    decoder = read_decoder(config)
    words = vocabulary.from_directory(path, config).padded(decoder.vocab)
    file_of = _files(path)
    load = _loader(path, file_of)
    model = decoder.float_model(words, load, adapter.changed if adapter else None)
    _refuse_unknown(model, decoder, file_of, load)
    if adapter:
        adapter.refuse_unknown(name for part in model.names() for name in decoder.meant(part))
    return model


def _files(path: pathlib.Path) -> dict[str, SafetensorsFile]:
    """Tensors' names -> the files that hold them, as transformers chooses them: model.safetensors
    alone, else its shards; without those `model*.safetensors`, else whatever there is (some publish
    the weights twice). Refused: a tensor that two of them have, and shards that are not all there.
    """
    if (path / "adapter_config.json").exists():
        raise UnsupportedModelError(
            f"{path}: holds an adapter (adapter_config.json): name its base, "
            "and give the adapter as --adapter in a folder of its own"
        )
    files = [SafetensorsFile(file) for file in sorted(path.glob("*.safetensors"))]
    if not files:
        raise UnsupportedModelError("no *.safetensors file")
    whole = [file for file in files if file.path.name == _WHOLE]
    shards = [file for file in files if _SHARD.fullmatch(file.path.name)]
    named = [file for file in files if file.path.name.startswith("model")]
    if not whole:
        _refuse_missing_shards(path, {file.path.name for file in shards})
    found: dict[str, SafetensorsFile] = {}
    for file in whole or shards or named or files:
        for name in file.names:
            if name in found:
                raise UnsupportedModelError(
                    f"{path}: both {found[name].path.name} and {file.path.name} have the tensor "
                    f"{name[:200]!r}: take one of them away"
                )
            found[name] = file
    return found


def _refuse_missing_shards(path: pathlib.Path, names: set[str]) -> None:
    for name in sorted(names):
        count = name.removesuffix(".safetensors").rpartition("-")[2]
        if sum(other.endswith(f"-of-{count}.safetensors") for other in names) >= int(count):
            continue  # some count from 0
        numbers = range(1, len(names) + 2)
        wanted = (f"model-{number:05}-of-{count}.safetensors" for number in numbers)
        missing = next(one for one in wanted if one not in names)
        raise UnsupportedModelError(f"{path}: {missing} is missing, though {name} is there")


def _refuse_unknown(
    model: FloatModel, decoder: PublishedDecoder, file_of: Mapping[str, SafetensorsFile], load: Load
) -> None:
    """Refuse a tensor that no feature explains: a part that would be left out without a word."""
    known = {stored for part in model.names() for stored in decoder.stored(part)}
    known |= decoder.without_meaning(model.spec.layers)
    others = decoder.family.other_parts
    unknown = sorted(name for name in file_of.keys() - known if not name.startswith(others))
    for name in unknown:
        where = f"{file_of[name].path}: {name[:200]!r}"
        if name not in decoder.tied_heads():
            raise UnsupportedModelError(
                f"{where}: no part of the decoder that config.json describes"
            )
        if not np.array_equal(load([name]), load(decoder.stored("embedding"))):
            raise UnsupportedModelError(
                f"{where} is not the embedding, though config.json ties them (tie_word_embeddings)"
            )


def _loader(path: pathlib.Path, file_of: Mapping[str, SafetensorsFile]) -> Load:
    """What reads a tensor by its name, or the first of several that is there."""

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
