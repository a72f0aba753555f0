"""Files of tensors: the length of a header in 8 bytes, the header in JSON, the data."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.reference_decoder.errors import DecodeError

DTYPES = {"F16": "<f2", "F32": "<f4", "I8": "i1", "I16": "<i2"}


class Safetensors:
    """One file, read whole."""

    def __init__(self, path: pathlib.Path) -> None:
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        self.header: dict[str, Any] = json.loads(data[8 : 8 + length])
        self.metadata: dict[str, str] = self.header.pop("__metadata__", {})
        self._data = data[8 + length :]

    def tensor(self, name: str) -> npt.NDArray[Any]:
        """A tensor of integers or floats; bfloat16 numbers are widened to float32."""
        entry = self.header[name]
        start, stop = entry["data_offsets"]
        raw, kind = self._data[start:stop], entry["dtype"]
        if kind == "BF16":  # the upper half of a float32
            numbers = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        elif kind in DTYPES:
            numbers = np.frombuffer(raw, DTYPES[kind])
        else:
            raise DecodeError(f"tensor {name} has the type {kind}")
        return numbers.reshape(entry["shape"])
