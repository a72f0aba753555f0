"""Which sub-sequences become meta-tokens.

The paper takes the longest first. Here it is the one that saves most: repeats of a suffix array in
a heap by what they save at best, each counted anew when its turn comes, because others may have
taken some of its positions.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from llmzip.ltsc.suffix_array import repeats, suffix_array


def saving_tokens(length: int, count: int) -> int:
    """Tokens saved by a meta-token for `count` occurrences of `length` tokens: N·K − (1 + N + K).

    >>> [saving_tokens(4, 2), saving_tokens(3, 3), saving_tokens(2, 4), saving_tokens(3, 2)]
    [1, 2, 1, 0]
    """
    return length * count - (1 + length + count)


def choose(ids: npt.NDArray[np.integer]) -> list[tuple[int, list[int]]]:
    """Sub-sequences of ids [n] that pay, as their length and the positions of all their
    occurrences; none overlap.
    """
    size = len(ids)
    if size < 2:
        return []
    order, lengths = suffix_array(ids)
    heap = []
    for length, first, stop in repeats(lengths):
        best = saving_tokens(length, min(stop - first, size // length))
        if length > 1 and best > 0:
            heap.append((-best, length, first, stop))
    heapq.heapify(heap)

    taken = bytearray(size)
    marks = np.frombuffer(taken, np.uint8)
    free = size
    chosen = []
    while heap:
        _, length, first, stop = heapq.heappop(heap)
        if free < 2 * length:
            continue
        starts = order[first:stop]
        starts = starts[(marks[starts] == 0) & (marks[starts + length - 1] == 0)]
        starts.sort()
        positions = []
        after = 0
        for position in starts.tolist():
            if position >= after and taken.find(1, position, position + length) < 0:
                positions.append(position)
                after = position + length
        saving = saving_tokens(length, len(positions))
        if saving <= 0:
            continue
        if heap and saving < -heap[0][0]:
            heapq.heappush(heap, (-saving, length, first, stop))
            continue
        for position in positions:
            taken[position : position + length] = b"\1" * length
        free -= length * len(positions)
        chosen.append((length, positions))
    return chosen
