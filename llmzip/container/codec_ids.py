"""The numbers of the codecs that blocks can have, their names, and what their frame must have."""

from __future__ import annotations

import enum

END_OF_BLOCKS = 0
"""Written instead of a codec where no block follows."""
NO_LITERALS = 0
"""Written instead of the literals' codec where matches cover the whole block."""


class CodecId(enum.IntEnum):
    """The codec field of a block (docs/format.md, "Block"). A number once given is never given
    again.
    """

    label: str
    """The codec's name in options, lists and messages."""
    needs_model: bool
    """Whether decoding needs the model that the frame's header must name."""
    nests: bool
    """Whether the payload begins with the number of another codec, which codes the literals of the
    block.
    """

    def __new__(
        cls, number: int, label: str, needs_model: bool = False, nests: bool = False
    ) -> CodecId:
        """Make a member of a line of the table below."""
        member = int.__new__(cls, number)
        member._value_ = number
        member.label = label
        member.needs_model = needs_model
        member.nests = nests
        return member

    RAW = 1, "raw"
    ZSTD = 2, "zstd"
    LLM = 3, "llm", True
    XZ = 4, "xz"
    META_TOKEN = 5, "meta-token", True
    LONG_DISTANCE = 6, "ldm", False, True

    @staticmethod
    def find(number: int) -> CodecId | None:
        """The codec with this number, or None where the format has none."""
        return _BY_NUMBER.get(number)


_BY_NUMBER: dict[int, CodecId] = {codec.value: codec for codec in CodecId}

# As plain sets, because every block of a file is looked up in them.
KNOWN = frozenset(_BY_NUMBER)
NESTING = frozenset(codec.value for codec in CodecId if codec.nests)
NEEDING_MODEL = frozenset(codec.value for codec in CodecId if codec.needs_model)

CHOICES = tuple(codec.label for codec in CodecId if not codec.nests)
"""The names of the codecs that all blocks of a file can be made to have."""
