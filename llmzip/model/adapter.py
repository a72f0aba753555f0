"""Low-rank adapters: what tuning adds to a float model, small enough to travel, merged exactly.

An adapter gives matrices W [N, K] a product of two narrow ones, W + B·A (LoRA, arXiv 2106.09685),
and norms a factor on their gains. A and B are integers of 4 bits with a bfloat16 scale a row. Every
term of B·A is then a product of small integers and two 8-bit significands, and every sum of them
fits a float64 exactly (`_check_exact`), so that any matrix product, in any order, gives the same
bits: the merged model has one fingerprint everywhere (docs/arithmetic.md, 3.5).
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from llmzip.errors import IntegrityError, ModelMismatchError, UnsupportedModelError
from llmzip.model.float_model import FloatModel
from llmzip.model.safetensors_file import SafetensorsFile

FACTOR_MAX = 7
"""Factors are integers from -7 to 7."""

_FORMAT = "llmzip-adapter"
_VERSION = 1
_MAX_SPREAD_BITS = 32
"""Between the largest and the smallest scale of one A; with 2 * (3 + 8) bits of a term's
significand and 2**9 terms, below 53.
"""

Integers = npt.NDArray[np.int8]
Scales = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Factors:
    """Rows of small integers, each row with a scale."""

    integers: Integers  # [rows, columns], -7 ... 7
    scales: Scales  # [rows], bfloat16 values

    def values(self) -> npt.NDArray[np.float64]:
        """[rows, columns], exact."""
        return self.integers.astype(np.float64) * self.scales[:, None].astype(np.float64)


@dataclasses.dataclass(frozen=True)
class Adapter:
    """Changes of a float model, by the canonical names of its tensors (`llmzip.model.sources`)."""

    products: Mapping[str, tuple[Factors, Factors]]
    """Matrix -> (B [N, r], A [r, K])."""
    gains: Mapping[str, Scales]
    """Norm -> what is added to 1 and multiplied with its gain, [d] bfloat16 values."""
    base: str
    """SHA-256, in hex, of the file that it was trained on (`source_digest`)."""
    replaced: Mapping[str, Scales] = dataclasses.field(default_factory=dict)
    """Matrix -> all its numbers, [N, K] bfloat16 values, where all of them were trained."""

    def delta(self, name: str) -> npt.NDArray[np.float64] | None:
        """B·A of a matrix: [N, K] float64; None for a matrix that is left as it is."""
        if name not in self.products:
            return None
        b, a = self.products[name]
        # The integer side first: these sums are exact. One rounding per entry follows.
        sums: npt.NDArray[np.float64] = b.integers.astype(np.float64) @ a.values()
        return b.scales[:, None].astype(np.float64) * sums

    def merged(self, source: FloatModel, digest: str) -> FloatModel:
        """The float model with the changes made.

        digest: of the source's file (`source_digest`). Raises ModelMismatchError where it is not
        what the adapter was trained on, UnsupportedModelError where the shapes do not fit.
        """
        if digest != self.base:
            raise ModelMismatchError(
                f"the adapter was trained on a model with SHA-256 {self.base[:16]}…, "
                f"this one has {digest[:16]}…"
            )

        def tensor(name: str) -> npt.NDArray[np.floating]:
            array = source.tensor(name)
            if name in self.replaced:
                if self.replaced[name].shape != array.shape:
                    raise UnsupportedModelError(f"{name}: the adapter is for another shape")
                array = self.replaced[name]
            change = self.delta(name)
            if change is not None:
                if change.shape != array.shape:
                    raise UnsupportedModelError(
                        f"{name}: the adapter is for shape {change.shape}, not {array.shape}"
                    )
                array = array.astype(np.float64) + change
            if name in self.gains:
                if self.gains[name].shape != array.shape:
                    raise UnsupportedModelError(f"{name}: the adapter is for another width")
                array = array.astype(np.float64) * (1.0 + self.gains[name].astype(np.float64))
            return array

        unknown = {*self.products, *self.gains, *self.replaced} - set(source.names())
        if unknown:
            raise UnsupportedModelError(
                f"the adapter changes {min(unknown)!r}, which this model does not have"
            )
        return dataclasses.replace(source, tensor=tensor)

    def save(self, path: pathlib.Path) -> None:
        """Write the adapter as one safetensors file, two integers a byte."""
        arrays: dict[str, npt.NDArray[np.generic]] = {}
        for name, (b, a) in self.products.items():
            for side, factors in (("b", b), ("a", a)):
                arrays[f"{name}.{side}"] = _packed(factors.integers)
                arrays[f"{name}.{side}.scale"] = _bfloat16_bits(factors.scales)
        for name, gain in self.gains.items():
            arrays[f"{name}.gain"] = _bfloat16_bits(gain)
        for name, matrix in self.replaced.items():
            arrays[f"{name}.full"] = _bfloat16_bits(matrix)
        described = {
            "version": _VERSION,
            "base": self.base,
            "shapes": {
                name: [len(b.integers), a.integers.shape[1]]
                for name, (b, a) in self.products.items()
            },
        }
        # One key, because safetensors writes several in any order, and the same adapter shall be
        # the same file.
        safetensors.numpy.save_file(arrays, path, {_FORMAT: json.dumps(described, sort_keys=True)})

    @classmethod
    def load(cls, path: pathlib.Path) -> Adapter:
        """Read an adapter. Raises IntegrityError or UnsupportedModelError for what is none, or is
        damaged.
        """
        file = SafetensorsFile(path)
        try:
            described = json.loads(file.metadata[_FORMAT])
            arrays = {name: file.tensor(name) for name in file.names}
            if described["version"] != _VERSION:
                raise IntegrityError(
                    f"{path}: an adapter of version {described['version']}, not {_VERSION}"
                )
            products = {}
            for name, (rows, columns) in described["shapes"].items():
                a_scales, b_scales = (
                    _from_bfloat16_bits(arrays[f"{name}.{side}.scale"]) for side in "ab"
                )
                if b_scales.shape != (rows,):
                    raise ValueError(f"{name}: {b_scales.shape} scales for {rows} rows")
                b = Factors(_unpacked(arrays[f"{name}.b"], rows, len(a_scales)), b_scales)
                a = Factors(_unpacked(arrays[f"{name}.a"], len(a_scales), columns), a_scales)
                _check_exact(name, b, a)
                products[name] = b, a
            gains, replaced = (
                {
                    name.removesuffix(kind): _from_bfloat16_bits(bits)
                    for name, bits in arrays.items()
                    if name.endswith(kind)
                }
                for kind in (".gain", ".full")
            )
        except (
            OSError,
            LookupError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise IntegrityError(f"{path}: not an adapter, or a damaged one ({error})") from error
        return cls(products, gains, described["base"], replaced)


def _check_exact(name: str, b: Factors, a: Factors) -> None:
    """Whether the sums over the rank are exact in float64 in any order.

    A term is an integer below 2**6 times a significand of 8 bits times a power of two, so all terms
    are multiples of the smallest scale's unit: sums of up to 2**9 of them need 6 + 8 + 9 bits and
    the spread of the scales.
    """
    if max(np.abs(b.integers).max(initial=0), np.abs(a.integers).max(initial=0)) > FACTOR_MAX:
        raise ValueError(f"{name}: factors beyond ±{FACTOR_MAX}")
    for scales in (a.scales, b.scales):
        if not (np.isfinite(scales) & (scales >= 0)).all() or scales.max(initial=0) > 2.0**20:
            raise ValueError(f"{name}: scales that are not finite, negative or above 2**20")
    used = a.scales[a.scales > 0]
    if len(used) and (np.log2(used.max() / used.min()) > _MAX_SPREAD_BITS or used.min() < 2.0**-60):
        raise ValueError(f"{name}: scales too far apart for exact sums")
    if len(a.scales) > 512:
        raise ValueError(f"{name}: rank {len(a.scales)}, at most 512")


def _packed(integers: Integers) -> npt.NDArray[np.uint8]:
    """Two integers a byte, the first one in the low half: [n] -> [ceil(n / 2)]."""
    flat = (integers.ravel().astype(np.int16) + 8).astype(np.uint8)
    flat = np.append(flat, np.uint8(8)) if flat.size % 2 else flat
    packed: npt.NDArray[np.uint8] = flat[::2] | (flat[1::2] << np.uint8(4))
    return packed


def _unpacked(packed: npt.NDArray[np.generic], rows: int, columns: int) -> Integers:
    if packed.dtype != np.uint8 or packed.size != (rows * columns + 1) // 2:
        raise ValueError(f"{packed.size} bytes for {rows} x {columns} factors")
    pairs = packed.astype(np.uint8, copy=False)
    halves = np.stack((pairs & 15, pairs >> 4), axis=-1).ravel()[: rows * columns]
    return (halves.astype(np.int8) - np.int8(8)).reshape(rows, columns)


def _bfloat16_bits(values: Scales) -> npt.NDArray[np.uint16]:
    """The upper halves of float32 numbers whose lower halves are 0."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    if (bits & 0xFFFF).any():
        raise ValueError("a number that is no bfloat16")
    return (bits >> 16).astype(np.uint16)


def _from_bfloat16_bits(bits: npt.NDArray[np.generic]) -> Scales:
    if bits.dtype != np.uint16:
        raise ValueError(f"numbers of type {bits.dtype} for bfloat16 ones")
    return (bits.astype(np.uint32) << 16).view(np.float32)
