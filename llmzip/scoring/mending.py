"""What outliers need so that a model's integers lose little, found by the integers alone.

A model is compared with a finer one, whose inputs all have 16 bits, on a text that every
installation has. Both are exact, and so is what is counted: the same weights get the same features
on every machine (docs/models.md, "Outliers").
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import LOG2_E
from llmzip.engine_loader import EngineLoader
from llmzip.model.convert import convert
from llmzip.model.features import WIDE_PRODUCTS, wide_names
from llmzip.model.float_model import FloatModel
from llmzip.model.integer_model import IntegerModel
from llmzip.model.spec import MAX_EXACT_ROTATION, MAX_WIDTH, rotation_size
from llmzip.scoring.mending_sample import SAMPLE
from llmzip.types import Float64Array

LIMIT = 0.005
"""The share of a text's bits that a model may lose before it is mended."""

_TOKENS, _ROWS = 256, 64
_FLOOR = 2.0**-8
"""What a token weight of 0 counts as."""
_UNIT = 2.0**40
"""Of a bit: terms are rounded to it, so that their sum is exact in any order."""
_WORTH = 0.8
"""To what a change must bring the loss to be made. Beyond it is noise: where keys are rounded
coarsely, the finest model has an error of its own, and one that is not quite it has another.
"""
_SPANS = 8
"""Into how many parts a model's layers are divided in which one product may stay as it is."""

Changes = dict[str, Any]
"""Of a decoder's features."""


def mended(
    source: FloatModel, model: IntegerModel, progress: Callable[[int, int], None] | None = None
) -> IntegerModel:
    """The model, or where it loses more than `LIMIT`, one with features that mend it.

    model: the conversion of `source`; progress: as for `convert`.
    """
    search = _Search(source, model, progress)
    return search.model(search.changes())


class _Search:
    """Which features a model needs."""

    def __init__(
        self,
        source: FloatModel,
        model: IntegerModel,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self._source, self._progress = source, progress
        spec = model.spec
        self._converted = {_key({}): model}
        self._inputs = _inputs(model)
        self._names = wide_names(spec.features, spec.layers)
        limit = MAX_EXACT_ROTATION if spec.features.post_norm else MAX_WIDTH
        largest = rotation_size(spec.d_model, limit)
        self._rotations: list[Changes] = [{"rotated_keys": True}]
        if largest > spec.model_rotation:
            self._rotations.insert(0, {"model_rotation": largest})
        finest: Changes = {"wide_inputs": tuple(self._names)}
        for change in self._rotations:
            finest |= change
        self._finest = list(self._distributions(finest))
        self._bits = sum(
            _total(shares * -logarithms) for shares, logarithms in map(_in_bits, self._finest)
        )

    def changes(self) -> Changes:
        """Those that bring the loss below the limit, or as far down as they can."""
        found: Changes = {}
        loss = self._loss(found)
        for change in self._rotations:
            if loss > LIMIT and (less := self._loss(found | change)) < _WORTH * loss:
                found, loss = found | change, less
        wide: list[str] = []
        parts = [part for part in WIDE_PRODUCTS if self._all(part)]
        while loss > LIMIT and parts:
            losses = {
                part: self._loss(found | self._wide(wide + self._all(part))) for part in parts
            }
            best = min(parts, key=lambda part: losses[part])
            if losses[best] >= _WORTH * loss:
                break
            loss = losses[best]
            wide += self._all(best)
            parts.remove(best)
        return found | self._wide(self._needed(found, wide, max(loss, LIMIT)))

    def model(self, changes: Changes) -> IntegerModel:
        """The model with these features."""
        spec = self._source.spec
        features = dataclasses.replace(spec.features, **changes)
        key = _key(changes)
        if key not in self._converted:
            converted = dataclasses.replace(features, wide_inputs=())
            source = dataclasses.replace(
                self._source, spec=dataclasses.replace(spec, features=converted)
            )
            self._converted[key] = convert(source, self._progress)
        found = self._converted[key]
        if features == found.spec.features:
            return found
        return IntegerModel.build(
            dataclasses.replace(spec, features=features), found.vocabulary, found.tensors
        )

    def _needed(self, found: Changes, wide: list[str], limit: float) -> list[str]:
        """Those of the wide inputs without which the loss would be above the limit."""
        layers = self._source.spec.layers
        for part in WIDE_PRODUCTS:
            for spans in (2, 4, _SPANS):
                for i in range(spans):
                    here = range(layers * i // spans, layers * (i + 1) // spans)
                    names = {f"layers.{layer}.{part}" for layer in here} & {*wide}
                    fewer = [name for name in wide if name not in names]
                    if names and self._loss(found | self._wide(fewer)) <= limit:
                        wide = fewer
        return wide

    def _all(self, part: str) -> list[str]:
        return [name for name in self._names if name.endswith(f".{part}")]

    def _wide(self, names: Sequence[str]) -> Changes:
        """Names in their order; none of them changes nothing."""
        return {"wide_inputs": tuple(name for name in self._names if name in names)}

    def _loss(self, changes: Changes) -> float:
        """By what share the finest model's code of a text is longer under one with these features:
        the Kullback-Leibler divergence, of the finest one's entropy.
        """
        lost = 0
        for finest, weights in zip(self._finest, self._distributions(changes), strict=True):
            shares, expected = _in_bits(finest)
            lost += _total(shares * (expected - _in_bits(weights)[1]))
        return lost / self._bits

    def _distributions(self, changes: Changes) -> Iterator[npt.NDArray[np.int32]]:
        """Token weights at the positions of the sample, some rows at a time."""
        engine = EngineLoader(self.model(changes)).for_compression()
        count = self._inputs.shape[1]
        head = engine.session(1, count, count).advance(self._inputs)
        for start in range(0, count, _ROWS):
            rows = slice(start, start + _ROWS)
            yield engine.token_weights(head.vectors[0, rows], head.scales[0, rows])


def _key(changes: Changes) -> tuple[Any, ...]:
    """What the tensors depend on."""
    return changes.get("model_rotation"), changes.get("rotated_keys")


def _inputs(model: IntegerModel) -> npt.NDArray[np.int32]:
    """What is fed, [1, tokens]: the start token and the first tokens of the sample."""
    ids = model.tokenizer.encode(SAMPLE.encode()).ids
    fed = [model.spec.start_token, *ids][: min(_TOKENS, model.spec.max_positions)]
    return np.array([fed], np.int32)


def _in_bits(weights: npt.NDArray[np.int32]) -> tuple[Float64Array, Float64Array]:
    """Token weights [N, V] -> their shares of the sum, and the shares' logarithms."""
    raised = np.maximum(weights.astype(np.float64), _FLOOR)
    shares = raised / raised.sum(axis=1, keepdims=True)  # a sum of multiples of 2^-8: exact
    return shares, _log2(shares)


def _log2(x: Float64Array) -> Float64Array:
    """Binary logarithms by single operations of float64, which every machine rounds alike; to 1e-9:
    2 artanh(z) with z = (m - 1) / (m + 1), |z| < 0.172, for the significand m.
    """
    m, exponent = np.frexp(x)  # [0.5, 1)
    small = m < np.sqrt(0.5)
    m, exponent = np.where(small, m * 2.0, m), exponent - small
    z = (m - 1.0) / (m + 1.0)
    square, series = z * z, np.full_like(z, 1.0 / 11.0)
    for n in (9.0, 7.0, 5.0, 3.0, 1.0):
        series = series * square + 1.0 / n
    found: Float64Array = exponent + series * z * (2.0 * LOG2_E)
    return found


def _total(terms: Float64Array) -> int:
    """The sum in units, whatever the order."""
    return int(np.rint(terms * _UNIT).astype(np.int64).sum())
