"""One-to-one matching of two lists, as many pairs as possible."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def matched_pairs(left: Sequence[T], right: Sequence[T], fits: Callable[[T, T], bool]) -> int:
    """The most pairs that fit when each item stands in one pair at most.

    Source: Berge (1957): a matching is largest when no path of alternating edges joins two free items.
    """
    fitting = [[j for j, other in enumerate(right) if fits(one, other)] for one in left]
    owner: dict[int, int] = {}  # of a right item, the left item of its pair
    owned: dict[int, int] = {}  # the same the other way
    for start in range(len(left)):
        _join(start, fitting, owner, owned)
    return len(owner)


def _join(start: int, fitting: Sequence[Sequence[int]], owner: dict[int, int], owned: dict[int, int]) -> None:
    """Finds a partner for one more left item, where there is one; others move on to make room."""
    asked_by: dict[int, int] = {}  # of a right item, the left item that came to it first
    waiting = deque([start])
    while waiting:
        one = waiting.popleft()
        for other in fitting[one]:
            if other in asked_by:
                continue
            asked_by[other] = one
            if other in owner:
                waiting.append(owner[other])
                continue
            free: int | None = other
            while free is not None:
                mover = asked_by[free]
                left_behind = owned.get(mover)
                owner[free], owned[mover] = mover, free
                free = left_behind
            return
