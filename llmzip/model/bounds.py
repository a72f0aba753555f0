"""What keeps every intermediate number finite and every integer sum in its type
(docs/arithmetic.md, section 2.5).

A model outside these bounds could be computed in different ways on different machines: it is
refused when it is converted and when it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import ROPE_BITS
from llmzip.errors import UnsupportedModelError
from llmzip.model.features import rope_names
from llmzip.model.files import shown
from llmzip.model.spec import ModelSpec

MIN_SCALE, MAX_SCALE = 2.0**-50, 2.0**6
"""Of the magnitude of every row's scale that is not 0."""

MIN_ENTRY, MAX_ENTRY = 2.0**-50, 2.0**16
"""Of the magnitude of every bias and gain that is not 0."""

Tensors = Mapping[str, npt.NDArray[np.generic]]


def weight_shapes(spec: ModelSpec) -> dict[str, tuple[int, int]]:
    """The int8 matrices of a model: name -> [outputs, inputs]."""
    d, q, kv, f = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.d_ff
    features = spec.features
    experts, of_experts, of_shared = features.experts, features.expert_ff, features.shared_ff
    parts = {
        "q": (q, d),
        "k": (kv, d),
        "v": (kv, d),
        "o": (d, q),
        "gate": (f, d),
        "up": (f, d),
        "down": (d, f),
        "router": (experts, d),
        "experts_gate": (experts * of_experts, d),
        "experts_up": (experts * of_experts, d),
        "experts_down": (experts * d, of_experts),
        "shared_router": (1, d),
        "shared_gate": (of_shared, d),
        "shared_up": (of_shared, d),
        "shared_down": (d, of_shared),
    }
    layers = {
        f"layers.{i}.{part}": parts[part]
        for i in range(spec.layers)
        for part in features.parts_of(i)
    }
    positions = {"positions": (spec.max_positions, d)} if spec.features.learned_positions else {}
    return {"embedding": (spec.vocab, d), "head": (spec.vocab, d), **positions, **layers}


def vector_shapes(spec: ModelSpec) -> dict[str, int]:
    """The float32 vectors of a model with features, its biases and gains: name -> length."""
    features, matrices = spec.features, weight_shapes(spec)
    found = {"head.bias": spec.vocab} if "head" in features.biases else {}
    for i in range(spec.layers):
        name = f"layers.{i}."
        for part in features.parts_of(i):
            if part in features.biases:
                found[f"{name}{part}.bias"] = matrices[name + part][0]
        if features.head_norm != "none":
            for part, heads in (("q", spec.heads), ("k", spec.kv_heads)):
                count = heads if features.head_norm == "all" else 1
                found[f"{name}{part}.norm"] = count * spec.head_dim
        if features.post_norm:
            found |= {f"{name}o.norm": spec.d_model, f"{name}down.norm": spec.d_model}
    return found


def check_tensors(spec: ModelSpec, tensors: Tensors) -> None:
    """Refuse tensors that are not what the specification says, or not within the bounds.

    Raises UnsupportedModelError, which names the tensor.
    """
    tables = rope_names(spec.features.rope_tables)
    table = ("int16", (spec.max_positions, 2, spec.head_dim // 2))
    expected: dict[str, tuple[str, tuple[int, ...]]] = dict.fromkeys(tables, table)
    for name, matrix in weight_shapes(spec).items():
        expected |= {f"{name}.weight": ("int8", matrix), f"{name}.scale": ("float32", matrix[:1])}
    for name, length in vector_shapes(spec).items():
        expected[name] = ("float32", (length,))
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())
        raise UnsupportedModelError(f"tensor {shown(odd[0])} is missing, or one too many")
    for name, (kind, shape) in expected.items():
        array = tensors[name]
        if array.dtype != kind or array.shape != shape:
            raise UnsupportedModelError(
                f"tensor {name}: {array.dtype} {array.shape} instead of {kind} {shape}"
            )
        if name.endswith(".scale"):
            check_scales(name, array)
        elif kind == "float32":
            check_entries(name, array)
    for name in tables:
        if not _is_within(tensors[name], -(1 << ROPE_BITS), 1 << ROPE_BITS):
            raise UnsupportedModelError(f"tensor {name}: a cosine or sine beyond {1 << ROPE_BITS}")


def check_scales(name: str, scales: npt.NDArray[np.generic]) -> None:
    """Refuse scales [N] of rows that are not 0 nor, in magnitude, from 2**-50 to 2**6; so also what
    is not finite.
    """
    magnitudes = np.abs(scales[scales != 0])
    if not _is_within(magnitudes, MIN_SCALE, MAX_SCALE):
        bad = magnitudes[~((magnitudes >= MIN_SCALE) & (magnitudes <= MAX_SCALE))][0]
        raise UnsupportedModelError(
            f"tensor {name}: a row's scale of {bad:g}; scales are from 2^-50 to 2^6, "
            "so weights at most 8128 (docs/arithmetic.md, section 2.5)"
        )


def check_entries(name: str, entries: npt.NDArray[np.generic]) -> None:
    """Refuse biases or gains [N] that are not 0 nor, in magnitude, from 2**-50 to 2**16; so also
    what is not finite.
    """
    magnitudes = np.abs(entries[entries != 0])
    if not _is_within(magnitudes, MIN_ENTRY, MAX_ENTRY):
        bad = magnitudes[~((magnitudes >= MIN_ENTRY) & (magnitudes <= MAX_ENTRY))][0]
        raise UnsupportedModelError(
            f"tensor {name}: {bad:g}; biases and gains are from 2^-50 to 2^16 "
            "(docs/arithmetic.md, section 2.6)"
        )


def _is_within(array: npt.NDArray[np.generic], least: float, most: float) -> bool:
    return not array.size or bool(array.min() >= least and array.max() <= most)
