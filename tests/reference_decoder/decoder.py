"""A file of frames to its bytes."""

from __future__ import annotations

from collections.abc import Callable

from tests.reference_decoder.byte_reader import ByteReader
from tests.reference_decoder.dictionary import Dictionary, read_dictionary
from tests.reference_decoder.errors import DecodeError
from tests.reference_decoder.frame import (
    LLM,
    MATCHES,
    MODEL_CODECS,
    SHORT,
    Block,
    content_check,
    index_of,
    read_block,
    read_header,
)
from tests.reference_decoder.general_codecs import DECODERS
from tests.reference_decoder.llm import context_of, decode_llm, read_layout
from tests.reference_decoder.long_distance_matches import WINDOW, decode_matches, read_matches
from tests.reference_decoder.meta_tokens import decode_meta_tokens, read_counts
from tests.reference_decoder.mixing import Mixing
from tests.reference_decoder.model import Model
from tests.reference_decoder.working_memory import (
    block_bytes,
    llm_bytes,
    meta_token_bytes,
    stated_bytes,
)

Report = Callable[[str], None]


def decode_file(
    data: bytes,
    model: Model | None = None,
    dictionary: bytes | None = None,
    report: Report | None = None,
) -> bytes:
    """The bytes of all frames of a file, everything verified. Raises DecodeError.

    model: what frames need that name one. dictionary: what frames need that have one. report: gets
    lines that say how far the work is.
    """
    reader = ByteReader(data)
    if not data:
        raise DecodeError("the file is empty")
    out = b""
    while not reader.at_end:
        out += FrameDecoder(reader, model, dictionary, report or (lambda _: None)).decode()
    return out


class FrameDecoder:
    """One frame: its blocks, and what they hand on in a solid frame."""

    def __init__(
        self, reader: ByteReader, model: Model | None, dictionary: bytes | None, report: Report
    ) -> None:
        self._reader, self._report = reader, report
        self._header = read_header(reader)
        self._model = model
        self._dictionary = self._named_dictionary(dictionary)
        self._carried: Mixing | None = None
        self._blocks: list[Block] = []
        self._content = b""

    def decode(self) -> bytes:
        """The frame's bytes."""
        header, reader = self._header, self._reader
        while not (header.single_block and self._blocks):
            start = reader.offset
            block = read_block(reader, header, not self._blocks)
            if block is None:
                break
            try:
                self._content += self._decode_block(block)
            except DecodeError as error:
                raise DecodeError(f"block at byte {start}: {error}") from error
            self._blocks.append(block)
        is_empty = not self._blocks
        if is_empty and (
            header.single_block or header.solid or header.memory_code or header.fingerprint
        ):
            raise DecodeError("a frame without blocks that needs something")
        is_short = header.single_block and self._blocks[0].size < SHORT
        check = content_check(self._content, is_short)
        if reader.read(len(check), "the content's check") != check:
            raise DecodeError(f"byte {reader.offset}: the content's check differs")
        if not header.single_block and len(self._blocks) > 1:
            index = index_of(self._blocks)
            if reader.read(len(index), "the index") != index:
                raise DecodeError("the index does not say what stands in the blocks")
        return self._content

    def _decode_block(self, block: Block) -> bytes:
        """A block's bytes, after what it needs has been held against the header."""
        self._check_memory(block)
        self._report(f"block {len(self._blocks) + 1}: {block.size} bytes, codec {block.codec}")
        if block.codec != MATCHES:
            return self._decode_payload(block.codec, block.payload, block.size)
        return decode_matches(block.payload, block.size, self._before(), self._decode_payload)

    def _before(self) -> bytes:
        """What long-distance matches reach in front of a block."""
        earlier = self._content if self._header.solid else b""
        return (self._dictionary.text + earlier)[-WINDOW:]

    def _decode_payload(self, codec: int, payload: bytes, size: int) -> bytes:
        if codec in DECODERS:
            return DECODERS[codec](payload, size)
        if codec not in MODEL_CODECS:
            raise DecodeError(f"codec {codec} is unknown: the file needs a newer decoder")
        if codec != LLM:
            return decode_meta_tokens(payload, size, self._named_model())
        solid = self._header.solid
        data, taught = decode_llm(
            payload,
            size,
            self._named_model(),
            self._dictionary.tokens,
            self._carried,
            solid,
            self._progress,
            self._header.mixing_version,
        )
        self._carried = taught if solid else None
        return data

    def _progress(self, done: int, tokens: int) -> None:
        self._report(f"block {len(self._blocks) + 1}: token {done} of {tokens}")

    def _check_memory(self, block: Block) -> None:
        """Refuse a block that needs more than its frame states; version 3 stated less."""
        codec, payload, size = block.codec, block.payload, block.size
        if codec == MATCHES:
            matches = read_matches(payload, size, len(self._before()))
            codec, payload, size = matches.inner, matches.literals_payload, matches.literals_size
        need = block_bytes(block.size, self._header.solid)
        if codec in MODEL_CODECS:
            need += self._model_bytes(self._named_model(), codec, payload, size)
        if self._header.version > 3 and need > stated_bytes(self._header.memory_code):
            raise DecodeError(f"it needs {need} bytes of memory, more than its frame states")

    def _model_bytes(self, model: Model, codec: int, payload: bytes, size: int) -> int:
        if codec != LLM:
            return meta_token_bytes(*read_counts(ByteReader(payload), size), model.spec.vocab)
        tokens, solid = self._dictionary.tokens, self._header.solid
        context = len(context_of(tokens, model.spec))
        layout = read_layout(ByteReader(payload), size, model.spec, context, len(tokens), solid)
        return llm_bytes(
            layout, model.spec, context, bool(self._header.dictionary), self._header.mixing_version
        )

    def _named_model(self) -> Model:
        """The model that the frame names, if it is the one at hand; only some blocks need it."""
        model, named = self._model, self._header.fingerprint
        if not named:
            raise DecodeError("it needs a model, but the frame names none")
        if model is None or not model.fingerprint.startswith(named):
            had = f"the given one has {model.fingerprint.hex()}" if model else "none was given"
            raise DecodeError(f"it needs the model of fingerprint {named.hex()}…; {had}")
        return model

    def _named_dictionary(self, text: bytes | None) -> Dictionary:
        """The dictionary that the frame names, if it is the one at hand."""
        if not self._header.dictionary:
            return Dictionary()
        model = self._named_model()
        if text is None:
            raise DecodeError("the file was made with a dictionary: give it with -D")
        dictionary = read_dictionary(text, model)
        if dictionary.digest(model) != self._header.dictionary:
            raise DecodeError("the file was made with another dictionary than the one given")
        return dictionary
