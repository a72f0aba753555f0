"""The codecs of files that need no model."""

from __future__ import annotations

from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.container.codec_ids import CodecId

MODEL_FREE: dict[int, PayloadCodec] = {
    CodecId.RAW: RawCodec(),
    CodecId.ZSTD: ZstdCodec(),
    CodecId.XZ: XzCodec(),
}
"""By number, as compressors use them; each decodes what any of its kind has encoded."""
