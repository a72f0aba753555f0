"""llmzip's models as the educational decoder takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from llmzip.model.integer_model import IntegerModel
from tests.reference_decoder.model import Model, Spec


def reference_model(
    model: IntegerModel, tensors: Mapping[str, npt.NDArray[Any]] | None = None
) -> Model:
    """The same model, or one with other tensors."""
    spec = Spec(**json.loads(model.spec.to_json()))
    return Model(
        spec, tensors or model.tensors, model.vocabulary.token_bytes, model.vocabulary.rules
    )
