"""Pareto fronts: what no other beats."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")


def front(items: Iterable[_Item], costs: Callable[[_Item], tuple[float, float]]) -> list[_Item]:
    """The items that no other beats in both costs, by rising first cost.

    >>> front([(5.0, 3.0), (1.0, 1.0), (10.0, 2.0)], lambda p: (-p[0], p[1]))
    [(10.0, 2.0), (1.0, 1.0)]
    """
    best: list[_Item] = []
    for item in sorted(items, key=costs):
        if not best or costs(item)[1] < costs(best[-1])[1]:
            best.append(item)
    return best
