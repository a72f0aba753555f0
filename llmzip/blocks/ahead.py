"""Blocks that are coded side by side before it is their turn: what an encoder has prepared, and
what a decoder has read.

How many go together says `predictor.batch`; it is one on engines that gain nothing by more. Each
block is coded as it would be alone.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor

from llmzip.accounting import machine_bytes
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.llm import LLMCodec, PreparedText
from llmzip.codecs.selection import Candidates
from llmzip.exclusive import OwnProcess


@dataclasses.dataclass
class _Next:
    """One of the next blocks."""

    data: bytes
    """What was at hand for it."""
    maker: object
    """The state that the candidates were made from."""
    candidates: Candidates
    text: PreparedText | None
    """For the model; None where it cannot win."""
    coded: EncodedBlock | None = None

    @property
    def size(self) -> int:
        """How many bytes the block holds."""
        if self.text is None:
            return len(self.candidates.data)
        return self.candidates.size(self.text.size)


class EncoderAhead:
    """The candidates for the next blocks of a frame, and what the model has made of them."""

    def __init__(self) -> None:
        self._next: deque[_Next] = deque()
        self._codec: LLMCodec | None = None  # once the model is to be asked
        self._threads: ThreadPoolExecutor | None = None
        self._process = OwnProcess()

    def wants(self, size: int, kept: int) -> bool:
        """Whether one more block should be prepared before any is encoded, and `size` pending bytes
        hold one; the last `kept` of them do not count.
        """
        return self._has_room() and size - self.size > kept

    @property
    def size(self) -> int:
        """The bytes of the blocks that have been prepared."""
        return sum(block.size for block in self._next)

    @property
    def waits(self) -> bool:
        """Whether with more data at hand more blocks would go together."""
        return bool(self._next) and self._has_room()

    @property
    def threads(self) -> Executor | None:
        """Where candidates without the model may be made while further blocks are prepared."""
        if self._process.is_other:  # a forked one has none of these threads, only their locks
            self._process.take()
            self._threads = None
        if self._threads is None and self._codec is not None and self._codec.goes_side_by_side():
            self._threads = ThreadPoolExecutor(self._codec.threads, "llmzip candidates")
        return self._threads

    def add(
        self,
        data: bytes,
        candidates: Candidates,
        maker: object,
        llm: Callable[[], LLMCodec],
    ) -> None:
        """The candidates for the block behind those prepared.

        maker: what it depends on beside the data. llm: gives the model's codec; called only if the
        model is to be asked.
        """
        text = None
        if candidates.text and (self._codec or candidates.needs_model):
            self._codec = self._codec or llm()
            text = self._codec.prepare(candidates.text)
        self._next.append(_Next(data, maker, candidates, text))

    def encode(self) -> None:
        """Have the model code the first blocks, if it has not."""
        if not self._next or self._next[0].coded is not None:
            return
        together: list[tuple[_Next, PreparedText]] = []
        for block in self._next:
            if block.text is None or not block.candidates.needs_model:
                break
            together.append((block, block.text))
        if not together:
            return
        assert self._codec
        count = self._fitting([text for _, text in together])
        coded = self._codec.encode_texts([text for _, text in together[:count]])
        for (block, _), done in zip(together[:count], coded, strict=True):
            block.coded = done

    def take(self, data: bytes, maker: object) -> EncodedBlock | None:
        """The next block, if it was prepared from this data and maker; else None, and what was
        prepared is dropped.
        """
        if self._next and self._next[0].maker is maker and self._next[0].data == data:
            block = self._next.popleft()
            return block.candidates.block(block.coded)
        self._next.clear()
        return None

    def _has_room(self) -> bool:
        """Whether another block like the last one would go with those prepared."""
        if not self._next:
            return True
        texts = [block.text for block in self._next if block.text is not None]
        if len(texts) < len(self._next) or self._next[0].coded is not None:
            return False
        return self._fitting([*texts, texts[-1]]) > len(texts)

    def _fitting(self, texts: list[PreparedText]) -> int:
        assert self._codec
        blocks = [(text.layout, text.size) for text in texts]
        return self._codec.fitting(blocks, machine_bytes() // 2)


class DecoderAhead:
    """Payloads of the model that have been decoded before it was their turn."""

    def __init__(self) -> None:
        self._decoded: dict[tuple[bytes, int], bytes] = {}

    def decode(self, codec: LLMCodec, payloads: list[tuple[bytes, int]]) -> None:
        """Decode payloads and their sizes side by side. Of damaged ones nothing is kept: their turn
        comes.
        """
        if len(payloads) > 1:
            found = codec.decode_payloads(payloads)
            self._decoded = {
                payload: data
                for payload, data in zip(payloads, found, strict=True)
                if data is not None
            }

    def take(self, payload: bytes, size: int) -> bytes | None:
        """The data of a payload, if it has been decoded."""
        return self._decoded.pop((payload, size), None)

    def take_all(self) -> dict[tuple[bytes, int], bytes]:
        """The data of all payloads and sizes that have been decoded and not taken."""
        decoded, self._decoded = self._decoded, {}
        return decoded

    def __bool__(self) -> bool:
        """Whether something waits for its turn."""
        return bool(self._decoded)
