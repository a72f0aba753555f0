"""What the C core and Python both say by hand is the same: signatures, structures, status codes,
numbers and their names.
"""

from __future__ import annotations

import ctypes
import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from llmzip.arithmetic import constants as arithmetic
from llmzip.engine import base as engines
from llmzip.engine import native_core
from llmzip.mixing import (
    base,
    biases,
    calibration,
    counts,
    descent,
    hashing,
    matches,
    mixer,
    neighbors,
    newton,
    reference,
    token_classes,
)
from llmzip.model import features, spec
from tests import native_sources as native

MIXING_MODULES = (
    *(base, hashing, counts, token_classes),
    *(matches, neighbors, biases, calibration, mixer, descent, newton),
)

KINDS = {
    None: "nothing",
    ctypes.c_int: "int",
    ctypes.c_char_p: "text",
    ctypes.c_void_p: "pointer",
    ctypes.POINTER(native_core.Spec): "spec",
}

ONLY_PYTHON = {
    "FREQUENCY_TOTAL",  # 1 << FREQUENCY_BITS
    "INT8_MAX",  # stdint.h has them
    "INT16_MAX",
    "MIXING_VERSION",  # C compares with 2 and 3
    "NO_TOKEN",  # -1 in native.h
    "EXPERTS",  # names: enum expert, tested below
    "TOP_TOKENS",  # native.h: LLMZIP_TOP_TOKENS
    "MIN_CAPACITY_BITS",  # Python alone refuses other capacities
    "MAX_CAPACITY_BITS",
}
ONLY_C = {
    "CONTEXT_COUNTS",  # derived: tested below
    "INITIAL_WEIGHTS",
    "MAX_CONTEXT_COUNT",
    "MAX_CANDIDATES",
}


def equal(c: Any, python: Any) -> bool:
    """Whether the numbers are the same, as float32 where C has floats."""
    if isinstance(c, tuple):
        return isinstance(python, tuple) and len(c) == len(python) and all(map(equal, c, python))
    if isinstance(c, float) or isinstance(python, (float, np.floating)):
        return bool(np.float32(c) == np.float32(python))
    return bool(c == python)


def public_numbers(modules: Sequence[ModuleType]) -> dict[str, Any]:
    """The named numbers of modules."""
    found = {}
    for module in modules:
        for name, value in vars(module).items():
            if re.fullmatch(r"[A-Z][A-Z0-9_]*", name) and isinstance(
                value, (int, float, np.number, tuple)
            ):
                found[name] = value
    return found


def number_differences(
    text: str, modules: Sequence[ModuleType], known: Mapping[str, Any]
) -> list[str]:
    """The names that a header and Python modules do not both give to the same number."""
    c = {name: value for name, value in native.constants(text, known).items() if name not in ONLY_C}
    c = {name: value for name, value in c.items() if not name.startswith(("EXPERT_", "FEATURE_"))}
    python = {
        name: value for name, value in public_numbers(modules).items() if name not in ONLY_PYTHON
    }
    missing = [f"{name} is missing in Python" for name in c if name not in python]
    missing += [f"{name} is missing in C" for name in python if name not in c]
    both = [name for name in c if name in python]
    return missing + [
        f"{name}: {c[name]} in C, {python[name]} in Python"
        for name in both
        if not equal(c[name], python[name])
    ]


def arithmetic_differences(text: str) -> list[str]:
    return number_differences(text, [arithmetic], {})


def mixing_differences(text: str) -> list[str]:
    known = native.constants(native.source("native.h"))
    return number_differences(text, MIXING_MODULES, known)


def signature_differences(text: str) -> list[str]:
    c = native.functions(text)
    python = {
        name: tuple(KINDS[kind] for kind in kinds) for name, kinds in native_core.SIGNATURES.items()
    }
    names = sorted(c.keys() | python.keys())
    return [
        f"{name}: {c.get(name)} in C, {python.get(name)} in Python"
        for name in names
        if c.get(name) != python.get(name)
    ]


def name_differences(text: str) -> list[str]:
    """The structure, enumerations and status codes of native.h."""
    found = []
    if native.structure(text, "spec") != list(native_core.Spec._fields_):
        found.append("struct spec")
    for enum, prefix, names in (
        ("tensor", "TENSOR_", native_core.TENSORS),
        ("vector", "VECTOR_", native_core.VECTORS),
        ("activation", "ACTIVATION_", features.ACTIVATIONS),
        ("head_norm", "HEAD_NORM_", features.HEAD_NORMS),
        ("phase", "PHASE_", native_core.PHASES),
    ):
        members = [name.removeprefix(prefix).lower() for name in native.enumeration(text, enum)]
        if members not in ([*names], [*names, enum + "s"]):
            found.append(f"enum {enum}")
    numbers = native.constants(text)
    statuses = {
        "OK": native_core.OK,
        "NO_MEMORY": native_core.NO_MEMORY,
        "BAD_ARGUMENT": native_core.BAD_ARGUMENT,
    }
    twins = {**statuses, "TOP_TOKENS": base.TOP_TOKENS}
    return found + [name for name, value in twins.items() if numbers.get(f"LLMZIP_{name}") != value]


HEADERS: Mapping[str, Callable[[str], list[str]]] = {
    "arithmetic_constants.h": arithmetic_differences,
    "mixing_constants.h": mixing_differences,
    "native.h": lambda text: signature_differences(text) + name_differences(text),
}


@pytest.mark.parametrize("header", HEADERS)
def test_c_and_python_say_the_same(header: str) -> None:
    assert HEADERS[header](native.source(header)) == []


def mutants(header: str) -> list[tuple[str, str]]:
    """What has changed, and the header with that one change."""
    text = native.source(header)
    changes = []
    for match in re.finditer(r"^#define (\w+) (\S.*)$", text, re.MULTILINE):
        if match[1] not in ONLY_C and not match[1].startswith("EXPORT"):
            changes.append((f"{match[1]} renamed", re.sub(rf"\b{match[1]}\b", "OTHER", text)))
            digit = re.search(r"(?<=0x)\d|(?<![\w.])\d(?!x)", match[2])
            if digit:
                i = match.start(2) + digit.start()
                changes.append(
                    (f"digit of {match[1]}", text[:i] + "1234567898"[int(text[i])] + text[i + 1 :])
                )
    code = native.without_comments(text)
    for match in re.finditer(r"\b(?:int|int32_t)(?= \w+[,)])|(?<=EXPORT )int\b", code):
        changes.append(
            (f"type at {match.start()}", code[: match.start()] + "void *" + code[match.end() :])
        )
    for match in re.finditer(r"\b(?:TENSOR|VECTOR|PHASE|ACTIVATION|HEAD_NORM)_\w+,", code):
        changes.append((f"{match[0]} gone", code[: match.start()] + code[match.end() :]))
    for match in re.finditer(r"EXPORT (?!__)[^;(]*llmzip_\w+\([^;]*;", code):
        changes.append((f"{match[0]} gone", code[: match.start()] + code[match.end() :]))
    for match in re.finditer(r"LLMZIP_\w+ = -?(\d)", code):
        changes.append((match[0], code[: match.start(1)] + "7" + code[match.end(1) :]))
    for old, new in (
        ("layers, d_model", "d_model, layers"),
        ("float norm_eps", "int32_t norm_eps"),
    ):
        if old in code:
            changes.append((new, code.replace(old, new)))
    return changes


@pytest.mark.parametrize("header", HEADERS)
def test_every_change_of_one_side_is_noticed(header: str) -> None:
    found = mutants(header)
    assert len(found) > 20
    for change, text in found:
        assert HEADERS[header](text) != [], change


@pytest.mark.parametrize("module", [*MIXING_MODULES, arithmetic])
def test_every_change_of_python_is_noticed(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = "arithmetic_constants.h" if module is arithmetic else "mixing_constants.h"
    for name, value in public_numbers([module]).items():
        if name not in ONLY_PYTHON:
            monkeypatch.setattr(
                module, name, (*value, 1) if isinstance(value, tuple) else value * 2
            )
            imported = [
                other for other in MIXING_MODULES if other is not module and hasattr(other, name)
            ]
            for other in imported:
                monkeypatch.setattr(other, name, vars(module)[name])
            assert HEADERS[header](native.source(header)) != [], name
            monkeypatch.undo()


def test_the_derived_numbers_are_those_of_the_experts() -> None:
    numbers = native.constants(
        native.source("mixing_constants.h"), native.constants(native.source("native.h"))
    )
    mixer_of = reference.ReferenceContextMixer(8, 16, 100, 0, np.zeros(100, np.uint8))
    experts = mixer_of._experts
    assert numbers["CONTEXT_COUNTS"] == tuple(expert.contexts for expert in experts)
    assert numbers["MAX_CONTEXT_COUNT"] == max(numbers["CONTEXT_COUNTS"])
    assert numbers["INITIAL_WEIGHTS"] == tuple(
        weight for expert in experts for weight in expert.initial_weights
    )
    assert numbers["MAX_CANDIDATES"] == base.TOP_TOKENS + 1 + neighbors.NEIGHBORS
    assert [numbers[f"EXPERT_{name.upper()}"] for name in base.EXPERTS] == [
        *range(numbers["EXPERT_COUNT"])
    ]
    firsts = [
        numbers[name]
        for name in (
            *("FEATURE_MATCH", "FEATURE_SHARE", "FEATURE_BIAS", "FEATURE_ONE", "FEATURE_COUNT"),
        )
    ]
    assert np.diff(firsts).tolist() == [len(expert.initial_weights) for expert in experts]
    assert numbers["CONTEXTS"] * numbers["CONTEXT_BITS"] == 64
    assert numbers["ORDER_COUNT"] == len(numbers["ORDERS"])
    assert numbers["HISTORY"] == numbers["ORDERS"][-1]


def test_the_kernels_header_has_pythons_numbers() -> None:
    numbers = native.constants(native.source("kernels.h"))
    assert numbers["SINK_TOKENS"] == engines.SINK_TOKENS
    assert numbers["MAX_HEAD_DIM"] == spec.MAX_HEAD_DIM
    assert (
        native.constants(native.source("arithmetic_constants.h"))["BUCKET_SIZE"]
        == arithmetic.BUCKET_SIZE
    )


def test_the_model_has_the_fields_of_the_c_structure() -> None:
    fields = {
        field.name
        for described in (spec.ModelSpec, features.Features)
        for field in dataclasses.fields(described)
    }
    derived = {"mlp_rotation", "model_rotation", "key_rotation"}
    derived |= {"expert_rotation", "shared_rotation"}
    assert {field[0] for field in native_core.Spec._fields_} <= fields | derived | {"featured"}
    for name in derived:
        assert isinstance(getattr(spec.ModelSpec, name), property)


def test_the_kernels_have_the_names_that_python_asks_for() -> None:
    names = {
        name
        for path in native.NATIVE.glob("kernels_*.c")
        for name in re.findall(r'^#define KERNELS_NAME "(\w+)"', path.read_text(), re.MULTILINE)
    }
    assert names == set(native_core.KERNELS)
    table = re.findall(r"\{&kernels_(\w+),", native.source("dispatch.c"))
    # The best is first.
    assert [
        name for kernel in native_core.KERNELS for name in table if kernel.startswith(name)
    ] == table


def test_the_standard_headers_limits_are_those_of_the_arithmetic() -> None:
    assert (arithmetic.INT8_MAX, arithmetic.INT16_MAX) == (2**7 - 1, 2**15 - 1)


def test_guards_of_headers_are_their_names() -> None:
    for path in native.NATIVE.glob("*.h"):
        guards = re.findall(r"^#ifndef (LLMZIP_\w+_H)$", path.read_text("utf-8"), re.M)
        assert guards in ([], [f"LLMZIP_{path.stem.upper()}_H"]), path.name


def test_lines_of_c_have_at_most_100_columns() -> None:
    for path in (*native.NATIVE.glob("*.c"), *native.NATIVE.glob("*.h")):
        assert max(map(len, path.read_text("utf-8").splitlines())) <= 100, path.name
