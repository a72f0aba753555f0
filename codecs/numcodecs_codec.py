"""All codecs for numcodecs and zarr, under one id: {"id": "llmzip", "codec": {"id": "xz", ...}}.

The package's entry point leads numcodecs here; nothing else imports this module, as numcodecs is
optional.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numcodecs.abc
import numcodecs.compat

from llmzip.codecs.registry import from_config


class LLMZip(numcodecs.abc.Codec):  # type: ignore[misc]
    """A codec of `registry.get_codec` as numcodecs has them; `FramedCodec` says what is written."""

    codec_id: ClassVar[str] = "llmzip"

    def __init__(self, codec: Mapping[str, Any]) -> None:
        """codec: the configuration of one of llmzip's codecs; the defaults are filled in."""
        self._codec = from_config(codec)

    def encode(self, buf: Any) -> bytes:
        """Compress a buffer or array. Raises TypeError for a str and for an array of objects."""
        return self._codec.encode(numcodecs.compat.ensure_bytes(buf))

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decompress, into `out` where given: a buffer that can be written, of exactly the size.

        Raises LLMZipError for damaged data, TypeError where `out` is an array of objects,
        ValueError where it is of another size.
        """
        if out is not None:
            # An array of objects has no bytes to write to.
            out = numcodecs.compat.ensure_contiguous_ndarray(out)
        data = self._codec.decode(numcodecs.compat.ensure_bytes(buf))
        return numcodecs.compat.ndarray_copy(data, out)

    def get_config(self) -> dict[str, Any]:
        """What `numcodecs.get_codec` takes."""
        return {"id": self.codec_id, "codec": self._codec.get_config()}

    def __repr__(self) -> str:
        """The call that makes an equal one."""
        return f"{type(self).__name__}(codec={self._codec.get_config()!r})"
