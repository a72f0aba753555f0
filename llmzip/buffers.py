"""Buffers of any kind as plain bytes."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
"""What callers may hand in: these, and in fact any object with the buffer protocol."""


def flat(data: Buffer, function: str) -> memoryview:
    """The bytes of any buffer, in the order of its elements, as `bytes` gives them.

    function: the one that the caller has called, for messages. Raises TypeError for what is no
    buffer, and for an array of Python objects, of which the buffer holds only addresses.
    """
    try:
        view = memoryview(data)
    except TypeError:
        advice = ": encode the text" if isinstance(data, str) else ""
        raise TypeError(
            f"{function}() takes bytes, or another buffer, not {type(data).__name__!r}{advice}"
        ) from None
    if view.ndim == 1 and view.c_contiguous and view.format == "B":
        return view
    if "O" in view.format:
        raise TypeError(f"{function}() takes bytes, or another buffer, not an array of objects")
    return memoryview(view.tobytes())
