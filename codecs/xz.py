"""LZMA2, as in .xz files: smaller than Zstandard on most binary data, and in Python's standard
library.
"""

from __future__ import annotations

import dataclasses
import lzma
from typing import Any

from llmzip.codecs.base import PayloadCodec
from llmzip.container.codec_ids import CodecId
from llmzip.errors import FormatError, IntegrityError

_PLAIN, _X86 = 0, 1
_MIN_DICTIONARY, _MAX_DICTIONARY = 1 << 12, 1 << 26

# What programs for x86 begin with: ELF, Windows.
_PROGRAMS = (b"\x7fELF", b"MZ")


@dataclasses.dataclass(frozen=True)
class XzCodec(PayloadCodec):
    """A byte that names the filters, then a raw LZMA2 stream."""

    id = CodecId.XZ
    name = id.label

    preset: int = 9
    """The preset, 0 to 9, always with xz's "extreme"; a decoder reads all of them."""

    def __post_init__(self) -> None:
        if not 0 <= self.preset <= 9:
            raise ValueError(f"xz preset {self.preset}: presets are 0 to 9")

    def encode(self, data: bytes) -> bytes:
        """See `PayloadCodec.encode`."""
        kinds = (_PLAIN, _X86) if data.startswith(_PROGRAMS) else (_PLAIN,)
        return min((self._encode(data, kind) for kind in kinds), key=len)

    def _encode(self, data: bytes, kind: int) -> bytes:
        filters = _filters(kind, len(data), preset=self.preset | lzma.PRESET_EXTREME)
        return bytes([kind]) + lzma.compress(data, lzma.FORMAT_RAW, filters=filters)

    def decode(self, payload: bytes, size: int) -> bytes:
        """See `PayloadCodec.decode`."""
        if not payload or payload[0] not in (_PLAIN, _X86):
            raise FormatError("an xz block with unknown filters: the file is damaged")
        decoder = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_filters(payload[0], size))
        try:
            data = decoder.decompress(payload[1:], size + 1)
        except lzma.LZMAError as error:
            raise IntegrityError(
                f"an xz block does not decode ({error}): the file is damaged"
            ) from error
        if len(data) != size or not decoder.eof or decoder.unused_data:
            raise IntegrityError(f"an xz block does not hold its {size} bytes: the file is damaged")
        return data


def _filters(kind: int, size: int, **options: int) -> list[dict[str, Any]]:
    """liblzma's filter chain; the dictionary is as large as the data needs, so that both sides know
    it.
    """
    dictionary = min(max(1 << (size - 1).bit_length(), _MIN_DICTIONARY), _MAX_DICTIONARY)
    lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": dictionary, **options}
    return [{"id": lzma.FILTER_X86}, lzma2] if kind == _X86 else [lzma2]
