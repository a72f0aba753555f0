"""A model of the default model's shape with random weights, for measurements that need no file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import ModelSpec
from llmzip.model.vocabulary import Vocabulary


def random_model(layers: int = 30, positions: int = 2048) -> IntegerModel:
    """The default model's shape, with weights that keep activations finite and attention neither
    flat nor sharp.
    """
    spec = ModelSpec(
        layers=layers, d_model=576, heads=9, kv_heads=3, head_dim=64, d_ff=1536, vocab=49152,
        max_positions=positions, norm_eps=1e-5, start_token=0, escape_token=0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    d, q, kv, f = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.d_ff
    parts = {
        "q": (q, d),
        "k": (kv, d),
        "v": (kv, d),
        "o": (d, q),
        "gate": (f, d),
        "up": (f, d),
        "down": (d, f),
    }
    shapes = {f"layers.{i}.{part}": shape for i in range(layers) for part, shape in parts.items()}
    shapes |= {"embedding": (spec.vocab, d), "head": (spec.vocab, d)}
    angles = np.arange(positions)[:, None] * 1e5 ** (
        -np.arange(0, spec.head_dim, 2) / spec.head_dim
    )
    tensors: dict[str, npt.NDArray[Any]] = {
        "rope": np.stack(
            [np.floor(16384 * t + 0.5) for t in (np.cos(angles), np.sin(angles))], 1
        ).astype(np.int16)
    }
    sizes = {
        "q": 0.2,
        "gate": -1.44,
        "down": -1 / 1.44 / 512**0.5,
        "head": 3.0,
        "embedding": d**0.5,
    }
    for name, (rows, columns) in shapes.items():
        size = sizes.get(name.rpartition(".")[2], 1.0) / (73.0 * columns**0.5)
        tensors[f"{name}.weight"] = rng.integers(-127, 128, (rows, columns), np.int8)
        tensors[f"{name}.scale"] = (size * rng.uniform(0.5, 1.5, rows)).astype(np.float32)
    return IntegerModel(spec, Vocabulary((b"",) * spec.vocab, 0, 0, ""), tensors, b"")
