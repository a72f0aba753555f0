"""Encodes the blocks of frames, here or in a pool."""

from __future__ import annotations

from llmzip.blocks.elsewhere import EncoderElsewhere
from llmzip.blocks.encode_job import EncodeJob
from llmzip.blocks.local_encoder import KnownTexts, LocalBlockEncoder
from llmzip.blocks.options import CompressionOptions
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.probe import leading_run
from llmzip.coding.observer import CodingObserver
from llmzip.engine_loader import EngineLoader
from llmzip.types import Progress


class BlockEncoder(LocalBlockEncoder):
    """Has the blocks encoded by the pool of the runtime, where it has one, they build on no other
    and nobody observes them; else here.
    """

    def __init__(
        self,
        loader: EngineLoader,
        options: CompressionOptions,
        progress: Progress,
        observer: CodingObserver | None = None,
        known: KnownTexts | None = None,
    ) -> None:
        """As of `LocalBlockEncoder`."""
        super().__init__(loader, options, progress, observer, known)
        pool = None if self._solid or observer else loader.runtime.pool
        self._elsewhere = EncoderElsewhere(pool) if pool else None
        self._jobs: dict[bool, EncodeJob] = {}

    def look_ahead(self, pending: bytearray, kept: int) -> None:
        """As of `LocalBlockEncoder`; or submit them to the pool, as many as it has work for."""
        if not self._elsewhere:
            super().look_ahead(pending, kept)
            return
        while self._elsewhere.wants(len(pending), kept):
            data = self.next_data(pending, self._elsewhere.size)
            self._elsewhere.add(data, self._presumed_size(data, self._elsewhere), self._job())

    def leave_model(self) -> None:
        """As of `LocalBlockEncoder`; what the pool works on is not waited for."""
        super().leave_model()
        self._elsewhere = None

    @property
    def waits(self) -> bool:
        """Whether more data would let more blocks go side by side, or into the pool."""
        return self._elsewhere.waits if self._elsewhere else super().waits

    def _presumed_size(self, data: bytes, elsewhere: EncoderElsewhere) -> int:
        """How much of the data its block will hold, presumably: only the text's tokens tell, and
        they are counted from the first block on that had too many.
        """
        if self._block_lines is not None or self._forced not in (None, LLMCodec.name):
            return len(data)
        if not elsewhere.surprised:
            return leading_run(data)[1] if self._forced is None else len(data)
        candidates = self._candidates(data)
        if not candidates.text:
            return len(candidates.data)
        return candidates.size(self._llm().prepare(candidates.text).size)

    def _job(self) -> EncodeJob:
        """What the pool does with the next block."""
        reaches_back = bool(len(self._matches.history))
        if reaches_back not in self._jobs:
            needs_model = self._forced in (None, LLMCodec.name, MetaTokenCodec.name)
            model = self.loader.chosen_model() if needs_model else None
            self._jobs[reaches_back] = EncodeJob(
                self._options,
                model.fingerprint if model else b"",
                model.vocabulary.rules if model else "",
                self.loader.dictionary_content,
                reaches_back,
            )
        return self._jobs[reaches_back]

    def _encode(self, data: bytes) -> EncodedBlock:
        if not self._elsewhere:
            return super()._encode(data)
        done = 0

        def report(size: int) -> None:
            nonlocal done
            done = size
            self._progress(size, 0)

        block = self._elsewhere.take(data, self._job(), report)
        self._progress(max(done, block.size), block.tokens)
        return block
