"""Models of published shapes with random weights, for measurements that need no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.model.bounds import vector_shapes, weight_shapes
from llmzip.model.features import Features, rope_names
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary

SHAPES: Mapping[str, dict[str, Any]] = {
    "smollm2-135m": {
        "layers": 30,
        "d_model": 576,
        "heads": 9,
        "kv_heads": 3,
        "head_dim": 64,
        "d_ff": 1536,
        "vocab": 49152,
    },
    "qwen3-0.6b": {
        "layers": 28,
        "d_model": 1024,
        "heads": 16,
        "kv_heads": 8,
        "head_dim": 128,
        "d_ff": 3072,
        "vocab": 151936,
        "features": Features(head_norm="head"),
    },
    "gemma3-270m": {
        "layers": 18,
        "d_model": 640,
        "heads": 4,
        "kv_heads": 1,
        "head_dim": 256,
        "d_ff": 2048,
        "vocab": 262144,
        "features": Features(
            activation="gelu_tanh",
            post_norm=True,
            head_norm="head",
            rope_tables=2,
            layer_rope=(1, 1, 1, 1, 1, 0) * 3,
            layer_window=(512, 512, 512, 512, 512, 0) * 3,
        ),
    },
    "half-olmoe": {  # in every direction
        "layers": 8,
        "d_model": 1024,
        "heads": 16,
        "kv_heads": 16,
        "head_dim": 64,
        "d_ff": 512,
        "vocab": 50304,
        "features": Features(head_norm="all", experts=64, experts_used=8, expert_ff=512),
    },
}
"""Fields of `ModelSpec`, by the models that have them."""


def random_model(shape: str = "smollm2-135m", positions: int = 2048) -> IntegerModel:
    """One of `SHAPES`, with weights that keep activations finite and attention neither flat nor
    sharp.
    """
    spec = ModelSpec(
        **SHAPES[shape],
        max_positions=positions,
        norm_eps=1e-5,
        start_token=0,
        escape_token=0,
    )
    rng = np.random.default_rng(0)
    angles = np.arange(positions)[:, None] * 1e5 ** (
        -np.arange(0, spec.head_dim, 2) / spec.head_dim
    )
    table = np.stack([np.floor(16384 * t + 0.5) for t in (np.cos(angles), np.sin(angles))], 1)
    tensors: dict[str, npt.NDArray[Any]] = dict.fromkeys(
        rope_names(spec.features.rope_tables), table.astype(np.int16)
    )
    sizes = {
        "q": 0.2,
        "gate": -1.44,
        "experts_gate": -1.44,
        "down": -1 / 1.44 / 512**0.5,
        "experts_down": -1 / 1.44 / 512**0.5,
        "router": 3.0,
        "head": 3.0,
        "embedding": spec.d_model**0.5,
    }
    for name, (rows, columns) in weight_shapes(spec).items():
        size = sizes.get(name.rpartition(".")[2], 1.0) / (73.0 * columns**0.5)
        tensors[f"{name}.weight"] = rng.integers(-127, 128, (rows, columns), np.int8)
        tensors[f"{name}.scale"] = (size * rng.uniform(0.5, 1.5, rows)).astype(np.float32)
    for name, length in vector_shapes(spec).items():
        tensors[name] = np.full(length, 0.2 if name.endswith("q.norm") else 1.0, np.float32)
    return IntegerModel(spec, Vocabulary((b"",) * spec.vocab, 0, 0, ""), tensors, b"")
