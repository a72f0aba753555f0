"""Buffers of any kind as plain bytes."""

from __future__ import annotations

Buffer = bytes | bytearray | memoryview
"""What callers may hand in: these, and in fact any object with the buffer protocol."""


def flat(data: Buffer) -> memoryview:
    """The bytes of any buffer, in the order of its elements, as `bytes` gives them. Raises TypeError for a str."""
    view = memoryview(data)
    if view.ndim == 1 and view.c_contiguous and view.format == "B":
        return view
    return memoryview(view.tobytes())
