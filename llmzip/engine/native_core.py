"""The declarations of the C core (native/) for ctypes, and whether it can be loaded."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

PHASES = ("norm", "gemm", "attention", "mlp", "head", "weights", "recall", "mix", "learn")
"""The phases that the profile counts; the last three are the mixer's steps."""
LAYER_TENSORS = ("q", "k", "v", "o", "gate", "up", "down")
EXPERT_TENSORS = ("router", "experts_gate", "experts_up", "experts_down")
SHARED_TENSORS = ("shared_router", "shared_gate", "shared_up", "shared_down")
TENSORS = (*LAYER_TENSORS, *EXPERT_TENSORS, *SHARED_TENSORS, "head")
VECTORS = (
    *("q_bias", "k_bias", "o_bias", "gate_bias", "up_bias", "down_bias", "head_bias"),
    *("q_norm", "k_norm", "o_norm", "down_norm"),
)
KERNELS = ("amx", "avx512vnni", "avxvnni", "avx2", "i8mm", "dotprod", "portable")
"""The sets of kernels, best first; which of them there are depends on the processor and the
compiler.
"""

OK, NO_MEMORY, BAD_ARGUMENT = 0, -1, -2
"""The status codes of the C core's functions (`LLMZIP_...` in native.h)."""

_MODULE = "llmzip.engine._native"


class Spec(ctypes.Structure):
    """`struct spec` of native.h."""

    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in ("layers", "d_model", "heads", "kv_heads", "head_dim", "d_ff", "vocab")
        ),
        ("max_positions", ctypes.c_int32),
        ("mlp_rotation", ctypes.c_int32),
        ("norm_eps", ctypes.c_float),
        *((name, ctypes.c_int32) for name in ("featured", "model_rotation", "activation", "gated")),
        *((name, ctypes.c_int32) for name in ("parallel", "pre_norm", "post_norm", "head_norm")),
        *((name, ctypes.c_int32) for name in ("learned_positions", "rope_tables", "key_rotation")),
        *((name, ctypes.c_float) for name in ("attention_cap", "logit_cap")),
        *((name, ctypes.c_int32) for name in ("experts", "experts_used", "expert_ff")),
        *((name, ctypes.c_int32) for name in ("experts_normalized", "expert_rotation")),
        *((name, ctypes.c_int32) for name in ("shared_ff", "shared_weighted", "shared_rotation")),
    )


_POINTER, _INT = ctypes.c_void_p, ctypes.c_int
_PARTS = _POINTER, _POINTER, _POINTER, _INT  # mixers, their first rows and numbers of rows
SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "kernels": (ctypes.c_char_p, ctypes.c_char_p),
    "engine_new": (
        _POINTER,
        ctypes.POINTER(Spec),
        _INT,
        ctypes.c_char_p,
        *[_POINTER] * 4,
    ),
    "engine_put": (None, _POINTER, _INT, _INT, _POINTER, _POINTER),
    "engine_layer": (None, _POINTER, _INT, _INT, _INT, _INT),
    "engine_vector": (None, _POINTER, _INT, _INT, _POINTER),
    "engine_positions": (None, _POINTER, _POINTER, _POINTER),
    "engine_share": (_POINTER, _POINTER, _INT),
    "engine_free": (None, _POINTER),
    "engine_profile": (None, _POINTER, _POINTER),
    "session_new": (_POINTER, _POINTER, _INT, _INT, _INT),
    "session_fork": (*[_POINTER] * 4, _INT, _INT, _INT),
    "session_free": (None, _POINTER),
    "session_rewind": (_INT, _POINTER, _INT),
    "advance": (_INT, _POINTER, _POINTER, _INT, _INT, _POINTER, _POINTER),
    "head": (_INT, _POINTER, _POINTER, _POINTER, _INT, *[_POINTER] * 5),
    "weights": (_INT, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _POINTER),
    "weights_of": (None, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _INT, _INT, _POINTER),
    "replace": (None, *[_POINTER] * 6, _INT, _INT, _POINTER),
    "token_frequencies": (_INT, *[_POINTER] * 7, _INT, _INT, _POINTER),
    "frequencies": (_INT, _POINTER, _POINTER, _INT, _INT, _POINTER),
    "mixer_new": (_POINTER, _POINTER, _INT, _INT, _INT, _POINTER),
    "mixer_copy": (_POINTER, _POINTER),
    "mixer_free": (None, _POINTER),
    "mixer_start": (_INT, _POINTER, _POINTER, _INT, _POINTER, _INT),
    "mixer_columns": (_INT,),
    "mixers_recall": (_INT, *_PARTS, _POINTER, _POINTER, _INT, _INT, _POINTER),
    "mixers_mix": (_INT, *_PARTS, _POINTER, _POINTER, _INT, _INT, _POINTER),
    "mixers_learn": (_INT, *_PARTS, _POINTER, _POINTER, _INT),
    "mixer_evidence": (None, _POINTER, _POINTER),
    "mixer_experts": (_INT,),
    "mixer_follow": (_INT, _POINTER, _POINTER),
    "mixer_draft": (_INT, _POINTER, _INT, _INT, _POINTER, _POINTER),
    "mixer_select": (_INT, _POINTER, _POINTER, _INT),
    "range_encode": (_INT, *[_POINTER] * 4, _INT, _INT),
    "range_decode": (_INT, _POINTER, _POINTER, _INT, _POINTER, _INT, _INT, _POINTER),
    "range_decode_parts": (None, *[_POINTER] * 5, _INT, _POINTER, _INT, _POINTER, _POINTER),
    "product": (_INT, _POINTER, _INT, _INT, _POINTER, _INT, _POINTER),
    "peak": (_INT, _POINTER, _INT, _POINTER),
    "read": (_INT, _POINTER, _POINTER, _INT),
}
"""The functions of native.h without their prefix: the result, then the arguments."""


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    """The C core; where it cannot be loaded, None and the reason."""
    found = importlib.util.find_spec(_MODULE)
    if found is None or found.origin is None:
        return (
            None,
            "the C core was not built: reinstall llmzip with a C11 compiler (gcc or clang) at hand",
        )
    try:
        library = ctypes.CDLL(found.origin)
    except OSError as error:
        return None, f"the C core does not load: {error}"
    for name, (result, *arguments) in SIGNATURES.items():
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
    return tuple(name for name in KERNELS if library.kernels(name.encode()))


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
    """The address of an array's data."""
    data: tuple[int, bool] = array.__array_interface__["data"]  # much quicker than `array.ctypes`
    return data[0]


def when_gone(owner: object, free: Callable[..., object], *arguments: object) -> None:
    """Have memory freed, or used again, once its owner is gone; not before that, at the end of the
    program: what else runs then (`atexit`) may still compute.
    """
    weakref.finalize(owner, free, *arguments).atexit = False
