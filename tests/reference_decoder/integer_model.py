"""A model that llmzip has converted: one file in its cache (docs/arithmetic.md, 3.7)."""

from __future__ import annotations

import json
import pathlib

from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.model import Model, Spec
from tests.reference_decoder.safetensors import Safetensors


def read_integer_model(path: pathlib.Path) -> Model:
    """The model in a file; it must have the fingerprint that it states."""
    try:
        file = Safetensors(path)
        said = file.metadata
        model = Model(
            Spec(**json.loads(said["spec"])),
            {name: file.tensor(name) for name in file.header},
            tuple(bytes.fromhex(text) for text in json.loads(said["token_bytes"])),
            said["rules"],
        )
        stated = bytes.fromhex(said["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DecodeError(f"{path}: not an integer model ({error!r})") from error
    if model.fingerprint != stated:
        raise DecodeError(f"{path}: the model is not the one whose fingerprint the file states")
    return model
