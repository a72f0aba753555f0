"""The sound data that mutants are made of: frames of every kind, and every codec by itself."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import llmzip
from llmzip.codecs.registry import FramedCodec, find_codec, get_codec
from llmzip.runtime import Runtime
from tests import golden
from tests.conftest import tiny

_TEXT = golden.TEXT
_PROGRAM = b"\x7fELF" + bytes(i * i * 31 % 256 if i % 7 else 0xE8 for i in range(900))

_BLOCKS = {"level": 1, "block_size": 1024}

FRAMES: dict[str, tuple[bytes, dict[str, Any]]] = {
    **golden.CASES,
    # Shorter than there, because thousands of them are decoded.
    "text": (_TEXT[:400], {}),
    "blocks": (_TEXT[:1200], _BLOCKS),
    "matches": (_TEXT[:300] + golden.BINARY[:30] + _TEXT[:300], {"level": 1}),
    "matches-solid": (_TEXT[:600] * 2, {**_BLOCKS, "solid": True}),
    "no-mixing": (_TEXT[:500], {"level": 1, "mixing": False}),
    "mixed": (golden.BINARY + _TEXT[:400], {"block_size": 1024}),
    # What the golden frames have none of.
    "levels": (_TEXT[:300], {"level": 3}),
    "strongest": (_TEXT[:200], {"level": 9}),
    "zstd": (golden.BINARY * 2, {"codec": "zstd"}),
    "raw": (_TEXT[:200], {"codec": "raw"}),
    "xz-x86": (_PROGRAM, {"codec": "xz"}),
    "long": (bytes(range(256)) * 300, {}),  # one block, and no short frame
    "meta-token-blocks": (_TEXT * 2, {"codec": "meta-token", "block_size": 1024}),
    "llm-blocks": (_TEXT[:1100], {"codec": "llm", **_BLOCKS}),
    "dictionary-solid": (_TEXT, {**_BLOCKS, "solid": True, "dictionary": _TEXT[:600]}),
    "dictionary-blocks": (_TEXT, {**_BLOCKS, "dictionary": _TEXT[:200]}),
    "no-mixing-blocks": (_TEXT, {**_BLOCKS, "mixing": False}),
}
"""Content, and how it is compressed."""

TWO_FRAMES = "two-frames"

FRAMED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "raw": (_TEXT[:100], {}),
    "zstd": (_TEXT, {}),
    "xz": (_TEXT, {}),
    "ldm": (_TEXT * 2, {}),
    "llm": (_TEXT[:300], {}),
    "meta-token": (_TEXT, {}),
    "rank": (_TEXT[:300], {}),
    "equal-info": (_TEXT[:200], {}),
    "zlib": (_TEXT, {}),
    "bzip2": (_TEXT, {}),
    "brotli": (_TEXT, {}),
}
"""Of codecs by themselves: content and parameters. Not ppmd: its package crashes on damaged data
(docs/notes/mutation.md)."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """Sound data of one kind."""

    name: str
    data: bytes
    content: bytes
    needs: dict[str, Any]
    """What decoding must be given."""
    codec: FramedCodec | None = None
    """Where the data is a codec's by itself, and no frame."""


def native() -> dict[str, Any]:
    """The engine of all mutants: one thread, the tiny model."""
    return {"model": tiny(), "runtime": Runtime(threads=1)}


@functools.cache
def kinds() -> tuple[Kind, ...]:
    """All kinds whose packages are installed."""
    frames = {name: _frame(name) for name in FRAMES}
    one, two = frames["short"], frames["stored"]
    both = Kind(TWO_FRAMES, one.data + two.data, one.content + two.content, {})
    framed = [_framed(name) for name in FRAMED]
    return (*frames.values(), both, *(kind for kind in framed if kind is not None))


def _frame(name: str) -> Kind:
    content, options = FRAMES[name]
    needs = {key: value for key, value in options.items() if key == "dictionary"}
    if needs:
        needs = {"dictionary": llmzip.Dictionary(needs["dictionary"])}  # read once for all mutants
    return Kind(name, llmzip.compress(content, **{**options, **needs}, **native()), content, needs)


def _framed(name: str) -> Kind | None:
    content, parameters = FRAMED[name]
    options = native() if find_codec(name).needs_model else {}
    try:
        codec = get_codec(name, **parameters, **options)
    except llmzip.LLMZipError:  # its package is not installed
        return None
    return Kind(f"framed {name}", codec.encode(content), content, {}, codec)
