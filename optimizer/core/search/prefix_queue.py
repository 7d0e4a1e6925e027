"""The order in which callers take questions: those that share a prefix are asked in a row, and cached."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Rows(Generic[Item]):
    """Items in rows: those of equal name form one row, in the order in which they came.

    A taker continues its row. At its end it begins an untouched row, else it helps with the longest. So few takers read
    each prefix, and none is idle while anything is left. Not thread-safe.
    """

    def __init__(self, items: Iterable[tuple[Hashable, Item]]) -> None:
        self._rows: dict[Hashable, deque[Item]] = {}
        for name, item in items:
            self._rows.setdefault(name, deque()).append(item)
        self._begun: set[Hashable] = set()

    def take(self, last: Hashable | None) -> tuple[Hashable, Item] | None:
        """(row, item); None when nothing is left.

        Args:
            last: the row that this taker took from before; None at first.
        """
        name = last
        if name not in self._rows:  # a row that nobody has begun, else the longest
            fresh = next((name for name in self._rows if name not in self._begun), None)
            name = fresh if fresh is not None else max(self._rows, key=lambda row: len(self._rows[row]), default=None)
        if name is None:
            return None
        self._begun.add(name)
        row = self._rows[name]
        item = row.popleft()
        if not row:
            del self._rows[name]
        return name, item
