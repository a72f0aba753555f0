"""GGUF files, read without trust: every count and size is held against what is left of the file
before it is used.

The package gguf knows how blocks of quantized weights are laid out; its own reader believes what a
file says of itself.
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
from llmzip.model.files import MAX_ELEMENTS, file_size, open_regular, read_array, shown

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MAX_DIMENSIONS = 4
_DEFAULT_ALIGNMENT = 32
_SCALARS = {  # the types of metadata: number -> numpy's name
    number: np.dtype(code)
    for number, code in enumerate(
        ("u1", "i1", "<u2", "<i2", "<u4", "<i4", "<f4", "?", "", "", "<u8", "<i8", "<f8")
    )
    if code
}
_STRING, _ARRAY = 8, 9


class _HeaderError(ValueError):
    """What is wrong with the file."""


@dataclasses.dataclass(frozen=True)
class _Entry:
    """Where a tensor lies in the file."""

    kind: int
    """A number of gguf.GGMLQuantizationType."""
    shape: tuple[int, ...]
    first: int


class GGUFFile:
    """The metadata of a file, and its tensors on demand."""

    fields: Mapping[str, Any]
    """Metadata: numbers, texts, and lists of those."""

    def __init__(self, path: pathlib.Path) -> None:
        """Read the header.

        Raises UnsupportedModelError where it is no sound GGUF file, OSError as `open` does.
        """
        self.path = path
        with open_regular(path) as file:
            try:
                self.fields, self._entries = _Header(file).read()
            except (ValueError, struct.error) as error:
                raise UnsupportedModelError(
                    f"{path} is not a readable GGUF file: {error}"
                ) from error

    @property
    def names(self) -> list[str]:
        """Of all tensors."""
        return list(self._entries)

    def field(self, key: str, default: Any = ...) -> Any:
        """A value of the metadata. Raises KeyError for a missing one without a default."""
        return self.fields[key] if default is ... else self.fields.get(key, default)

    def tensor(self, name: str) -> npt.NDArray[np.float32]:
        """A tensor's numbers, dequantized. Raises UnsupportedModelError for types that are no
        floats of any kind.
        """
        import gguf

        entry = self._entries[name]
        kind = gguf.GGMLQuantizationType(entry.kind)
        with open_regular(self.path) as file:
            blocks = read_array(
                file, entry.first, np.dtype(np.uint8), _byte_shape(entry.shape, entry.kind)
            )
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused by whoever asked
                return np.asarray(gguf.dequantize(blocks, kind), np.float32)
        except (NotImplementedError, ValueError, IndexError) as error:
            raise UnsupportedModelError(
                f"{self.path}: {shown(name)}: {kind.name} is not supported"
            ) from error


def _byte_shape(shape: tuple[int, ...], kind: int) -> tuple[int, ...]:
    """The shape in bytes of a tensor of this shape and type. Raises ValueError where rows are no
    whole blocks.
    """
    import gguf

    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType(kind)]
    if shape[-1] % block:
        raise _HeaderError(f"rows of {shape[-1]} numbers are not whole blocks of {block}")
    return (*shape[:-1], shape[-1] // block * size)


class _Header:
    """Reads a header from the start of a file to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file_size(file)

    def read(self) -> tuple[dict[str, Any], dict[str, _Entry]]:
        """Metadata and tensors. Raises ValueError or struct.error for what cannot be."""
        if self._take(4) != _MAGIC:
            raise _HeaderError("it does not begin with GGUF")
        version = self._number("<I")
        if version not in _VERSIONS:
            raise _HeaderError(f"version {version}; supported: {_VERSIONS}, little-endian")
        tensors, fields = self._count(24), self._count(13)
        metadata: dict[str, Any] = {}
        for _ in range(fields):
            key = self._text()
            if key in metadata:
                raise _HeaderError(f"{shown(key)} twice")
            metadata[key] = self._value(self._number("<I"))
        described = [self._described() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", _DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise _HeaderError(f"alignment {shown(alignment)}")
        start = -(-self._file.tell() // alignment) * alignment
        return metadata, self._entries(described, start)

    def _entries(self, described: list[tuple[str, _Entry]], start: int) -> dict[str, _Entry]:
        entries, total = {}, 0
        for name, entry in described:
            size = math.prod(_byte_shape(entry.shape, entry.kind))
            total += size
            if name in entries or start + entry.first + size > self._size or total > self._size:
                raise _HeaderError(f"tensor {shown(name)} is there twice, or has no room")
            entries[name] = dataclasses.replace(entry, first=start + entry.first)
        return entries

    def _take(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._left() else b""
        if len(data) != count:
            raise _HeaderError(f"it ends where {count:,} more bytes should be")
        return data

    def _left(self) -> int:
        return self._size - self._file.tell()

    def _number(self, layout: str) -> int:
        number: int = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return number

    def _count(self, least_bytes: int) -> int:
        """A number of things that take at least so many bytes each."""
        count = self._number("<Q")
        if count * least_bytes > self._left():
            raise _HeaderError(f"{count:,} entries have no room in it")
        return count

    def _text(self) -> str:
        return self._take(self._count(1)).decode("utf-8")

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind == _ARRAY:
            inner = self._number("<I")
            if inner == _STRING:
                return [self._text() for _ in range(self._count(8))]
            count = self._count(_scalar(inner).itemsize)
            return np.frombuffer(
                self._take(count * _scalar(inner).itemsize), _scalar(inner)
            ).tolist()
        return np.frombuffer(self._take(_scalar(kind).itemsize), _scalar(kind))[0].item()

    def _described(self) -> tuple[str, _Entry]:
        name, dimensions = self._text(), self._number("<I")
        if not 1 <= dimensions <= _MAX_DIMENSIONS:
            raise _HeaderError(f"tensor {shown(name)} has {dimensions} dimensions")
        shape = struct.unpack(f"<{dimensions}Q", self._take(8 * dimensions))[::-1]
        if math.prod(max(size, 1) for size in shape) > MAX_ELEMENTS >> 6:
            raise _HeaderError(f"tensor {shown(name)} has the shape {shape}")
        return name, _Entry(self._number("<I"), shape, self._number("<Q"))


def _scalar(kind: int) -> np.dtype[np.generic]:
    if kind not in _SCALARS:
        raise _HeaderError(f"values of type {kind}")
    return _SCALARS[kind]
