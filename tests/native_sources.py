"""Reading the C core's headers: constants, enumerations, structures and functions, as Python sees
them.
"""

from __future__ import annotations

import ctypes
import pathlib
import re
from collections.abc import Mapping
from typing import Any

NATIVE = pathlib.Path(__file__).parent.parent / "llmzip" / "engine" / "native"

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_INTEGERS: Mapping[str, Any] = {
    "int": ctypes.c_int,
    "int32_t": ctypes.c_int32,
    "float": ctypes.c_float,
}


def source(name: str) -> str:
    """A file of the C core."""
    return (NATIVE / name).read_text()


def without_comments(text: str) -> str:
    return _COMMENT.sub(" ", text)


def _value(expression: str, known: Mapping[str, Any]) -> Any:
    """What a constant expression of C says in Python: numbers, names, + - * << and lists in
    braces.
    """
    python = re.sub(r"\b(0x[0-9a-fA-F.]+p[-+]?\d+)f?\b", r"float.fromhex('\1')", expression)
    python = re.sub(r"\b(0x[0-9A-F]+|\d+)u\b", r"\1", python)
    python = re.sub(r"\b(\d+\.\d*)f\b", r"\1", python)
    python = python.replace("{", "(").replace("}", ",)")
    return eval(python, {"__builtins__": {}, "float": float}, dict(known))


def constants(text: str, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The numbers that #define and enum give names to; known: those of headers that this one
    includes.
    """
    found: dict[str, Any] = {}
    lines = without_comments(text).replace("\\\n", " ")
    pattern = r"^#define[ ](\w+)[ ](\S.*)$|\benum(?:\s+\w+)?\s*\{([^}]*)\}"
    for match in re.finditer(pattern, lines, re.MULTILINE):
        name, expression, members = match.groups()
        if members is not None:
            found |= _members(members, {**(known or {}), **found})
        elif re.fullmatch(r"[-+*<(){}\w., ]+", expression.strip()):
            found[name] = _value(expression.strip(), {**(known or {}), **found})
    return found


def _members(text: str, known: Mapping[str, Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    following = 0
    for member in filter(None, map(str.strip, text.split(","))):
        name, _, expression = map(str.strip, member.partition("="))
        found[name] = _value(expression, {**known, **found}) if expression else following
        following = found[name] + 1
    return found


def enumeration(text: str, name: str) -> dict[str, int]:
    """The members of an enumeration."""
    match = re.search(rf"\benum\s+{name}\s*\{{([^}}]*)\}}", without_comments(text))
    assert match, f"there is no enum {name}"
    return _members(match[1], {})


def structure(text: str, name: str) -> list[tuple[str, Any]]:
    """The fields of a structure of numbers, in order, as ctypes has them."""
    match = re.search(rf"\bstruct\s+{name}\s*\{{([^}}]*)\}}", without_comments(text))
    assert match, f"there is no struct {name}"
    fields = []
    for declaration in filter(None, map(str.strip, match[1].split(";"))):
        kind, names = declaration.split(maxsplit=1)
        fields += [(field.strip(), _INTEGERS.get(kind, kind)) for field in names.split(",")]
    return fields


def _kind(declaration: str) -> str:
    """A parameter or result: nothing, int, text, or a pointer, with what it points to where Python
    must know.
    """
    words = re.sub(r"\bconst\b", " ", declaration).replace("*", " * ").split()
    if "*" in words:
        return {"char": "text", "spec": "spec"}.get(words[words.index("*") - 1], "pointer")
    assert words[0] in ("void", "int", "int32_t"), declaration
    return {"void": "nothing"}.get(words[0], "int")


def functions(text: str) -> dict[str, tuple[str, ...]]:
    """The exported functions without their prefix: the result's kind, then the parameters'."""
    found = {}
    for result, name, parameters in re.findall(
        r"EXPORT\s+([^(;]*?)llmzip_(\w+)\(([^)]*)\)\s*;", without_comments(text)
    ):
        kinds = (
            []
            if parameters.strip() == "void"
            else [_kind(parameter) for parameter in parameters.split(",")]
        )
        found[name] = (_kind(result), *kinds)
    return found
