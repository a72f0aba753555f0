"""The native CPU engine: docs/arithmetic.md in C (native/), one call per step, without torch.

The C core is built with the package where there is a compiler; `native_is_available` says whether it is here.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from llmzip.arithmetic.constants import BUCKET_SIZE
from llmzip.engine.base import HeadInput
from llmzip.memory.base import NO_TOKEN, TOP_TOKENS, Memory
from llmzip.memory.reference import ReferenceMemory
from llmzip.model.integer_model import IntegerModel

CPU_VARIABLE = "LLMZIP_CPU"
"""Environment variable that forces a set of kernels: avx512vnni, avxvnni, avx2 or portable."""

PARTS = ("norm", "gemm", "attention", "mlp", "head", "weights")
TENSORS = ("q", "k", "v", "o", "gate", "up", "down", "head")

_MODULE = "llmzip.engine._native"
_MAX_HEAD_DIM = 1040  # a score must stay below 2**24: 127 * 127 * D
_MAX_WIDTH = 133_000  # a product must fit int32
_MAX_SIZE = 2**31 - 1
_WEIGHTS_PER_THREAD = 1 << 20  # below this a step is so short that waiting for another thread costs more
_STATUS = {-1: MemoryError("the native engine is out of memory"), -2: ValueError("arguments outside the session")}


class _Spec(ctypes.Structure):
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
        "engine_new": (pointer, ctypes.POINTER(_Spec), number, ctypes.c_char_p, pointer, pointer, pointer),
        "engine_put": (None, pointer, number, number, pointer, pointer),
        "engine_free": (None, pointer),
        "engine_profile": (None, pointer, pointer),
        "session_new": (pointer, pointer, number, number, number),
        "session_free": (None, pointer),
        "session_fork": (pointer, pointer, number, number, number),
        "advance": (number, pointer, pointer, number, number, pointer, pointer),
        "head": (number, pointer, pointer, pointer, number, pointer, pointer, pointer, pointer),
        "weights": (number, pointer, pointer, pointer, pointer, number, pointer),
        "weights_of": (None, pointer, pointer, pointer, pointer, pointer, number, number, pointer),
        "replace": (None, pointer, pointer, pointer, pointer, pointer, number, number),
        "token_frequencies": (number, *[pointer] * 7, number, number, pointer),
        "frequencies": (number, pointer, pointer, number, number, pointer),
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
    library = _core()
    names = ("avx512vnni", "avxvnni", "avx2", "portable")
    return tuple(name for name in names if library.kernels(name.encode()))


def _core() -> Any:
    library, reason = _load()
    if library is None:
        raise RuntimeError(f"no native engine: {reason}")
    return library


def _check(status: int) -> None:
    if status:
        raise _STATUS[status]


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _address(array: npt.NDArray[Any]) -> int:
    return array.ctypes.data


class NativeEngine:
    """A model on this machine's processor."""

    def __init__(self, model: IntegerModel, threads: int | None = None, cpu: str | None = None) -> None:
        """Pack the weights.

        threads: how many to compute with; by default as many processors as this process may use.
        cpu: the kernels, one of `kernel_names()`; by default what LLMZIP_CPU says, else the best.
        """
        self._core = _core()
        self.model = model
        self.threads = _processors() if threads is None else threads
        if self.threads < 1:
            raise ValueError(f"{threads} threads: at least 1 is needed")
        cpu = cpu or os.environ.get(CPU_VARIABLE)
        name = self._core.kernels(cpu.encode() if cpu else None)
        if name is None:
            raise ValueError(f"{cpu!r} kernels ({CPU_VARIABLE}): this processor runs {', '.join(kernel_names())}")
        self.kernels: str = name.decode()

        spec = model.spec
        if spec.head_dim > _MAX_HEAD_DIM or max(spec.d_model, spec.d_ff, spec.heads * spec.head_dim) > _MAX_WIDTH:
            raise ValueError("the model is wider than its integer sums allow (docs/arithmetic.md)")
        described = _Spec(*(getattr(spec, field[0]) for field in _Spec._fields_))
        self._kept = (
            self._tensor("embedding.weight", np.int8, (spec.vocab, spec.d_model)),
            self._tensor("embedding.scale", np.float32, (spec.vocab,)),
            self._tensor("rope", np.int16, (spec.max_positions, 2, spec.head_dim // 2)),
        )
        useful = min(self.threads, 1 + spec.weight_bytes // _WEIGHTS_PER_THREAD)
        self._handle = self._core.engine_new(described, useful, name, *map(_address, self._kept))
        if self._handle is None:
            raise MemoryError("the native engine is out of memory or threads")
        self._finalizer = weakref.finalize(self, self._core.engine_free, self._handle)
        self._put_all()
        self._spare: list[npt.NDArray[np.float32]] = []

    def _tensor(self, name: str, kind: type, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        array = self.model.tensors[name]
        if array.dtype != kind or array.shape != shape:
            raise ValueError(f"tensor {name}: {array.dtype} {array.shape} instead of {np.dtype(kind)} {shape}")
        return np.ascontiguousarray(array)

    def _put_all(self) -> None:
        spec = self.model.spec
        d, q, kv, f = spec.d_model, spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim, spec.d_ff
        shapes = {"q": (q, d), "k": (kv, d), "v": (kv, d), "o": (d, q), "gate": (f, d), "up": (f, d), "down": (d, f)}
        places = [(f"layers.{i}.{part}", shape, part, i) for i in range(spec.layers) for part, shape in shapes.items()]
        for prefix, shape, part, layer in [*places, ("head", (spec.vocab, d), "head", 0)]:
            weight = self._tensor(f"{prefix}.weight", np.int8, shape)
            scale = self._tensor(f"{prefix}.scale", np.float32, shape[:1])
            self._core.engine_put(self._handle, TENSORS.index(part), layer, _address(weight), _address(scale))

    def session(self, streams: int, window: int, chunk: int) -> NativeSession:
        """See `Engine.session`."""
        return NativeSession(self, streams, window, chunk)

    def token_weights(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> npt.NDArray[np.int32]:
        """See `Engine.token_weights`."""
        out = np.empty((len(vectors), self.model.spec.vocab), np.int32)
        for start in range(0, len(vectors), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            self.distributions(vectors[part], scales[part]).weights(out[part])
        return out

    def distributions(self, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> NativeDistributions:
        """Head inputs [N, d_model] int8, [N] float32 -> the two coding steps' frequencies, computed on demand.

        The result holds N * vocab numbers of 4 bytes: pass many rows in pieces of about `ROWS_AT_ONCE`.
        """
        return NativeDistributions(self, vectors, scales)

    def memory(self, capacity_bits: int) -> Memory:
        """See `Engine.memory`."""
        spec = self.model.spec
        return ReferenceMemory(capacity_bits, spec.d_model, spec.vocab, spec.start_token)

    def profile(self) -> dict[str, float]:
        """Seconds that the first thread has spent in each part since the last call."""
        nanoseconds = np.empty(len(PARTS), np.int64)
        self._core.engine_profile(self._handle, _address(nanoseconds))
        return {part: ns * 1e-9 for part, ns in zip(PARTS, nanoseconds.tolist(), strict=True)}

    def product(self, tensor: str, layer: int, rows: npt.NDArray[np.uint8], out: npt.NDArray[np.float32]) -> None:
        """One product alone, for benchmarks: rows [M, K] holding x + 128 -> out [M, N of the stacked tensors].

        K and N are rounded up to multiples of 32.
        """
        _check(self._core.product(self._handle, TENSORS.index(tensor), layer, _address(rows), len(rows), _address(out)))


ROWS_AT_ONCE = 64
"""Rows that the head takes at a time: few enough for the processor's cache, many enough for its multipliers."""


class NativeSession:
    """S streams and their key/value cache, in C."""

    def __init__(
        self, engine: NativeEngine, streams: int, window: int, chunk: int, origin: NativeSession | None = None
    ) -> None:
        """See `Engine.session`; origin: what this session is a fork of."""
        if min(streams, window, chunk) < 1:
            raise ValueError(f"{streams} streams, window {window}, chunk {chunk}: each must be at least 1")
        self.engine = engine  # also keeps the C engine alive
        self._window = window
        self._fed: int = origin._fed if origin else 0
        if origin and self._fed > min(window, origin._window):
            raise ValueError(f"{self._fed} tokens do not fit a window of {min(window, origin._window)}")
        make, source = (
            (engine._core.session_fork, origin._handle) if origin else (engine._core.session_new, engine._handle)
        )
        handle = make(source, streams, min(window, _MAX_SIZE), min(chunk, _MAX_SIZE))
        if handle is None:
            raise MemoryError(f"no memory for the key/value cache of {streams} streams with window {window}")
        self._handle: int = handle
        weakref.finalize(self, engine._core.session_free, handle)

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        if tokens.ndim != 2:
            raise ValueError(f"tokens of shape {tokens.shape}: [streams, count] is needed")
        tokens = np.ascontiguousarray(tokens, np.int32)
        streams, count = tokens.shape
        vectors = np.empty((streams, count, self.engine.model.spec.d_model), np.int8)
        scales = np.empty((streams, count), np.float32)
        status = self.engine._core.advance(
            self._handle, _address(tokens), streams, count, _address(vectors), _address(scales)
        )
        if status == -2:
            raise ValueError(
                f"tokens of shape {tokens.shape} exceed the session's streams, its chunk or the model's positions, "
                f"or a token lies outside the vocabulary"
            )
        _check(status)
        self._fed += count
        return HeadInput(vectors, scales)

    def fork(self, streams: int, window: int, chunk: int) -> NativeSession:
        """See `Session.fork`."""
        return NativeSession(self.engine, streams, window, chunk, self)


class NativeDistributions:
    """What N head inputs predict, as the frequencies of docs/arithmetic.md, section 5."""

    def __init__(self, engine: NativeEngine, vectors: npt.NDArray[np.int8], scales: npt.NDArray[np.float32]) -> None:
        """See `NativeEngine.distributions`."""
        spec = engine.model.spec
        if vectors.ndim != 2 or vectors.shape[1] != spec.d_model or scales.shape != vectors.shape[:1]:
            raise ValueError(f"head inputs of shape {vectors.shape} and {scales.shape}: [N, {spec.d_model}] and [N]")
        if vectors.dtype != np.int8 or scales.dtype != np.float32:
            raise ValueError(f"head inputs of types {vectors.dtype} and {scales.dtype}: int8 and float32 are needed")
        vectors = np.ascontiguousarray(vectors)
        rows, buckets = len(vectors), -(-spec.vocab // BUCKET_SIZE)
        self._engine = engine
        self._scales = np.ascontiguousarray(scales)
        self._maxima = np.empty(rows, np.float32)
        self._bucket_weights = np.empty((rows, buckets), np.int64)
        self._top = np.empty((rows, TOP_TOKENS), np.int32)
        self._totals: npt.NDArray[np.int64] | None = None
        self._replaced: list[tuple[int, npt.NDArray[np.int32], npt.NDArray[np.int64]]] = []
        self._sums = self._take_buffer(rows * buckets * BUCKET_SIZE)
        _check(
            engine._core.head(
                engine._handle,
                _address(vectors),
                _address(self._scales),
                rows,
                _address(self._sums),
                _address(self._maxima),
                _address(self._bucket_weights),
                _address(self._top),
            )
        )

    def top_tokens(self) -> npt.NDArray[np.int32]:
        """See `Distributions.top_tokens`."""
        return self._top[:, : self._engine.model.spec.vocab]

    def totals(self) -> npt.NDArray[np.int64]:
        """See `Distributions.totals`."""
        if self._totals is None:  # asked for before anything is replaced
            self._totals = self._bucket_weights.sum(axis=1)
        return self._totals

    def weights_of(self, first: int, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """See `Distributions.weights_of`."""
        wanted = np.ascontiguousarray(tokens, np.int32)
        out = np.empty(wanted.shape, np.int32)
        engine, stop = self._engine, first + len(wanted)
        sums, width = self._sums, self._bucket_weights.shape[1] * BUCKET_SIZE
        engine._core.weights_of(
            engine._handle,
            _address(sums[first * width :]),
            _address(self._scales[first:stop]),
            _address(self._maxima[first:stop]),
            _address(wanted),
            *wanted.shape,
            _address(out),
        )
        return out

    def replace(self, first: int, tokens: npt.NDArray[np.int32], weights: npt.NDArray[np.int64]) -> None:
        """See `Distributions.replace`."""
        self.totals()
        before = self.weights_of(first, tokens)
        tokens, weights = np.ascontiguousarray(tokens, np.int32), np.ascontiguousarray(weights, np.int64)
        places = _address(self._bucket_weights[first : first + len(tokens)])
        engine = self._engine
        engine._core.replace(
            engine._handle, places, _address(tokens), _address(before), _address(weights), *tokens.shape
        )
        self._replaced.append((first, tokens, weights))

    def _all_replaced(self) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Everything that has been replaced, as arrays for all rows: [N, C]."""
        width = max((tokens.shape[1] for _, tokens, _ in self._replaced), default=0)
        all_tokens = np.full((len(self._scales), width), NO_TOKEN, np.int32)
        all_weights = np.zeros(all_tokens.shape, np.int64)
        for first, tokens, weights in self._replaced:
            part = slice(first, first + len(tokens)), slice(0, tokens.shape[1])
            all_tokens[part], all_weights[part] = tokens, weights
        return all_tokens, all_weights

    def _take_buffer(self, size: int) -> npt.NDArray[np.float32]:
        """A buffer that comes back when this object dies: fresh megabytes in every step cost page faults."""
        spare = self._engine._spare
        buffer = spare.pop() if spare else np.empty(0, np.float32)
        if len(buffer) < size:
            buffer = np.empty(size, np.float32)
        weakref.finalize(self, spare.append, buffer)
        return buffer

    def bucket_frequencies(self) -> npt.NDArray[np.uint32]:
        """Interval widths of the buckets: [N, B], each row summing to 2**24."""
        engine, out = self._engine, np.empty(self._bucket_weights.shape, np.uint32)
        _check(engine._core.frequencies(engine._handle, _address(self._bucket_weights), *out.shape, _address(out)))
        return out

    def token_frequencies(self, buckets: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.uint32]:
        """Interval widths of the 256 tokens of one bucket for each row: [N] -> [N, 256], rows summing to 2**24."""
        rows, count = self._bucket_weights.shape
        if buckets.shape != (rows,) or (rows and not 0 <= buckets.min() <= buckets.max() < count):
            raise ValueError(f"buckets of shape {buckets.shape}: {rows} numbers below {count} are needed")
        engine, out = self._engine, np.empty((rows, BUCKET_SIZE), np.uint32)
        wanted = np.ascontiguousarray(buckets, np.int32)
        tokens, weights = self._all_replaced()
        _check(
            engine._core.token_frequencies(
                engine._handle,
                _address(self._sums),
                _address(self._scales),
                _address(self._maxima),
                _address(wanted),
                _address(tokens),
                _address(weights),
                tokens.shape[1],
                rows,
                _address(out),
            )
        )
        return out

    def weights(self, out: npt.NDArray[np.int32]) -> None:
        """The token weights themselves: C-contiguous [N, vocab]."""
        engine, rows = self._engine, len(self._scales)
        sums, scales, maxima = _address(self._sums), _address(self._scales), _address(self._maxima)
        _check(engine._core.weights(engine._handle, sums, scales, maxima, rows, _address(out)))
