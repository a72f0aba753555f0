"""The native engine's sessions: streams and their key/value cache in C, one call per step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from llmzip.engine.base import HeadInput
from llmzip.engine.native_core import BAD_ARGUMENT, OK, address, check, when_gone
from llmzip.engine.native_handle import NativeHandle
from llmzip.exclusive import new_lock

_MAX_SIZE = 2**31 - 1


class NativeSession:
    """S streams and their key/value cache, in C.

    Threads that share one feed it in any order, but cannot corrupt the process.
    """

    def __init__(
        self,
        handle: NativeHandle,
        streams: int,
        window: int,
        chunk: int,
        origin: NativeSession | None = None,
        origins: npt.NDArray[np.int32] | None = None,
    ) -> None:
        """See `Engine.session`; origin, origins: what this session is a fork of, and of which of
        its streams [streams].
        """
        if min(streams, window, chunk) < 1:
            raise ValueError(
                f"{streams} streams, window {window}, chunk {chunk}: each must be at least 1"
            )
        self._handle, self._group = handle, handle.group
        self._window = window
        self._lock = new_lock()
        self._active = streams
        self._lender: NativeSession | None = None if origin is None else origin._lender or origin
        """Whose memory this session may share."""
        with origin._lock if origin else self._lock:
            self._fed: int = origin._fed if origin else 0
            make, source = handle.core.session_new, [self._group.pointer]
            if origin and origins is not None:
                if origins.min() < 0 or origins.max() >= origin._active:
                    raise ValueError(f"of {origin._active} streams, none has number {origins}")
                make = handle.core.session_fork
                source += [origin._pointer, address(origins)]
            if origin and self._fed > min(window, origin._window):
                raise ValueError(
                    f"{self._fed} tokens do not fit a window of {min(window, origin._window)}"
                )
            pointer = make(*source, streams, min(window, _MAX_SIZE), min(chunk, _MAX_SIZE))
        if pointer is None:
            raise MemoryError(
                f"no memory for the key/value cache of {streams} streams with window {window}"
            )
        self._pointer: int = pointer
        when_gone(self, handle.core.session_free, pointer)

    def advance(self, tokens: npt.NDArray[np.int32]) -> HeadInput:
        """See `Session.advance`."""
        if tokens.ndim != 2:
            raise ValueError(f"tokens of shape {tokens.shape}: [streams, count] is needed")
        tokens = np.ascontiguousarray(tokens, np.int32)
        streams, count = tokens.shape
        vectors = np.empty((streams, count, self._handle.spec.d_model), np.int8)
        scales = np.empty((streams, count), np.float32)
        with self._lock:
            status = self._handle.core.advance(
                self._pointer, address(tokens), streams, count, address(vectors), address(scales)
            )
            if status == OK:
                self._fed += count
                self._active = streams
        if status == BAD_ARGUMENT:
            raise ValueError(
                f"tokens of shape {tokens.shape} exceed the session's streams, "
                "its chunk or the model's positions, or a token lies outside the vocabulary"
            )
        check(status)
        return HeadInput(vectors, scales)

    def rewind(self, count: int) -> None:
        """See `Session.rewind`."""
        with self._lock:
            status = self._handle.core.session_rewind(self._pointer, min(count, _MAX_SIZE))
            if status == OK:
                self._fed -= count
        if status == BAD_ARGUMENT:
            raise ValueError(f"{count} tokens to take back: fewer than the last call has fed")

    def fork(self, streams: Sequence[int], window: int, chunk: int) -> NativeSession:
        """See `Session.fork`."""
        origins = np.array(streams, np.int32)
        return NativeSession(self._handle, len(origins), window, chunk, self, origins)
