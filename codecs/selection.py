"""Which codec a block gets: the smallest of those that suit its kind of data, the model asked only
where it can win.

What is known before the model is asked are a block's candidates; the texts of several blocks may
then be coded together. The block holds a prefix of the data, which is shorter also for a text with
more tokens than one block takes.

Long-distance matches are made first where that pays: the codecs then code the literals between
them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TypeVar

from llmzip.codecs.base import PayloadCodec
from llmzip.codecs.encoded_block import EncodedBlock
from llmzip.codecs.long_distance import block_with_matches, leading_matches, literals_of
from llmzip.codecs.match_finder import Match, MatchFinder
from llmzip.codecs.model_free import MODEL_FREE
from llmzip.codecs.probe import Kind, leading_run
from llmzip.container.block import MAX_EXPANSION
from llmzip.container.codec_ids import CodecId
from llmzip.container.header import FINGERPRINT_PREFIX
from llmzip.exclusive import OwnProcess

_Result = TypeVar("_Result")

_ALREADY_SMALL = 128
"""A model is not asked about a block that shrinks to this part without one: it would gain next to
nothing of the size.
"""

_MIN_MATCH_IN_TEXT, _MIN_MATCH_WITH_ZEROS = 256, 32
"""Bytes of the shortest match in text: mixing makes a model good at repeats, but not at the padding
of archives.

docs/codecs.md, "Long-distance matches", has the measurements.
"""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """What may become a block, as far as it is known before the model is asked."""

    data: bytes
    """What the block is to hold; less, if the model takes less."""
    text: bytes
    """What the model would code; empty where it cannot win."""
    _kind: Kind
    _matches: list[Match]
    _without_model: Callable[[], list[EncodedBlock]]
    """Blocks of the data that need none; they may still be made on another thread."""
    _asked_for: bool = False
    """Whether the model is to code the text in any case."""

    @property
    def needs_model(self) -> bool:
        """Whether the model is to be asked: not where the block shrinks to next to nothing without
        it.
        """
        if self._asked_for or not self.text:
            return bool(self.text)
        least = min(len(block.payload) for block in self._without_model())
        return _ALREADY_SMALL * least > len(self.data)

    def size(self, text_size: int) -> int:
        """The size of the block if so much of the text is coded."""
        return leading_matches(self._matches, text_size)[1]

    def block(self, coded: EncodedBlock | None) -> EncodedBlock:
        """The smallest block; coded: the text, as the model codes it."""
        if coded is None:
            return min(self._without_model(), key=_cost)
        matches, size = leading_matches(self._matches, coded.size)
        block = block_with_matches(matches, coded, size) if matches else coded
        if self._asked_for:
            return _within_bounds(block, self.data)
        others = self._without_model()
        if size < len(self.data):
            others = _made_without_model(self.data[:size], matches, self._kind)
        return min([block, *others], key=_cost)


def find_candidates(
    data: bytes, finder: MatchFinder, threads: Executor | None = None, whole: bool = False
) -> Candidates:
    """The candidates for a block that holds a prefix of `data`; it is shorter than the data where
    text turns into binary or the other way round, but with `whole`.

    finder: knows what lies before the data. threads: where blocks without the model are made
    meanwhile.
    """
    kind, size = leading_run(data)
    data = data if whole else data[:size]
    matches: list[Match] = []
    if kind is Kind.TEXT:
        matches = finder.find(data, _MIN_MATCH_IN_TEXT, _MIN_MATCH_WITH_ZEROS)
    elif len(finder.history):  # in the block itself, dictionary coders find their own
        matches = finder.find(data)
    text = literals_of(data, matches) if kind is Kind.TEXT else b""
    work = functools.partial(_made_without_model, data, matches, kind)
    made = _begun(threads, work) if threads else functools.cache(work)
    return Candidates(data, text, kind, matches, made)


def _begun(threads: Executor, work: Callable[[], _Result]) -> Callable[[], _Result]:
    """What gives the work's result: done by another thread, or, where none has begun it, by the one
    that wants it. There may be none: at the interpreter's end, in a forked process, or where the
    threads were collected as garbage together with what uses them.
    """
    here, process = functools.cache(work), OwnProcess()
    try:
        future = threads.submit(work)
    except RuntimeError:  # at the interpreter's end
        return here
    return lambda: here() if process.is_other or future.cancel() else future.result()


def candidates_for_model(data: bytes, finder: MatchFinder) -> Candidates:
    """The same for a block that the model is to code, whatever it is; before it, too, long-distance
    matches are made.
    """
    matches = finder.find(data, _MIN_MATCH_IN_TEXT, _MIN_MATCH_WITH_ZEROS)
    only_matches = functools.partial(block_with_matches, matches, None, len(data))
    return Candidates(
        data,
        literals_of(data, matches),
        Kind.TEXT,
        matches,
        lambda: [only_matches()],  # where no text is left
        _asked_for=True,
    )


def encode_block_as(codec: PayloadCodec, data: bytes) -> EncodedBlock:
    """A block by a codec that was chosen; data that it would enlarge beyond what the format allows
    is stored.
    """
    return _within_bounds(codec.encode_block(data), data)


def _within_bounds(block: EncodedBlock, data: bytes) -> EncodedBlock:
    return (
        block if len(block.payload) <= block.size + MAX_EXPANSION else _stored(data[: block.size])
    )


def _made_without_model(data: bytes, matches: Sequence[Match], kind: Kind) -> list[EncodedBlock]:
    """Blocks of the data, and of the same with the matches."""
    candidates = _dictionary_coded(data, kind)
    if matches:
        literals = literals_of(data, matches)
        coded: Sequence[EncodedBlock | None] = (
            _dictionary_coded(literals, kind) if literals else [None]
        )
        candidates += [block_with_matches(matches, block, len(data)) for block in coded]
    return candidates


def _dictionary_coded(data: bytes, kind: Kind) -> list[EncodedBlock]:
    if kind is Kind.NOISE:
        return [_stored(data)]
    return [
        *(MODEL_FREE[codec].encode_block(data) for codec in (CodecId.ZSTD, CodecId.XZ)),
        _stored(data),
    ]


def _stored(data: bytes) -> EncodedBlock:
    return EncodedBlock(CodecId.RAW, len(data), data)


def _cost(block: EncodedBlock) -> int:
    """Bytes that the block costs: where the model has coded it, the header must name that."""
    return len(block.payload) + FINGERPRINT_PREFIX * (block.inner == CodecId.LLM)
