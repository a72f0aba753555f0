"""What a codec is.

A payload does not say how long its data is, nor whether it is sound. Two things wrap payloads and
say both: the block of a file (container/block.py), for the codecs that docs/format.md gives a
number, and `FramedCodec` (registry.py), for all.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.container.codec_ids import CodecId


class PayloadCodec(abc.ABC):
    """Compresses bytes into a payload, and decompresses the payload into the same bytes.

    A subclass must have the class attribute `name` and the methods `encode` and `decode`;
    `needs_model` where it needs one, `id` only where blocks of files can have it. It must keep to
    the following:

    - `decode(encode(data), len(data)) == data` for any bytes but none at all, which never reach a
      codec.
    - The payload is a function of the data and of what `get_config` names: the same on every
      machine.
    - `decode` of damaged data raises an `LLMZipError` or returns `size` bytes. It raises nothing
      else, returns no other number of bytes, and allocates no more than in proportion to `size`,
      whatever the payload claims: a decompressor is given `size + 1` as the most that it may make,
      as in `codecs/standard.py`.
    - It raises `FormatError` for a payload whose parts contradict each other or break a rule, which
      is seen before anything is decoded, and `IntegrityError` where decoding fails or ends with
      other than `size` bytes.
    - No call changes the codec: threads may share one.

    Parameters are keyword arguments of `create`. Where they are the fields of a dataclass, `create`
    and `get_config` need not be written::

        @dataclasses.dataclass(frozen=True)
        class ReversedCodec(PayloadCodec):
            \"\"\"The bytes in reverse, each changed by `mask`.\"\"\"

            name = "reversed"  # without an annotation: so it is no field, and no parameter
            mask: int = 0

            def encode(self, data: bytes) -> bytes:
                \"\"\"See `PayloadCodec.encode`.\"\"\"
                return bytes(byte ^ self.mask for byte in reversed(data))

            def decode(self, payload: bytes, size: int) -> bytes:
                \"\"\"See `PayloadCodec.decode`.\"\"\"
                if len(payload) != size:
                    raise FormatError("reversed data of the wrong size: it is damaged")
                return self.encode(payload)

    A codec is found by its name once it is in the table of `codecs/registry.py`, or given to
    `registry.register_codec`. tests/conformance.py holds a codec to all this.
    """

    name: ClassVar[str]
    """What the registry, options and messages call it."""
    id: ClassVar[CodecId | None] = None
    """Its number in blocks; None where files cannot have it."""
    needs_model: ClassVar[bool] = False
    """Whether `create` takes `model` and `runtime`, and a model is loaded for it."""

    @classmethod
    def create(cls, *args: Any, **parameters: Any) -> PayloadCodec:
        """A codec with these parameters. Raises ValueError for one out of range, TypeError for an
        unknown one.

        A subclass that overrides it names its parameters, all of them keywords.
        """
        return cls(*args, **parameters)

    @abc.abstractmethod
    def encode(self, data: bytes) -> bytes:
        """Compress at least one byte into a payload. Raises LimitError for more than the codec
        takes at once.
        """

    @abc.abstractmethod
    def decode(self, payload: bytes, size: int) -> bytes:
        """Decompress a payload into its `size` bytes. Raises IntegrityError or FormatError where it
        does not yield them.
        """

    def get_config(self) -> dict[str, Any]:
        """The parameters, as JSON has them, with which `create` makes a codec that reads and writes
        the same payloads.
        """
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}

    def decoder_bytes(self, payload: bytes, size: int) -> int:
        """What decoding allocates beyond what every block takes (`accounting`). Raises FormatError
        for an impossible payload.

        Only for codecs with a number: files state it.
        """
        return 0

    def encode_block(self, data: bytes) -> EncodedBlock:
        """Compress at least one byte into a block of a file."""
        assert self.id is not None
        return EncodedBlock(self.id, len(data), self.encode(data))
