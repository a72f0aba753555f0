"""Frames from the parts of a damaged file: which blocks each had, in order, and which of them are
missing.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import BinaryIO

from llmzip.container.index import Entries
from llmzip.salvage.headers import MAX_HEADER_BYTES, HeaderGuesses
from llmzip.salvage.parts import BlockPart, EndPart, Gap, HeaderPart, Part
from llmzip.salvage.survey import Survey

_END_IS_MISSING = "the end of the frame is missing: what else it held is unknown"


@dataclasses.dataclass(frozen=True)
class Slot:
    """A position in a frame's content: a block, or what is missing there."""

    block: BlockPart | None
    size: int | None
    """Uncompressed bytes; None where they are unknown."""
    offset: int
    end: int
    """Bytes offset … end − 1 of the file; for a missing block the estimate of where it was."""
    reason: str = ""
    """Why the block is missing."""


@dataclasses.dataclass(frozen=True)
class Flaw:
    """Damage that costs no content."""

    offset: int
    end: int
    reason: str


@dataclasses.dataclass(frozen=True)
class FoundFrame:
    """The parts of one frame that were found, or a gap that may have been a frame."""

    header: HeaderPart | None
    slots: Sequence[Slot]
    end: EndPart | None
    flaws: Sequence[Flaw]

    @property
    def is_frame(self) -> bool:
        """Whether at least one part of a frame was found."""
        return bool(self.header or self.end) or any(slot.block for slot in self.slots)


def survey_frames(file: BinaryIO, guesses: HeaderGuesses) -> list[FoundFrame]:
    """The frames of a seekable file as far as they are there; nothing is decoded."""
    return group(Survey(file, guesses).walk())


def group(parts: Sequence[Part]) -> list[FoundFrame]:
    """The frames in order. A gap between frames may have been one: it becomes a frame of nothing
    but a missing slot.
    """
    frames: list[list[FoundFrame]] = []
    members: list[Part] = []
    unfinished: tuple[int, list[Part]] | None = (
        None  # the last frame without an end: its number and parts
    )
    for part in parts:
        if isinstance(part, HeaderPart):
            if members:
                unfinished = len(frames), members
                frames.append(_frames_of(members, None))
            members = [part]
        elif isinstance(part, EndPart):
            if unfinished and _go_on(unfinished[1], members, part):
                frames[unfinished[0]] = _frames_of([*unfinished[1], *members], part)
                unfinished = None
            else:
                frames.append(_frames_of(members, part))
            members = []
        else:
            members.append(part)
    frames.append(_frames_of(members, None))
    return [frame for several in frames for frame in several]


def _go_on(first: Sequence[Part], then: Sequence[Part], end: EndPart) -> bool:
    """Whether parts of a frame without an end are what the index at the end of later parts misses
    at its beginning.
    """
    if end.entries is None or (then and isinstance(then[0], HeaderPart)):
        return False
    without, within = (
        len(_align(None, [part for part in members if isinstance(part, BlockPart)], end))
        for members in (then, [*first, *then])
    )
    return within > without


def _frames_of(members: Sequence[Part], end: EndPart | None) -> list[FoundFrame]:
    """The frame of these parts, with its end if that is there; before and behind it those of parts
    that are not its.
    """
    if not members and end is None:
        return []
    header = members[0] if members and isinstance(members[0], HeaderPart) else None
    if end is not None and end.entries is not None:
        return _by_index(header, members, end, end.entries)
    if header is None and end is None and not any(isinstance(part, BlockPart) for part in members):
        return [_no_frame(members)]
    slots = _by_order(members)
    single = header is not None and header.header.single_block
    if end is None and not (single and slots) and (not slots or slots[-1].size is not None):
        offset = members[-1].end
        slots.append(Slot(None, None, offset, offset, _END_IS_MISSING))
    return [FoundFrame(header, slots, end, _flaws(header, end))]


def _by_order(members: Sequence[Part]) -> list[Slot]:
    """One slot for each block and each missing block, in the order of the parts."""
    slots = []
    for part in members:
        if isinstance(part, BlockPart):
            slots.append(Slot(part, part.size, part.offset, part.end))
        elif isinstance(part, Gap):
            sizes = (None,) if part.sizes is None else part.sizes
            slots += [Slot(None, size, part.offset, part.end, part.reason) for size in sizes]
    return slots


def _by_index(
    header: HeaderPart | None, members: Sequence[Part], end: EndPart, entries: Entries
) -> list[FoundFrame]:
    """The frame that ends with this index; before and behind it frames of the blocks that the index
    does not know.
    """
    offsets = _offsets(entries, end.offset)
    blocks = [part for part in members if isinstance(part, BlockPart)]
    own = _align(header, blocks, end)
    known = {block.offset for block in own.values()}
    strangers = [block for block in blocks if block.offset not in known]
    first = min(known, default=end.offset)
    earlier = [block for block in strangers if block.offset < first]
    frames = []
    if earlier:
        frames += _frames_of([part for part in members if part.end <= earlier[-1].end], None)
        members = [part for part in members if part.end > earlier[-1].end]
        header = None
    begin = members[0].offset if members else end.offset
    if header is None and offsets[0] - begin > MAX_HEADER_BYTES:
        frames.append(
            FoundFrame(None, [_unknown(begin, offsets[0], _reason(members, begin))], None, ())
        )
    slots = []
    for number, (coded, size) in enumerate(entries):
        if block := own.get(number):
            slots.append(Slot(block, size, block.offset, block.end))
        else:
            offset = max(offsets[number], 0)
            slots.append(
                Slot(None, size, offset, max(offsets[number] + coded, 0), _reason(members, offset))
            )
    frames.append(
        FoundFrame(header, slots, end, [*_flaws(header, end), *_intruders(members, slots)])
    )
    return frames + _frames_of(strangers[len(earlier) :], None)


def _intruders(members: Sequence[Part], slots: Sequence[Slot]) -> list[Flaw]:
    """Bytes that stand where the index has nothing: between blocks that are all there."""
    missing = [slot for slot in slots if slot.block is None]
    flaws = []
    for gap in members:
        if isinstance(gap, Gap):
            number = bisect.bisect_left(missing, gap.end, key=lambda slot: slot.offset) - 1
            if number < 0 or missing[number].end <= gap.offset:
                flaws.append(Flaw(gap.offset, gap.end, gap.reason))
    return flaws


def _offsets(entries: Entries, end: int) -> list[int]:
    """Where the blocks of an index begin if nothing was cut out or added between them and it;
    negative: cut off.
    """
    offsets = []
    for coded, _ in reversed(entries):
        end -= coded
        offsets.append(end)
    return offsets[::-1]


def _align(
    header: HeaderPart | None, blocks: Sequence[BlockPart], index: EndPart
) -> dict[int, BlockPart]:
    """The blocks of an index by number.

    First come those that lie where the index says, then those that follow the header without a gap;
    the others, from the last backwards, are each the last that they can be. Only where blocks of
    the same sizes were cut out cleanly is that a guess.
    """
    entries = index.entries or []
    own: dict[int, BlockPart] = {}
    at = {offset: number for number, offset in enumerate(_offsets(entries, index.offset))}
    for block in blocks:
        number = at.get(block.offset) if block.header is None else 0
        if number is not None and number not in own and entries[number] == _entry(block):
            own[number] = block
    offset = header.end if header else None
    for number, block in enumerate(blocks):
        if (
            block.offset != offset
            or number in own
            or number >= len(entries)
            or entries[number] != _entry(block)
        ):
            break
        own[number], offset = block, block.end
    numbers: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, entry in enumerate(entries):
        numbers[entry].append(number)
    known = {block.offset: number for number, block in own.items()}
    limit = len(entries)
    for block in reversed(blocks):
        if block.offset in known:
            limit = known[block.offset]
            continue
        alike = numbers.get(_entry(block), [])
        found = bisect.bisect_left(alike, limit) - 1
        if found >= 0 and alike[found] not in own:
            limit = alike[found]
            own[limit] = block
    return own


def _entry(block: BlockPart) -> tuple[int, int]:
    """The entry that an index has for this block."""
    return block.end - block.offset, block.size


def _no_frame(gaps: Sequence[Part]) -> FoundFrame:
    """The frame of gaps without header or block; padding is only a flaw."""
    slots = _by_order(gaps)
    flaws = [
        Flaw(gap.offset, gap.end, gap.reason)
        for gap in gaps
        if isinstance(gap, Gap) and gap.sizes == ()
    ]
    return FoundFrame(None, slots, None, flaws)


def _unknown(offset: int, end: int, reason: str) -> Slot:
    return Slot(None, None, offset, end, reason)


def _reason(members: Sequence[Part], offset: int) -> str:
    """Why there is no block at this offset."""
    number = bisect.bisect_right(members, offset, key=lambda part: part.offset) - 1
    part = members[number] if number >= 0 else None
    return (
        part.reason
        if isinstance(part, Gap) and offset < part.end
        else "the block is not in the file"
    )


def _flaws(header: HeaderPart | None, end: EndPart | None) -> list[Flaw]:
    flaws = []
    if header is not None and header.restored:
        flaws.append(
            Flaw(
                header.offset,
                header.end,
                "the frame's header is damaged; its first block's check proves what it was",
            )
        )
    if end is not None and end.fault:
        flaws.append(Flaw(end.offset, end.end, end.fault))
    return flaws
