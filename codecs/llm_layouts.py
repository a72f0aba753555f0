"""The stream layouts of blocks under one model: chosen for encoding, read and checked for decoding
(docs/format.md, "Payloads", llm).
"""

from __future__ import annotations

import dataclasses
import io

from llmzip.coding.range_coder import has_too_many
from llmzip.container.varint import ByteReader
from llmzip.errors import FormatError
from llmzip.levels import Level
from llmzip.mixing.base import MAX_CAPACITY_BITS, capacity_bits_for
from llmzip.model.spec import ModelSpec
from llmzip.predictor.dictionary import PreparedDictionary
from llmzip.predictor.stream_layout import StreamLayout, decoder_bytes_bound, max_tokens

SOLID_CAPACITY_BITS = 18
"""The least capacity of a mixer that is carried from block to block; larger blocks get as many
positions as bytes.
"""


class LLMLayouts:
    """What layouts the blocks of a frame get and may have."""

    def __init__(
        self,
        spec: ModelSpec,
        level: Level,
        *,
        mixing: bool,
        dictionary: PreparedDictionary | None,
        solid: bool,
        mixing_version: int,
    ) -> None:
        """level, mixing: what encoding follows. dictionary, solid, mixing_version: what the frame
        says.
        """
        self._spec = spec
        self._level = level
        self._has_mixing = mixing
        self._dictionary = dictionary
        self._solid = solid
        self._mixing_version = mixing_version

    @property
    def max_tokens(self) -> int:
        """The most tokens that one block may hold."""
        return max_tokens(self._level, self._spec, self._context)

    def for_tokens(self, tokens: int) -> StreamLayout:
        """How so many tokens, 1 to `max_tokens`, are laid out."""
        return dataclasses.replace(
            StreamLayout.for_level(self._level, tokens, self._spec, self._context),
            capacity_bits=self._capacity_bits(tokens),
        )

    def write(self, layout: StreamLayout) -> bytes:
        """What a payload says of its layout, before what is coded."""
        return layout.write(self._usual(layout.tokens))

    def read(self, payload: bytes, size: int) -> tuple[StreamLayout, bytes]:
        """The layout of a payload that stands for `size` bytes, and what is coded. Raises
        FormatError for what docs/format.md does not allow.
        """
        reader = ByteReader(io.BytesIO(payload))
        layout = StreamLayout.read(reader, self._context, self._usual)
        coded = payload[reader.offset :]
        if has_too_many(layout.tokens, coded):
            raise FormatError(
                "impossible block parameters "
                f"({layout.tokens} tokens in {len(coded)} coded bytes): the file is damaged"
            )
        layout.validate(
            size,
            self._spec,
            MAX_CAPACITY_BITS if self._solid else self._bits_for_all(layout.tokens),
        )
        return layout, coded

    def is_solid_only(self, layout: StreamLayout) -> bool:
        """Whether its mixer has more capacity than frames allow that are not solid."""
        return layout.capacity_bits > self._bits_for_all(layout.tokens)

    def decoder_bytes(self, layout: StreamLayout) -> int:
        """The memory that decoding a payload of this layout takes (docs/format.md, "Memory")."""
        return layout.decoder_bytes(self._spec, self._dictionary is not None, self._mixing_version)

    def bound(self) -> int:
        """At least the `decoder_bytes` of any layout that `for_tokens` gives."""
        bits = self._capacity_bits(0) if self._solid or not self._has_mixing else None
        if bits is None and self._dictionary:
            bits = self._capacity_bits(self._level.block_size)
        return decoder_bytes_bound(
            self._level, self._spec, self._context, bits, self._dictionary is not None
        )

    @property
    def _context(self) -> int:
        """How many tokens each stream has read before its first."""
        return len(self._dictionary.context) if self._dictionary else 0

    def _capacity_bits(self, tokens: int) -> int:
        """The capacity that a block of so many tokens gets, as its log2; 0: none."""
        if not self._has_mixing:
            return 0
        if self._solid:
            return max(SOLID_CAPACITY_BITS, capacity_bits_for(self._level.block_size))
        return self._bits_for_all(tokens)

    def _bits_for_all(self, tokens: int) -> int:
        """The capacity that holds so many tokens and the dictionary's, as its log2."""
        return capacity_bits_for(tokens + (self._dictionary.tokens if self._dictionary else 0))

    def _usual(self, tokens: int) -> StreamLayout:
        """What short texts get: a mixer that holds everything."""
        return StreamLayout.usual(tokens, self._context, self._bits_for_all(tokens))
