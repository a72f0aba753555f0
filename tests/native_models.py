"""Small integer models of odd shapes for the tests of the native engine, and what runs them;
without torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.rope import inverse_frequencies, rope_table
from llmzip.engine.base import Engine, HeadInput
from llmzip.model.bounds import vector_shapes, weight_shapes
from llmzip.model.features import PLAIN, Features, rope_names
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary

SHAPES: Mapping[str, dict[str, int]] = {
    "nothing is a multiple of 32": {
        "d_model": 50,
        "heads": 6,
        "kv_heads": 2,
        "head_dim": 18,
        "d_ff": 90,
        "vocab": 301,
    },
    "smallest": {"d_model": 5, "heads": 2, "kv_heads": 2, "head_dim": 2, "d_ff": 7, "vocab": 3},
    "one key head, head size 64": {
        "d_model": 64,
        "heads": 9,
        "kv_heads": 1,
        "head_dim": 64,
        "d_ff": 512,
        "vocab": 513,
    },
    "head size 16": {
        "d_model": 96,
        "heads": 4,
        "kv_heads": 2,
        "head_dim": 16,
        "d_ff": 1536,
        "vocab": 256,
    },
    "head size 32": {
        "d_model": 36,
        "heads": 3,
        "kv_heads": 3,
        "head_dim": 32,
        "d_ff": 4,
        "vocab": 700,
    },
    "head size 34": {
        "d_model": 36,
        "heads": 3,
        "kv_heads": 3,
        "head_dim": 34,
        "d_ff": 16,
        "vocab": 255,
    },
    "head size 80": {
        "d_model": 100,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 80,
        "d_ff": 72,
        "vocab": 1000,
    },
    "head size 128": {
        "d_model": 576,
        "heads": 2,
        "kv_heads": 1,
        "head_dim": 128,
        "d_ff": 96,
        "vocab": 600,
    },
}


def random_model(
    shape: str = "nothing is a multiple of 32",
    seed: int = 0,
    layers: int = 2,
    positions: int = 80,
    gain: float = 0.004,
    features: Features = PLAIN,
) -> IntegerModel:
    """Random weights over the whole range of int8; `gain` sets the scales and with them how sharp
    attention is.
    """
    spec = ModelSpec(
        layers=layers,
        max_positions=positions,
        norm_eps=1e-5,
        start_token=0,
        escape_token=0,
        features=features,
        **SHAPES[shape],
    )
    rng = np.random.default_rng(seed)
    tensors: dict[str, npt.NDArray[Any]] = {
        name: rope_table(inverse_frequencies(10.0 ** (4 + i), spec.head_dim), spec.max_positions)
        for i, name in enumerate(rope_names(features.rope_tables))
    }
    for name, (rows, columns) in weight_shapes(spec).items():
        tensors[f"{name}.weight"] = rng.integers(-127, 128, (rows, columns)).astype(np.int8)
        tensors[f"{name}.scale"] = (rng.random(rows) * gain).astype(np.float32)
    for name, length in vector_shapes(spec).items():
        around = 1.0 if name.endswith("norm") else 0.0
        tensors[name] = (around + rng.normal(size=length) / 4).astype(np.float32)
    return build(spec, tensors)


def with_weights(
    model: IntegerModel, value: int | None = None, zero_rows: bool = False
) -> IntegerModel:
    """The same model with all weights +-value (signs kept), or with every third row of every weight
    zero.
    """
    tensors = {name: array.copy() for name, array in model.tensors.items()}
    for name, array in tensors.items():
        if name.endswith(".weight"):
            if value is not None:
                array[...] = np.where(array < 0, -value, value)
            if zero_rows:
                array[::3] = 0
    return build(model.spec, tensors)


def build(spec: ModelSpec, tensors: Mapping[str, npt.NDArray[Any]]) -> IntegerModel:
    return IntegerModel.build(spec, Vocabulary((b"",) * spec.vocab, 0, 0, ""), tensors)


EXTREMES = (
    "all +-127",
    "zero rows",
    "flat attention",
    "sharp attention",
    "zero scales",
    "constant",
)


def extreme_model(kind: str, layers: int = 2) -> IntegerModel:
    """One of EXTREMES."""
    shape = "one key head, head size 64"
    model = random_model(shape, layers=layers)
    if kind == "all +-127":
        return with_weights(model, value=127)
    if kind == "zero rows":
        return with_weights(model, zero_rows=True)
    if kind == "flat attention":
        return random_model(shape, layers=layers, gain=1e-9)
    if kind == "sharp attention":  # one position takes the whole weight 2**16
        return random_model(shape, layers=layers, gain=3.0)
    if kind == "zero scales":
        return build(
            model.spec, {n: a * 0 if n.endswith("scale") else a for n, a in model.tensors.items()}
        )
    rows = {n: np.full_like(a, 127) for n, a in model.tensors.items() if n.endswith("weight")}
    return build(model.spec, {**model.tensors, **rows})


def random_tokens(
    model: IntegerModel, streams: int, count: int, seed: int = 1
) -> npt.NDArray[np.int32]:
    return (
        np.random.default_rng(seed).integers(0, model.spec.vocab, (streams, count)).astype(np.int32)
    )


def run(
    engine: Engine, tokens: npt.NDArray[np.int32], window: int, chunks: Sequence[int]
) -> HeadInput:
    """Feed the tokens in chunks of the given sizes, in turn."""
    session = engine.session(len(tokens), window, max(chunks))
    outputs, position, i = [], 0, 0
    while position < tokens.shape[1]:
        size = chunks[i % len(chunks)]
        outputs.append(session.advance(tokens[:, position : position + size]))
        position, i = position + size, i + 1
    return HeadInput(
        np.concatenate([o.vectors for o in outputs], axis=1),
        np.concatenate([o.scales for o in outputs], axis=1),
    )
