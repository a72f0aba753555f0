"""Encoding of blocks as the job of a pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from llmzip.blocks.local_encoder import LocalBlockEncoder
from llmzip.blocks.options import CompressionOptions
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.engine_loader import EngineLoader, kept_dictionary
from llmzip.errors import LLMZipError, ModelMismatchError
from llmzip.runtime import Runtime


@dataclasses.dataclass(frozen=True)
class EncodeJob:
    """A `Job` of a pool: blocks of pieces of data that do not depend on each other."""

    options: CompressionOptions
    fingerprint: bytes
    """Of the model, which the worker has in its own store; nothing where none is needed."""
    rules: str = dataclasses.field(repr=False)
    """The model's tokenizer rules, by which the data is split here."""
    dictionary: bytes = dataclasses.field(repr=False)
    """The dictionary, or nothing."""
    reaches_back: bool
    """Whether blocks may refer to the dictionary."""

    def __call__(
        self, pieces: Sequence[bytes], runtime: Runtime
    ) -> list[EncodedBlock | LLMZipError]:
        """A block of a prefix of each piece."""
        try:
            encoder = LocalBlockEncoder(
                self._loader(runtime), self.options, lambda size, tokens: None
            )
            return list(encoder.encode_apart(pieces, self.reaches_back))
        except LLMZipError as error:
            if len(pieces) == 1:
                return [error]
            return [done for piece in pieces for done in self([piece], runtime)]

    def _loader(self, runtime: Runtime) -> EngineLoader:
        if not self.fingerprint:
            return EngineLoader(None, kept_dictionary(self.dictionary), runtime)
        model = EngineLoader(runtime=runtime).model_for_fingerprint(self.fingerprint)
        if model.vocabulary.rules != self.rules:
            raise ModelMismatchError(
                f"the model {self.fingerprint.hex()[:16]} has other tokenizer rules here than "
                "where the file is written: install the same model with `llmzip models pull`"
            )
        return EngineLoader(model, kept_dictionary(self.dictionary), runtime)
