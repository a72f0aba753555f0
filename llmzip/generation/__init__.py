"""Text from a model or any codec, in integers: the same seed is the same text on every machine."""

from __future__ import annotations

from llmzip.generation.by_codec import generate_by_codec
from llmzip.generation.by_engine import generate_by_engine
from llmzip.generation.by_model import generate

__all__ = ["generate", "generate_by_codec", "generate_by_engine"]
