"""All rows as they are kept, for who leaves with them or brings them along."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from optimizer.ports.transaction import Transaction


class Tables(Protocol):
    """Rows as values of JSON, under the keys of families in the place of their names; times as ISO 8601 in UTC."""

    def names(self) -> Sequence[str]:
        """Those that hold no secret and no more than a moment's state, in the order in which they are to be added."""

    def revision(self) -> str:
        """Of the tables' columns."""

    def each(self, tx: Transaction, table: str) -> Iterator[Mapping[str, Any]]:
        """By primary key; few at a time are held in memory."""

    def add(self, tx: Transaction, table: str, rows: Sequence[Mapping[str, Any]]) -> int:
        """Those whose key is not there yet; returns how many. Raises ValueError for what is no row of the table."""

    def look_at_holdout(self, tx: Transaction, look: str, at: datetime) -> int:
        """Records a look, under this name, at every sealed example there is; returns how many there are."""
