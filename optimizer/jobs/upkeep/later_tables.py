"""A store that a later version made may hold what this one does not know of."""

from __future__ import annotations

from optimizer.core.base.errors import Conflict
from optimizer.ports import Store, Transaction


def refuse_later_tables(tx: Transaction, store: Store, act: str) -> None:
    """For an ``act`` that has to reach everything. Raises Conflict."""
    if revision := store.tables.later_revision(tx):
        raise Conflict(
            f"{act} has to reach all that the store holds, and a later version of this program made its tables (they"
            f" are at {revision}, this version knows up to {store.tables.revision()}). Do it with the version that made"
            " them; nothing was changed."
        )
