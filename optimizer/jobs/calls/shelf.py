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
        prepare: what takes time and no store, before any request has it.
    """

    def __init__(
        self,
        store: Store,
        read: Callable[[Transaction, str, str], T | None],
        *,
        most: int,
        prepare: Callable[[T], None] = lambda read: None,
    ) -> None:
        self._store, self._read, self._most, self._prepare = store, read, most, prepare
        self._known: OrderedDict[tuple[str, str], T] = OrderedDict()
        self._lock, self._reading = Lock(), Lock()
        self._n_cleared = 0

    def get(self, family: str, id: str) -> T | None:
        """None where the store has none. One is read at a time: those who want the same one wait for it."""
        if (known := self._at_hand(family, id)) is not None:
            return known
        with self._reading:
            return self._at_hand(family, id) or self._from_store(family, id)

    def _at_hand(self, family: str, id: str) -> T | None:
        with self._lock:
            known = self._known.get((family, id))
            if known is not None:
                self._known.move_to_end((family, id))
            return known

    def _from_store(self, family: str, id: str) -> T | None:
        n_cleared = self._n_cleared
        with self._store.read() as tx:
            read = self._read(tx, family, id)
        if read is not None:
            self._prepare(read)
        with self._lock:
            if read is not None and n_cleared == self._n_cleared:  # else it may hold what was forgotten meanwhile
                self._known[(family, id)] = read
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
        return read

    def clear(self) -> None:
        with self._lock:
            self._n_cleared += 1
            self._known.clear()
