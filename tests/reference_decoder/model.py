"""What the decoder knows of a model (docs/arithmetic.md, sections 2.1, 2.2 and 3.4)."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Spec:
    """The shape of a decoder-only transformer, Llama's but for its features."""

    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    vocab: int
    max_positions: int
    norm_eps: float
    start_token: int
    escape_token: int
    features: Mapping[str, Any] | None = None
    """What it has beyond Llama's decoder (2.6)."""


@dataclasses.dataclass(frozen=True)
class Model:
    """Weights as integers, and what each token stands for."""

    spec: Spec
    tensors: Mapping[str, npt.NDArray[Any]]
    token_bytes: tuple[bytes, ...]
    rules: str = ""
    """How text is split into tokens, as `tokenizers` describes it in JSON; only dictionaries need
    it.
    """
    _matrices: dict[str, npt.NDArray[np.float64]] = dataclasses.field(default_factory=dict)

    def matrix(self, name: str) -> npt.NDArray[np.float64]:
        """The integers of a weight matrix as float64, in which all their sums of products are
        exact."""
        if name not in self._matrices:
            self._matrices[name] = self.tensors[name + ".weight"].astype(np.float64)
        return self._matrices[name]

    @functools.cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 over all that decides a coded bit."""
        digest = hashlib.sha256()

        def field(data: bytes) -> None:
            digest.update(len(data).to_bytes(8, "little") + data)

        field(b"llmzip arithmetic 1")
        described = dataclasses.asdict(self.spec)
        if not self.spec.features:
            del described["features"]
        field(json.dumps(described, sort_keys=True, separators=(",", ":")).encode())
        field(b"".join(len(text).to_bytes(4, "little") + text for text in self.token_bytes))
        for name, array in sorted(self.tensors.items()):
            field(f"{name} {array.dtype.name} {list(array.shape)}".encode())
            field(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.digest()
