"""Safetensors files, read without trust: nothing is allocated that the file has not room for,
nothing stays mapped.

What was read is the caller's own: a file that is changed or cut short afterwards changes no number.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from llmzip.errors import UnsupportedModelError
from llmzip.model.files import (
    MAX_ELEMENTS,
    file_size,
    open_regular,
    parse_object,
    read_array,
    shown,
)

_MAX_HEADER = 100_000_000  # as the library safetensors has it
_MAX_DIMENSIONS = 8
_TYPES: Mapping[str, np.dtype[np.generic]] = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?", "I8": "i1", "U8": "u1", "I16": "<i2", "U16": "<u2", "I32": "<i4", "U32": "<u4",
        "I64": "<i8", "U64": "<u8", "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2",
    }.items()
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Where a tensor lies in the file."""

    kind: str
    shape: tuple[int, ...]
    first: int
    size: int


class SafetensorsFile:
    """The header of a file, and its tensors on demand."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read the header and check it against the file's size.

        Raises UnsupportedModelError where it is no sound safetensors file, OSError as `open` does.
        """
        self.path = path
        with open_regular(path) as file:
            self.metadata, self._entries = _read_header(
                file, f"{path} is not a readable safetensors file"
            )

    @property
    def names(self) -> list[str]:
        """Of all tensors."""
        return list(self._entries)

    def tensor(self, name: str) -> npt.NDArray[np.generic]:
        """A tensor's numbers in memory of their own; bfloat16 as float32.

        Raises UnsupportedModelError for a type that is not known, or where the file has become
        shorter meanwhile.
        """
        entry = self._entries[name]
        if entry.kind not in _TYPES:
            raise UnsupportedModelError(
                f"{self.path}: {shown(name)}: numbers of type {shown(entry.kind)}"
            )
        with open_regular(self.path) as file:
            array = read_array(file, entry.first, _TYPES[entry.kind], entry.shape)
        if entry.kind == "BF16":
            return (array.astype(np.uint32) << 16).view(np.float32)
        return array.astype(array.dtype.newbyteorder("="), copy=False)


def _read_header(file: BinaryIO, complaint: str) -> tuple[dict[str, str], dict[str, _Entry]]:
    size = file_size(file)
    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > min(_MAX_HEADER, size - 8):
        raise UnsupportedModelError(f"{complaint}: its header has no room in it")
    header = parse_object(file.read(length), complaint)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(
        isinstance(value, str) for value in metadata.values()
    ):
        raise UnsupportedModelError(f"{complaint}: metadata that are no texts")
    entries = {}
    for name, described in header.items():
        entry = _entry(described, 8 + length)
        if entry is None or entry.first + entry.size > size:
            raise UnsupportedModelError(
                f"{complaint}: tensor {shown(name)} is {shown(described)} "
                f"in a file of {size:,} bytes"
            )
        entries[name] = entry
    if sum(entry.size for entry in entries.values()) > size:
        raise UnsupportedModelError(f"{complaint}: its tensors overlap")
    return metadata, entries


def _entry(described: Any, start: int) -> _Entry | None:
    """A tensor's description, its bytes counted from the file's `start`; None where it contradicts
    itself.
    """
    if not isinstance(described, dict):
        return None
    kind, shape, offsets = (
        described.get("dtype"),
        _sizes(described.get("shape")),
        _sizes(described.get("data_offsets")),
    )
    if not isinstance(kind, str) or shape is None or offsets is None or len(offsets) != 2:
        return None
    first, end = offsets
    wanted = math.prod(shape) * _TYPES[kind].itemsize if kind in _TYPES else end - first
    return _Entry(kind, shape, start + first, end - first) if 0 <= end - first == wanted else None


def _sizes(value: Any) -> tuple[int, ...] | None:
    """A few non-negative whole numbers with a product that is no nonsense, or None."""
    if not isinstance(value, list) or len(value) > _MAX_DIMENSIONS:
        return None
    if not all(type(number) is int and number >= 0 for number in value):
        return None
    return tuple(value) if math.prod(max(number, 1) for number in value) <= MAX_ELEMENTS else None
