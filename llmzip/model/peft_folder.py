"""LoRA adapters as the package `peft` saves them: a folder with adapter_config.json and
adapter_model.safetensors (LoRA, arXiv 2106.09685; rank-stabilized scales, arXiv 2312.03732).

They are merged into the published tensors, before anything is stacked or transposed. A product of
two float32 numbers is exact in float64, and they are added in the order of the rank: the merged
model has one fingerprint everywhere (docs/arithmetic.md, 3.5).
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
import pathlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.errors import UnsupportedModelError
from llmzip.model.files import MAX_CONFIG, digest_of, one_error, parse_object, read_whole, shown
from llmzip.model.float_model import Metadata
from llmzip.model.safetensors_file import SafetensorsFile
from llmzip.types import Float32Array

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"

_HARMLESS = {
    "alpha_pattern", "auto_mapping", "base_model_name_or_path", "bias", "eva_config",
    "exclude_modules", "fan_in_fan_out", "inference_mode", "init_lora_weights",
    "layers_pattern", "layers_to_transform", "lora_alpha", "lora_dropout", "megatron_core",
    "modules_to_save", "peft_type", "peft_version", "qalora_group_size", "r", "rank_pattern",
    "revision", "runtime_config", "target_modules", "task_type", "use_rslora",
}  # fmt: skip
"""Keys that are read here, or that say nothing about the sums. Which modules are changed, the
tensors say; whether a matrix is published transposed, the base does (peft, too, goes by it).
"""
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
"""How training began, of what leaves the base's weights as they were."""
_PREFIX = "base_model.model."
_SIDES = {
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_embedding_A": "embedding A",
    ".lora_embedding_B": "embedding B",
}
_PLAIN_PATTERN = re.compile(r"\^?[\w.]+")
_ROWS = 64
"""Rows at a time, so that their sums stay in the processor's cache."""


@dataclasses.dataclass(frozen=True)
class LowRank:
    """What is added to one matrix: scale × B·A."""

    b: Float32Array  # [outputs, r]
    a: Float32Array  # [r, inputs]
    scale: float
    embedding: bool = False
    """Whether it is an embedding's: the sum is [d, V], turned around."""

    def added(self, array: npt.NDArray[np.floating], transposed: bool) -> npt.NDArray[np.float64]:
        """The matrix [outputs, inputs] and the product, float64; transposed: both are turned
        around in what is given and comes back.
        """
        turned = array.T if transposed != self.embedding else array
        if turned.shape != (len(self.b), self.a.shape[1]):
            raise ValueError(f"for shape {(len(self.b), self.a.shape[1])}, not {turned.shape}")
        b, a = self.b.astype(np.float64), self.a.astype(np.float64)
        merged = np.empty(turned.shape)
        for first in range(0, len(b), _ROWS):
            rows = slice(first, first + _ROWS)
            sums = b[rows, :1] * a[:1]
            for r in range(1, len(a)):
                sums += b[rows, r : r + 1] * a[r]
            merged[rows] = turned[rows] + self.scale * sums
        return merged.T if turned is not array else merged


@dataclasses.dataclass(frozen=True)
class PeftAdapter:
    """Changes of a float model, by the published names of its modules and tensors."""

    path: pathlib.Path
    products: Mapping[str, LowRank]
    """By modules, `model.layers.0.self_attn.q_proj`."""
    replaced: Mapping[str, Float32Array]
    """By tensors, `lm_head.weight`: those of modules that were trained whole."""
    bases: Mapping[str, Float32Array]
    """By modules: weights that were not trained, which peft saves beside a changed embedding."""

    def changed(
        self, names: Sequence[str], array: Float32Array, transposed: bool
    ) -> npt.NDArray[np.floating]:
        """A published tensor with the changes made; names: what it may be called, transposed:
        whether it is [inputs, outputs].

        Raises UnsupportedModelError where a shape does not fit.
        """
        found: npt.NDArray[np.floating] = array
        for name in names:
            module = name.removesuffix(".weight")
            if module in self.bases and not np.array_equal(self.bases[module], array):
                raise UnsupportedModelError(
                    f"{self.path}: {module!r}: saved whole, not one of modules_to_save, "
                    "and other numbers than the base's"
                )
            if name in self.replaced:
                if self.replaced[name].shape != array.shape:
                    raise UnsupportedModelError(
                        f"{self.path}: {name!r}: for shape {self.replaced[name].shape}, "
                        f"not {array.shape}"
                    )
                found = self.replaced[name]
            if name.endswith(".weight") and module in self.products:
                try:
                    found = self.products[module].added(found, transposed)
                except ValueError as error:
                    raise UnsupportedModelError(f"{self.path}: {module!r}: {error}") from error
        return found

    def refuse_unknown(self, names: Iterable[str]) -> None:
        """Refuse changes of what the model has not; names: those of all its tensors.

        Raises UnsupportedModelError.
        """
        there = {*names}
        modules = {name.removesuffix(".weight") for name in there if name.endswith(".weight")}
        unknown = {*self.products, *self.bases} - modules | {*self.replaced} - there
        if unknown:
            raise UnsupportedModelError(
                f"{self.path}: the adapter changes {min(unknown)[:200]!r}, "
                "which this model does not have"
            )


def is_peft_folder(path: pathlib.Path) -> bool:
    """Whether a path is to be read as a PEFT folder, rather than as `llmzip tune`'s file."""
    return path.is_dir()


def peft_digest(path: pathlib.Path) -> str:
    """SHA-256, in hex, of the digests of the two files. Raises UnsupportedModelError."""
    with one_error(path, "not a PEFT adapter"):
        _refuse_other_weights(path)
        digests = digest_of(path / CONFIG_FILE, MAX_CONFIG), digest_of(path / WEIGHTS_FILE)
        return hashlib.sha256(b"".join(digests)).hexdigest()


def read_peft(path: pathlib.Path) -> PeftAdapter:
    """The LoRA adapter in a folder. Raises UnsupportedModelError for another kind of adapter and
    for files that cannot be understood.
    """
    with one_error(path, "not a complete PEFT adapter"):
        _refuse_other_weights(path)
        config = parse_object(read_whole(path / CONFIG_FILE, MAX_CONFIG), path / CONFIG_FILE)
        _check(config)
        return _read_tensors(path, config)


def _refuse_other_weights(path: pathlib.Path) -> None:
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (path / name).exists():
            pickled = " (adapter_model.bin could run code when it is read: convert it)"
            raise UnsupportedModelError(
                f"no {name}: not a PEFT adapter"
                + (pickled if (path / "adapter_model.bin").exists() else "")
            )


def _check(config: Mapping[str, Any]) -> None:
    """Refuse what is more than W + scale × B·A, all of it at once."""
    problems = []
    if config.get("peft_type") != "LORA":
        problems.append(f"peft_type {shown(config.get('peft_type'))} (only 'LORA')")
    if config.get("bias", "none") != "none":
        problems.append(f"bias {shown(config['bias'])} (only 'none')")
    start = config.get("init_lora_weights")
    if not (isinstance(start, bool) or start in _STARTS):
        problems.append(
            f"init_lora_weights {shown(start)}, which changes the base's weights, too "
            "(save the adapter with path_initial_model_for_weight_conversion)"
        )
    problems += [
        f"{key} {shown(value)}"
        for key, value in sorted(config.items())
        if key not in _HARMLESS and value not in (None, False, {}, [])
    ]
    if problems:
        raise UnsupportedModelError(f"{CONFIG_FILE}: not supported: {', '.join(problems)}")


def _read_tensors(path: pathlib.Path, config: Mapping[str, Any]) -> PeftAdapter:
    file = SafetensorsFile(path / WEIGHTS_FILE)
    sides: dict[str, dict[str, Float32Array]] = {}
    replaced, bases = {}, {}
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(one, str) for one in saved):
        raise UnsupportedModelError(f"modules_to_save is {shown(saved)}: not understood")
    for name in file.names:
        kind = next((ending for ending in _SIDES if name.endswith(ending)), None)
        if not name.startswith(_PREFIX):
            raise UnsupportedModelError(f"{file.path}: {name[:200]!r} is no tensor of a LoRA")
        module = name.removeprefix(_PREFIX)
        if kind:
            sides.setdefault(module.removesuffix(kind), {})[_SIDES[kind]] = _numbers(file, name)
        elif any(f".{module.rpartition('.')[0]}".endswith(f".{one}") for one in saved):
            replaced[module] = _numbers(file, name)
        elif module.endswith(".weight") and ".lora_" not in module:
            whole = module.removesuffix(".weight").removesuffix(".base_layer")
            bases[whole] = _numbers(file, name)
        else:
            raise UnsupportedModelError(
                f"{file.path}: {name[:200]!r}: neither a product of low rank "
                "nor one of modules_to_save"
            )
    products = {module: _product(module, of, config) for module, of in sides.items()}
    if not products and not replaced:
        raise UnsupportedModelError(f"{file.path}: an adapter without tensors")
    return PeftAdapter(path, products, replaced, bases)


def _product(module: str, sides: Mapping[str, Float32Array], config: Mapping[str, Any]) -> LowRank:
    embedding = any(side.startswith("embedding") for side in sides)
    wanted = ("embedding A", "embedding B") if embedding else ("A", "B")
    if {*sides} != {*wanted}:
        raise UnsupportedModelError(f"{module[:200]!r}: not one A and one B: {sorted(sides)}")
    a, b = (sides[side] for side in wanted)
    said = Metadata(
        {
            "r": _by_pattern(config, "rank_pattern", module, config.get("r")),
            "lora_alpha": _by_pattern(config, "alpha_pattern", module, config.get("lora_alpha")),
        }
    )
    r, alpha = said.whole("r"), said.number("lora_alpha")
    if a.ndim != 2 or b.ndim != 2 or len(a) != r or b.shape[1] != r:
        raise UnsupportedModelError(
            f"{module[:200]!r}: A of shape {a.shape} and B of shape {b.shape} for rank {r}"
        )
    stabilized = config.get("use_rslora") or False
    if type(stabilized) is not bool:
        raise UnsupportedModelError(f"use_rslora is {shown(stabilized)}: not understood")
    scale = alpha / math.sqrt(r) if stabilized else alpha / r
    if not abs(scale) <= 2.0**20:
        raise UnsupportedModelError(f"{module[:200]!r}: a scale of {scale!r}, beyond 2^20")
    return LowRank(b, a, scale, embedding)


def _by_pattern(config: Mapping[str, Any], key: str, module: str, default: Any) -> Any:
    """A module's own value: of the first pattern that its name ends in, or is with `^`."""
    for pattern, value in (config.get(key) or {}).items():
        if not _PLAIN_PATTERN.fullmatch(pattern):
            raise UnsupportedModelError(
                f"{key}: {shown(pattern)}: not supported: only names of modules"
            )
        name = pattern.removeprefix("^")
        if module == name or (name == pattern and module.endswith(f".{name}")):
            return value
    return default


def _numbers(file: SafetensorsFile, name: str) -> Float32Array:
    array = file.tensor(name)
    if array.dtype.kind != "f":
        raise UnsupportedModelError(f"{file.path}: {name[:200]!r}: {array.dtype}, not floats")
    with np.errstate(over="ignore", under="ignore"):
        found: Float32Array = array.astype(np.float32, copy=False)
    if not np.isfinite(found).all():
        raise UnsupportedModelError(f"{file.path}: {name[:200]!r}: numbers that are not finite")
    return found
