"""Dataclasses as JSON and back: the one place where results become JSON values and are read again.

A dataclass is an object with a key per field. The fields of a nested dataclass that is declared
with the metadata `FLAT` stand among those of the outer one; it is None where the object has not all
of its keys.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

FLAT = {"flat": True}
"""The metadata of a field that holds a dataclass or None, whose keys stand among those of the
object around it.
"""


def to_json(value: object) -> Any:
    """Dataclasses, sequences, mappings and scalars as what `json.dumps` takes."""
    if dataclasses.is_dataclass(value):
        made: dict[str, Any] = {}
        for field in dataclasses.fields(value):
            part = to_json(getattr(value, field.name))
            if not _is_flat(field):
                made[field.name] = part
            elif part is not None:
                made |= part
        return made
    if isinstance(value, Mapping):
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [to_json(part) for part in value]
    return value


def from_json(kind: type[T], value: Any) -> T:
    """Read what `to_json` has made of a value of this type: a dataclass, or what one may hold.

    Keys that the dataclass does not have are ignored; fields with a default may be missing. Raises
    ValueError that names the path to the first value of a wrong type.
    """
    made: T = _read(kind, value, "the result")
    return made


def _read(kind: Any, value: Any, path: str) -> Any:
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in parts:
            return None
        return _read(next(part for part in parts if part is not type(None)), value, path)
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, _checked(value, dict, path), path)
    if origin is dict:
        return {
            key: _read(parts[1], part, f"{path}.{key}")
            for key, part in _checked(value, dict, path).items()
        }
    if origin in (list, tuple):
        return origin(
            _read(parts[0], part, f"{path}[{i}]")
            for i, part in enumerate(_checked(value, list, path))
        )
    if origin is typing.Literal:
        if value not in parts:
            raise ValueError(f"{path} is {value!r}, not one of {', '.join(map(repr, parts))}")
        return value
    return (
        float(_checked(value, (int, float), path)) if kind is float else _checked(value, kind, path)
    )


def _read_dataclass(kind: Any, value: dict[str, Any], path: str) -> Any:
    kinds, found = _types(kind), {}
    for field in dataclasses.fields(kind):
        if _is_flat(field):
            inner = next(
                part for part in typing.get_args(kinds[field.name]) if part is not type(None)
            )
            if _required(inner) <= value.keys():
                found[field.name] = _read(inner, value, path)
        elif field.name in value:
            found[field.name] = _read(kinds[field.name], value[field.name], f"{path}.{field.name}")
    if missing := _required(kind) - found.keys():
        raise ValueError(f"{path} has no {', '.join(sorted(missing))}")
    return kind(**found)


@functools.cache
def _types(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _required(kind: Any) -> set[str]:
    """The fields that have no default."""
    missing = dataclasses.MISSING
    return {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is missing and f.default_factory is missing
    }


def _is_flat(field: dataclasses.Field[Any]) -> bool:
    return field.metadata == FLAT


def _checked(value: Any, kind: Any, path: str) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ValueError(
            f"{path} is {str(value)[:40]!r}, which is no {getattr(kind, '__name__', 'number')}"
        )
    return value
