"""The C core (native/) as ctypes sees it: what it is called with, and whether it is here."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from typing import Any

import numpy.typing as npt

PARTS = ("norm", "gemm", "attention", "mlp", "head", "weights", "recall", "mix", "learn")
"""What the profile tells apart; the last three are the mixer's steps."""
LAYER_TENSORS = ("q", "k", "v", "o", "gate", "up", "down")
TENSORS = (*LAYER_TENSORS, "head")

OK, NO_MEMORY, BAD_ARGUMENT = 0, -1, -2
"""What a function of the C core returns (`LLMZIP_...` in native.h)."""

_MODULE = "llmzip.engine._native"


class Spec(ctypes.Structure):
    """`struct spec` of native.h."""

    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "d_model", "heads", "kv_heads", "head_dim", "d_ff", "vocab")),
        ("max_positions", ctypes.c_int32),
        ("mlp_rotation", ctypes.c_int32),
        ("norm_eps", ctypes.c_float),
    )


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The C core, or None and the reason."""
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        return None, "the C core was not built: reinstall llmzip with a C11 compiler (gcc or clang) at hand"
    try:
        library = ctypes.CDLL(found.origin)
    except OSError as error:
        return None, f"the C core does not load: {error}"
    pointer, number = ctypes.c_void_p, ctypes.c_int
    signatures: dict[str, tuple[Any, ...]] = {  # result, arguments
        "kernels": (ctypes.c_char_p, ctypes.c_char_p),
        "engine_new": (pointer, ctypes.POINTER(Spec), number, ctypes.c_char_p, pointer, pointer, pointer),
        "engine_put": (None, pointer, number, number, pointer, pointer),
        "engine_free": (None, pointer),
        "engine_profile": (None, pointer, pointer),
        "session_new": (pointer, pointer, number, number, number),
        "session_fork": (pointer, pointer, number, number, number),
        "session_free": (None, pointer),
        "advance": (number, pointer, pointer, number, number, pointer, pointer),
        "head": (number, pointer, pointer, pointer, number, *[pointer] * 5),
        "weights": (number, pointer, pointer, pointer, pointer, number, pointer),
        "weights_of": (None, pointer, pointer, pointer, pointer, pointer, number, number, pointer),
        "replace": (None, *[pointer] * 6, number, number, pointer),
        "token_frequencies": (number, *[pointer] * 7, number, number, pointer),
        "frequencies": (number, pointer, pointer, number, number, pointer),
        "mixer_new": (pointer, pointer, number, number),
        "mixer_copy": (pointer, pointer),
        "mixer_free": (None, pointer),
        "mixer_start": (number, pointer, number, pointer, number),
        "mixer_columns": (number,),
        "mixer_recall": (number, pointer, pointer, pointer, number, number, pointer),
        "mixer_mix": (None, pointer, pointer, pointer, pointer),
        "mixer_learn": (number, pointer, pointer, pointer),
        "product": (number, pointer, number, number, pointer, number, pointer),
    }
    for name, (result, *arguments) in signatures.items():
        function = library[f"llmzip_{name}"]
        function.restype, function.argtypes = result, arguments
        setattr(library, name, function)
    return library, ""


def why_not_available() -> str:
    """Why the native engine cannot be used here; empty when it can."""
    return _load()[1]


def native_is_available() -> bool:
    """Whether `NativeEngine` can be used here."""
    return _load()[0] is not None


def kernel_names() -> tuple[str, ...]:
    """The sets of kernels that this processor runs, best first."""
    library = core()
    names = ("avx512vnni", "avxvnni", "avx2", "dotprod", "portable")
    return tuple(name for name in names if library.kernels(name.encode()))


def core() -> Any:
    """The C core; RuntimeError where it is not available."""
    library, reason = _load()
    if library is None:
        raise RuntimeError(f"no native engine: {reason}")
    return library


def check(status: int) -> None:
    """Raise what a status of the C core means: MemoryError or ValueError."""
    if status == NO_MEMORY:
        raise MemoryError("the native engine is out of memory")
    if status == BAD_ARGUMENT:
        raise ValueError("arguments outside the session or the mixer")
    if status != OK:
        raise AssertionError(f"the C core returned the unknown status {status}")


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's data lie."""
    data: tuple[int, bool] = array.__array_interface__["data"]  # much quicker than `array.ctypes`
    return data[0]
