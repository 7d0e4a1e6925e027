"""What variants name by a hash, read from the store once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Generic, TypeVar

from optimizer.ports import Store, Transaction

T = TypeVar("T")


class Shelf(Generic[T]):
    """The last ones that were read. Thread-safe.

    Args:
        read: by family and hash; None where the store has none, such as one made of what a forgotten person said.
        most: in memory.
    """

    def __init__(self, store: Store, read: Callable[[Transaction, str, str], T | None], *, most: int) -> None:
        self._store, self._read, self._most = store, read, most
        self._known: OrderedDict[tuple[str, str], T] = OrderedDict()
        self._lock = Lock()

    def get(self, family: str, id: str) -> T | None:
        """None where the store has none."""
        with self._lock:
            if (known := self._known.get((family, id))) is not None:
                self._known.move_to_end((family, id))
                return known
        with self._store.read() as tx:
            read = self._read(tx, family, id)
        if read is not None:
            with self._lock:
                self._known[(family, id)] = read
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return read

    def clear(self) -> None:
        with self._lock:
            self._known.clear()
