"""The codecs by name, and codecs from configurations.

>>> codec = get_codec("xz", preset=6)
>>> codec.decode(codec.encode(b"some bytes"))
b'some bytes'
>>> codec.get_config()
{'id': 'xz', 'preset': 6}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from llmzip import levels
from llmzip.codecs.base import BlockCodec, Codec
from llmzip.codecs.copies import CopiesCodec
from llmzip.codecs.equal_info import EqualInfoCodec
from llmzip.codecs.extra import BrotliCodec, PpmdCodec
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.rank import RankCodec
from llmzip.codecs.raw import RawCodec
from llmzip.codecs.repeats import WINDOW
from llmzip.codecs.standard import Bzip2Codec, ZlibCodec
from llmzip.codecs.xz import XzCodec
from llmzip.codecs.zstd import ZstdCodec
from llmzip.engine_loader import EngineLoader, ModelLike
from llmzip.runtime import DEFAULT_RUNTIME, Runtime

Factory = Callable[..., tuple[BlockCodec, dict[str, Any]]]
"""Parameters -> the payload codec, and all of its parameters that another must have to read its bytes."""


def _plain(kind: Callable[..., Any]) -> Factory:
    """The factory of a codec whose parameters are its dataclass's fields."""

    def make(**parameters: Any) -> tuple[BlockCodec, dict[str, Any]]:
        coder = kind(**parameters)
        return coder, dataclasses.asdict(coder)

    return make


def _loader(model: ModelLike | None, runtime: Runtime | None) -> EngineLoader:
    return EngineLoader(model, runtime=runtime or DEFAULT_RUNTIME)


def _llm(
    level: int = levels.DEFAULT_LEVEL, model: ModelLike | None = None, runtime: Runtime | None = None
) -> tuple[BlockCodec, dict[str, Any]]:
    """level, model, runtime: as of `llmzip.compress`."""
    engine = _loader(model, runtime).for_compression()
    return LLMCodec(engine, levels.level_parameters(level)), {"level": level, "model": engine.model.fingerprint.hex()}


def _copies(
    inner: str = "xz", shortest: int = WINDOW, shortest_with_zeros: int = WINDOW, **parameters: Any
) -> tuple[BlockCodec, dict[str, Any]]:
    """inner: the codec of the rest, one that blocks can have; shortest: copies; parameters: the inner codec's."""
    coder, config = _factory(inner)(**parameters)
    if coder.id is None or coder.id == CopiesCodec.id:
        raise ValueError(f"codec {inner!r} cannot code what copies leave")
    lengths = {"shortest": shortest, "shortest_with_zeros": shortest_with_zeros}
    return CopiesCodec(coder, **lengths), {"inner": inner, **lengths, **config}


def _meta_token(model: ModelLike | None = None, runtime: Runtime | None = None) -> tuple[BlockCodec, dict[str, Any]]:
    """model: its vocabulary serves; runtime: as of `llmzip.compress`."""
    chosen = _loader(model, runtime).chosen_model()
    return MetaTokenCodec(chosen), {"model": chosen.fingerprint.hex()}


def _equal_info(
    bits: int = 64, model: ModelLike | None = None, runtime: Runtime | None = None
) -> tuple[BlockCodec, dict[str, Any]]:
    """bits: of a window; model, runtime: as of `llmzip.compress`."""
    engine = _loader(model, runtime).for_compression()
    return EqualInfoCodec(engine, bits), {"bits": bits, "model": engine.model.fingerprint.hex()}


def _rank(
    level: int = levels.DEFAULT_LEVEL, model: ModelLike | None = None, runtime: Runtime | None = None
) -> tuple[BlockCodec, dict[str, Any]]:
    """level: for streams and window; model, runtime: as of `llmzip.compress`."""
    engine = _loader(model, runtime).for_compression()
    return RankCodec(engine, levels.level_parameters(level)), {"level": level, "model": engine.model.fingerprint.hex()}


_FACTORIES: dict[str, Factory] = {
    "raw": _plain(RawCodec),
    "copies": _copies,
    "zstd": _plain(ZstdCodec),
    "llm": _llm,
    "xz": _plain(XzCodec),
    "meta-token": _meta_token,
    "equal-info": _equal_info,
    "rank": _rank,
    "zlib": _plain(ZlibCodec),
    "bzip2": _plain(Bzip2Codec),
    "brotli": _plain(BrotliCodec),
    "ppmd": _plain(PpmdCodec),
}


def _factory(name: str) -> Factory:
    if name not in _FACTORIES:
        raise ValueError(f"codec {name!r}: codecs are {', '.join(_FACTORIES)}")
    return _FACTORIES[name]


def codec_names() -> tuple[str, ...]:
    """The names that `get_codec` knows."""
    return tuple(_FACTORIES)


def get_codec(name: str, **parameters: Any) -> Codec:
    """The codec of that name; docs/codecs.md lists the parameters.

    Raises ValueError for an unknown name or a parameter out of range, TypeError for an unknown parameter, LLMZipError
    where a package or a model is missing.
    """
    coder, config = _factory(name)(**parameters)
    return Codec(coder, {"id": name, **config})


def from_config(config: Mapping[str, Any]) -> Codec:
    """The codec that `Codec.get_config` describes; errors as for `get_codec`."""
    parameters = {key: value for key, value in config.items() if key != "id"}
    return get_codec(config["id"], **parameters)
