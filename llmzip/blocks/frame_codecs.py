"""The codecs of one frame's blocks, for decoding: what its header says of models and dictionary."""

from __future__ import annotations

from collections.abc import Callable

from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.llm import LLMCodec
from llmzip.codecs.meta_token import MetaTokenCodec
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.coding.observer import CodingObserver
from llmzip.container.codec_ids import CodecId
from llmzip.container.header import FrameHeader
from llmzip.engine_loader import EngineLoader
from llmzip.errors import FormatError
from llmzip.types import Progress


class FrameCodecs:
    """Finds the codec of a block of one frame; those that need the model load it when the first
    block needs it.
    """

    def __init__(
        self,
        header: FrameHeader,
        loader: EngineLoader,
        progress: Progress,
        observer: CodingObserver | None,
    ) -> None:
        """progress, observer: are told what the model decodes."""
        self._header = header
        self._loader = loader
        self._progress = progress
        self._observer = observer
        self._with_model: dict[int, PayloadCodec] = {}

    def codec(self, number: int) -> PayloadCodec:
        """The codec with this number (docs/format.md). Raises FormatError where the frame's blocks
        cannot have it, and what finding a model or a dictionary raises.
        """
        if number in MODEL_FREE:
            return MODEL_FREE[number]
        makers: dict[int, Callable[[], PayloadCodec]] = {
            CodecId.LLM: self._llm,
            CodecId.META_TOKEN: self._meta_token,
        }
        if number not in makers or not self._header.fingerprint:
            raise FormatError(
                f"a block of codec {number}, "
                "unknown or of a model that the frame does not name: damaged"
            )
        if number not in self._with_model:
            self._with_model[number] = makers[number]()
        return self._with_model[number]

    def llm(self) -> LLMCodec:
        """The language-model codec. Raises as `codec` does."""
        codec = self.codec(CodecId.LLM)
        assert isinstance(codec, LLMCodec)
        return codec

    def dictionary_content(self) -> bytes:
        """The bytes before the frame's first block: of the dictionary, if the frame names one.
        Raises DictionaryError where it is missing or another.
        """
        header = self._header
        if not header.dictionary_id:
            return b""
        self._loader.dictionary_for(
            self._loader.for_fingerprint(header.fingerprint), header.dictionary_id
        )
        return self._loader.dictionary_content

    def _meta_token(self) -> MetaTokenCodec:
        return MetaTokenCodec(self._loader.model_for_fingerprint(self._header.fingerprint))

    def _llm(self) -> LLMCodec:
        header = self._header
        engine = self._loader.for_fingerprint(header.fingerprint)
        return LLMCodec(
            engine,
            dictionary=self._loader.dictionary_for(engine, header.dictionary_id),
            solid=header.solid,
            mixing_version=header.mixing_version,
            progress=self._progress,
            observer=self._observer,
        )
