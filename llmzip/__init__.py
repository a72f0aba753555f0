"""llmzip: lossless text compression with a language model whose arithmetic is exact.

>>> import llmzip
>>> packed = llmzip.compress(b"To be, or not to be, that is the question.")
>>> llmzip.decompress(packed)
b'To be, or not to be, that is the question.'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmzip.choosing.choose import LevelChoice, choose_level
    from llmzip.codecs.registry import get_codec
    from llmzip.compressor import LLMZipCompressor
    from llmzip.container.frame_info import FrameInfo, FrameSummary, get_frame_info, list_frames
    from llmzip.decompressor import LLMZipDecompressor
    from llmzip.errors import (
        DictionaryError,
        FormatError,
        IntegrityError,
        LimitError,
        LLMZipError,
        ModelError,
        ModelMismatchError,
        ModelNotFoundError,
        TruncatedError,
        UnsupportedModelError,
    )
    from llmzip.file import LLMZipFile
    from llmzip.generation import generate
    from llmzip.levels import DEFAULT_LEVEL, MAX_LEVEL, MIN_LEVEL
    from llmzip.many import compress_many, decompress_many
    from llmzip.model.integer_model import IntegerModel
    from llmzip.one_shot import compress, decompress
    from llmzip.open_file import open
    from llmzip.predictor.dictionary import Dictionary
    from llmzip.runtime import Runtime
    from llmzip.salvage.repair import repair_stream
    from llmzip.salvage.report import Damage, RepairReport
    from llmzip.streams import Totals, compress_stream, decompress_stream
    from llmzip.types import Progress

__version__ = "0.1.0"

__all__ = [
    "DEFAULT_LEVEL",
    "MAX_LEVEL",
    "MIN_LEVEL",
    "Damage",
    "Dictionary",
    "DictionaryError",
    "FormatError",
    "FrameInfo",
    "FrameSummary",
    "IntegerModel",
    "IntegrityError",
    "LLMZipCompressor",
    "LLMZipDecompressor",
    "LLMZipError",
    "LLMZipFile",
    "LevelChoice",
    "LimitError",
    "ModelError",
    "ModelMismatchError",
    "ModelNotFoundError",
    "Progress",
    "RepairReport",
    "Runtime",
    "Totals",
    "TruncatedError",
    "UnsupportedModelError",
    "__version__",
    "choose_level",
    "compress",
    "compress_many",
    "compress_stream",
    "decompress",
    "decompress_many",
    "decompress_stream",
    "generate",
    "get_codec",
    "get_frame_info",
    "list_frames",
    "open",
    "repair_stream",
]

_NAMES = {
    "choosing.choose": ("LevelChoice", "choose_level"),
    "codecs.registry": ("get_codec",),
    "compressor": ("LLMZipCompressor",),
    "container.frame_info": ("FrameInfo", "FrameSummary", "get_frame_info", "list_frames"),
    "decompressor": ("LLMZipDecompressor",),
    "errors": (
        "DictionaryError",
        "FormatError",
        "IntegrityError",
        "LLMZipError",
        "LimitError",
        "ModelError",
        "ModelMismatchError",
        "ModelNotFoundError",
        "TruncatedError",
        "UnsupportedModelError",
    ),
    "file": ("LLMZipFile",),
    "generation": ("generate",),
    "levels": ("DEFAULT_LEVEL", "MAX_LEVEL", "MIN_LEVEL"),
    "many": ("compress_many", "decompress_many"),
    "model.integer_model": ("IntegerModel",),
    "one_shot": ("compress", "decompress"),
    "open_file": ("open",),
    "predictor.dictionary": ("Dictionary",),
    "runtime": ("Runtime",),
    "salvage.repair": ("repair_stream",),
    "salvage.report": ("Damage", "RepairReport"),
    "streams": ("Totals", "compress_stream", "decompress_stream"),
    "types": ("Progress",),
}
"""Module -> the public names in it: it is imported when one of them is first used, so that what is
light stays light.
"""

_MODULES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, on its first use."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names, and what Python has in every module."""
    return sorted({*globals(), *__all__})
