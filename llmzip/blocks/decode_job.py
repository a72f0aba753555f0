"""Decoding of blocks as the job of a pool."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from llmzip.blocks.local_decoder import LocalBlockDecoder
from llmzip.container.block import Block
from llmzip.container.header import FrameHeader
from llmzip.engine_loader import EngineLoader, kept_dictionary
from llmzip.errors import LLMZipError
from llmzip.runtime import Runtime


@dataclasses.dataclass(frozen=True)
class DecodeJob:
    """A `Job` of a pool: the contents of blocks of one frame, which is not solid, and how many
    tokens each is.
    """

    header: FrameHeader
    fingerprint: bytes
    """Of the model, as far as it is known; nothing where the frame needs none."""
    dictionary: bytes = dataclasses.field(repr=False)
    """The dictionary, or nothing."""
    max_memory: int | None
    """As of `LLMZipDecompressor`; None: the memory of the worker's machine."""

    def __call__(
        self, pieces: Sequence[Block], runtime: Runtime
    ) -> list[tuple[bytes, int] | LLMZipError]:
        """What the blocks hold, and how many tokens the model has decoded for it."""
        model = None
        try:
            if self.fingerprint:
                model = EngineLoader(runtime=runtime).model_for_fingerprint(self.fingerprint)
            loader = EngineLoader(model, kept_dictionary(self.dictionary), runtime)
            decoder = LocalBlockDecoder(loader, max_memory=self.max_memory)
            decoder.open_frame(self.header)
        except LLMZipError as error:
            return [error for _ in pieces]
        decoder.decode_ahead(pieces)
        found: list[tuple[bytes, int] | LLMZipError] = []
        for block in pieces:
            before = decoder.progress_counter.tokens
            try:
                found.append((decoder.decode(block), decoder.progress_counter.tokens - before))
            except LLMZipError as error:
                found.append(error)
        return found
