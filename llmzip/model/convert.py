"""Float weights -> rotated integer weights (docs/arithmetic.md, section 3), the same bits on every
machine.

Every step is element-wise in float64 (butterflies of adds included) or an exact maximum; no matrix
product and no library function whose rounding could differ is involved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import INT8_MAX, LOG2_E
from llmzip.arithmetic.hadamard import rotate
from llmzip.arithmetic.rope import rope_table
from llmzip.errors import UnsupportedModelError
from llmzip.model.bounds import MIN_ENTRY, check_entries, check_scales
from llmzip.model.features import NO_ROPE, rope_names
from llmzip.model.float_model import FloatModel, expert_name
from llmzip.model.integer_model import IntegerModel
from llmzip.model.rotary import Rotary

Matrix = npt.NDArray[np.float64]


def convert(source: FloatModel, progress: Callable[[int, int], None] | None = None) -> IntegerModel:
    """Rotate and quantize a float model. `progress(done, total)` is called after each layer.

    Raises UnsupportedModelError for weights that are not finite, of another shape, or too large
    (docs/arithmetic.md, section 2.5).
    """
    conversion = _Conversion(source)
    conversion.put_embedding()
    for i in range(source.spec.layers):
        conversion.put_layer(i)
        if progress:
            progress(i + 1, source.spec.layers)
    conversion.put_head()
    conversion.put_tables()
    return IntegerModel.build(source.spec, source.vocabulary, conversion.tensors)


class _Conversion:
    """The tensors of an integer model, as they are made."""

    def __init__(self, source: FloatModel) -> None:
        self._source, self._spec, self._recipe = source, source.spec, source.recipe
        self._features = source.spec.features
        self.tensors: dict[str, npt.NDArray[np.generic]] = {}

    def put_embedding(self) -> None:
        """The embedding, and learned positions."""
        spec, scale = self._spec, self._recipe.embedding_scale
        rows = self._centered(self._load("embedding", spec.vocab, spec.d_model))
        self._put("embedding", _orthonormal(rows, spec.model_rotation), scale)
        if self._features.learned_positions:
            rows = self._centered(self._load("positions", spec.max_positions, spec.d_model))
            self._put("positions", _orthonormal(rows, spec.model_rotation))

    def put_layer(self, layer: int) -> None:
        """All of a layer."""
        table, size = self._features.rope_of(layer), self._spec.head_dim
        rotary = None if table == NO_ROPE else self._source.rotary[table]
        self._order = None if rotary is None else _rotary_order(rotary, size)
        self._turned = None if rotary is None else _turned_scales(rotary, size)
        self._put_attention(f"layers.{layer}.")
        if self._features.has_experts(layer):
            self._put_experts(f"layers.{layer}.")
        else:
            self._put_mlp(f"layers.{layer}.")

    def put_head(self) -> None:
        """The head, with the gains of the norm before it."""
        spec, factor = self._spec, LOG2_E
        if self._recipe.logit_scale != 1.0:
            factor = LOG2_E * self._recipe.logit_scale
        weight = self._load("head", spec.vocab, spec.d_model)
        gain = self._load("norm", spec.d_model)
        self._put("head", _orthonormal(weight * gain, spec.model_rotation), factor)
        self._put_bias("head", self._bias("head", weight, "norm"), factor)

    def put_tables(self) -> None:
        """The rotary tables."""
        spec, pairs = self._spec, self._spec.head_dim // 2
        tables = rope_names(self._features.rope_tables)
        for name, rotary in zip(tables, self._source.rotary, strict=True):
            self.tensors[name] = rope_table(rotary.frequencies(pairs), spec.max_positions)

    def _put_attention(self, name: str) -> None:
        spec, features, recipe = self._spec, self._features, self._recipe
        d, inner, keys = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim
        q, k, v = (
            self._load(name + part, n, d) for part, n in (("q", inner), ("k", keys), ("v", keys))
        )
        biases = [
            self._bias(name + part, weight, name + "attention_norm")
            for part, weight in (("q", q), ("k", k), ("v", v))
        ]
        if features.pre_norm:
            gain = self._load(name + "attention_norm", d)
            q, k, v = q * gain, k * gain, v * gain
        query_scale = recipe.query_scale
        factor = LOG2_E / math.sqrt(spec.head_dim) if query_scale is None else LOG2_E * query_scale
        factor /= spec.key_rotation
        turned, normed = self._turned, features.head_norm != "none"
        for part, weight, bias in (("q", q, biases[0]), ("k", k, biases[1])):
            c = factor if part == "q" and not normed else 1.0
            weight = self._by_rotary_order(weight)
            bias = None if bias is None else self._by_rotary_order(bias)
            if part == "q" and turned is not None and not normed:
                by_row = np.tile(turned, spec.heads)
                weight, bias = weight * by_row[:, None], None if bias is None else bias * by_row
            self._put(name + part, _orthonormal(weight, spec.model_rotation), c)
            self._put_bias(name + part, bias, c)
        v = _orthonormal(v.T, spec.head_rotation).T
        self._put(name + "v", _orthonormal(v, spec.model_rotation))
        if normed:
            self._put_head_norms(name, factor)
        weight = self._load(name + "o", d, inner)
        bias = self._bias(name + "o", weight, None)
        if biases[2] is not None:  # what attention gives of a constant is the constant
            by_head = np.repeat(
                biases[2].reshape(spec.kv_heads, -1), spec.heads // spec.kv_heads, axis=0
            )
            of_values = _sums(weight * by_head.ravel())
            bias = of_values if bias is None else bias + of_values
        self._put_output(name + "o", _orthonormal(weight, spec.head_rotation), bias, 1.0)

    def _put_mlp(self, name: str) -> None:
        spec = self._spec
        gain = self._mlp_gain(name)
        for part, factor in self._inner_parts():
            weight = self._load(name + part, spec.d_ff, spec.d_model)
            bias = self._bias(name + part, weight, name + "mlp_norm")
            self._put(name + part, self._reading(weight, gain), factor)
            self._put_bias(name + part, bias, factor)
        weight = self._load(name + "down", spec.d_model, spec.d_ff)
        bias = self._bias(name + "down", weight, None)
        factor = self._down_factor(spec.mlp_rotation)
        self._put_output(name + "down", rotate(weight, spec.mlp_rotation), bias, factor)

    def _put_experts(self, name: str) -> None:
        """The router, its experts one above the other, and the expert that all share."""
        spec, features, d = self._spec, self._features, self._spec.d_model
        gain = self._mlp_gain(name)
        routers = [("router", features.experts)]
        routers += [("shared_router", 1)] if features.shared_weighted else []
        for part, count in routers:
            weight = self._load(name + part, count, d)
            self._put(name + part, self._reading(weight, gain), LOG2_E)
        numbers: list[int | None] = [*range(features.experts)]
        self._put_mlps(name + "experts_", features.expert_ff, spec.expert_rotation, gain, numbers)
        if features.shared_ff:
            self._put_mlps(name + "shared_", features.shared_ff, spec.shared_rotation, gain, [None])
        if features.post_norm:
            self._put_post_norm(name + "down", name + "mlp_post_norm")

    def _put_mlps(
        self,
        name: str,
        width: int,
        rotation: int,
        gain: Matrix | None,
        numbers: Sequence[int | None],
    ) -> None:
        """MLPs of the same shape, each of their matrices one above the other; numbers: of experts,
        or None for a single one.
        """
        d = self._spec.d_model
        for part, factor in self._inner_parts():
            names = [expert_name(name + part, number) for number in numbers]
            rows = (self._reading(self._load(one, width, d), gain) for one in names)
            self._put_stack(name + part, rows, factor)
        names = [expert_name(name + "down", number) for number in numbers]
        rows = (self._added(rotate(self._load(one, d, width), rotation)) for one in names)
        self._put_stack(name + "down", rows, self._scaled(self._down_factor(rotation)))

    def _mlp_gain(self, name: str) -> Matrix | None:
        if not self._features.pre_norm:
            return None
        return self._load(name + "mlp_norm", self._spec.d_model)

    def _inner_parts(self) -> list[tuple[str, float]]:
        """The matrices of an MLP that read the residual vector, each with its factor."""
        gate = -LOG2_E if self._features.activation == "silu" else 1.0
        return [("gate", gate), *([("up", 1.0)] if self._features.gated else [])]

    def _down_factor(self, rotation: int) -> float:
        silu = self._features.activation == "silu"
        return -1.0 / (LOG2_E * rotation) if silu else 1.0 / rotation

    def _reading(self, weight: Matrix, gain: Matrix | None) -> Matrix:
        """A matrix that reads the residual vector, behind a norm with this gain."""
        weight = weight if gain is None else weight * gain
        return _orthonormal(weight, self._spec.model_rotation)

    def _added(self, weight: Matrix) -> Matrix:
        """A matrix whose outputs are added to the residual vector, or normed before that."""
        if self._features.post_norm:
            return weight
        return _orthonormal(self._centered(weight.T), self._spec.model_rotation).T

    def _scaled(self, factor: float) -> float:
        """The factor of such a matrix."""
        scale = 1.0 if self._features.post_norm else self._recipe.residual_scale
        return factor if scale == 1.0 else factor * scale

    def _put_output(self, name: str, weight: Matrix, bias: Matrix | None, factor: float) -> None:
        """A matrix whose outputs are added to the residual vector, or normed before that."""
        self._put(name, self._added(weight), self._scaled(factor))
        if self._features.post_norm:
            self._put_bias(name, bias, 1.0)
            layer, _, part = name.rpartition(".")
            part = "attention" if part == "o" else "mlp"
            self._put_post_norm(name, f"{layer}.{part}_post_norm")
            return
        if bias is not None:
            bias = _orthonormal(self._centered(bias[None]), self._spec.model_rotation)[0]
        self._put_bias(name, bias, self._recipe.residual_scale)

    def _put_post_norm(self, name: str, published: str) -> None:
        scale = self._recipe.residual_scale / math.sqrt(self._spec.model_rotation)
        self._put_vector(name + ".norm", self._load(published, self._spec.d_model) * scale)

    def _put_head_norms(self, name: str, factor: float) -> None:
        spec, turned, together = self._spec, self._turned, self._features.head_norm == "all"
        for part, heads, c in (("q", spec.heads, factor), ("k", spec.kv_heads, 1.0)):
            count = heads if together else 1
            gain = self._by_rotary_order(self._load(f"{name}{part}_norm", count * spec.head_dim))
            if part == "q" and turned is not None:
                gain = gain * np.tile(turned, count)
            self._put_vector(f"{name}{part}.norm", gain * c)

    def _load(self, name: str, *shape: int) -> Matrix:
        array = self._source.tensor(name)
        if array.shape != shape:
            raise UnsupportedModelError(f"{name}: shape {array.shape}, expected {shape}")
        if not np.isfinite(array).all():
            raise UnsupportedModelError(f"{name}: holds numbers that are not finite")
        return array.astype(np.float64)

    def _bias(self, name: str, weight: Matrix, norm: str | None) -> Matrix | None:
        """A matrix's bias [N], that of the norm before it included; None where there is neither."""
        biases, found = self._recipe.biases, None
        if name.rpartition(".")[2] in biases:
            found = self._load(name + ".bias", len(weight))
        if norm is not None and norm.rpartition(".")[2] in biases:
            folded = _sums(weight * self._load(norm + ".bias", weight.shape[1]))
            found = folded if found is None else found + folded
        return found

    def _put(self, name: str, rows: Matrix, factor: float = 1.0) -> None:
        weight, scale = quantize_rows(rows, factor)
        check_scales(name, scale)
        self.tensors[f"{name}.weight"], self.tensors[f"{name}.scale"] = weight, scale

    def _put_stack(self, name: str, matrices: Iterable[Matrix], factor: float) -> None:
        """Matrices one above the other, each made when its turn comes."""
        parts = [quantize_rows(rows, factor) for rows in matrices]
        weight, scale = (np.concatenate(each) for each in zip(*parts, strict=True))
        check_scales(name, scale)
        self.tensors[f"{name}.weight"], self.tensors[f"{name}.scale"] = weight, scale

    def _put_bias(self, name: str, bias: Matrix | None, factor: float) -> None:
        if bias is not None:
            self._put_vector(name + ".bias", bias * factor)

    def _put_vector(self, name: str, entries: Matrix) -> None:
        with np.errstate(over="ignore"):  # is refused
            narrow = np.where(np.abs(entries) < MIN_ENTRY, 0.0, entries).astype(np.float32)
        check_entries(name, narrow)
        self.tensors[name] = narrow

    def _centered(self, rows: Matrix) -> Matrix:
        """Each row without its mean, where norms subtract it: then none is left to subtract."""
        if not self._recipe.layer_norm:
            return rows
        centered: Matrix = rows - (_sums(rows) / rows.shape[1])[:, None]
        return centered

    def _by_rotary_order(self, rows: Matrix) -> Matrix:
        """Rows of heads, in the order in which what turns together lies half a head apart."""
        if self._order is None:
            return rows
        heads = rows.reshape(-1, self._spec.head_dim, *rows.shape[1:])
        ordered: Matrix = np.ascontiguousarray(heads[:, self._order]).reshape(rows.shape)
        return ordered


def _rotary_order(rotary: Rotary, size: int) -> npt.NDArray[np.int64] | None:
    """The dimensions of a head in the order in which its table takes them; None: as they are.
    Where a part of a head turns, the part's halves become the firsts of the head's halves.
    """
    if rotary.dims > size:
        raise UnsupportedModelError(f"rotary positions on {rotary.dims} of {size} dimensions")
    if rotary.dims == size:
        return None
    half, rest = rotary.dims // 2, (size - rotary.dims) // 2
    parts = (
        np.arange(half),
        np.arange(2 * half, 2 * half + rest),
        np.arange(half, 2 * half),
        np.arange(2 * half + rest, size),
    )
    return np.concatenate(parts)


def _turned_scales(rotary: Rotary, size: int) -> Matrix | None:
    """By what a factor of cosines and sines multiplies the terms of a score: [D]; None: by 1."""
    if rotary.factor == 1.0:
        return None
    turns = np.arange(size // 2) < rotary.dims // 2
    half = np.where(turns, rotary.factor * rotary.factor, 1.0)
    return np.concatenate((half, half))


def _sums(rows: Matrix) -> Matrix:
    """The sum of each row, [M, K] -> [M]: the second half is added to the first until one is left,
    so that every machine rounds alike.
    """
    while rows.shape[1] > 1:
        half = (rows.shape[1] + 1) // 2
        first = rows[:, :half].copy()
        first[:, : rows.shape[1] - half] += rows[:, half:]
        rows = first
    return rows[:, 0]


def _orthonormal(rows: Matrix, block: int) -> Matrix:
    """Each row times the normalized block Hadamard matrix."""
    return rotate(np.ascontiguousarray(rows), block) * (1.0 / math.sqrt(block))


def quantize_rows(
    rows: Matrix, factor: float
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """int8 rows and one float32 scale each: row ~ weight * scale / factor.

    The scale is raised to 2**-40 (a row of zeros), so that no product at run time is subnormal.
    """
    step = np.maximum(np.abs(rows).max(axis=1) / INT8_MAX, 2.0**-40)
    weight = np.rint(rows / step[:, None]).astype(np.int8)
    with np.errstate(over="ignore"):  # such scales are refused by whoever asked
        return weight, (step * factor).astype(np.float32)
