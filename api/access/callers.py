"""Counts requests that came without a key, and those refused for lack of a right one.

They are counted in memory, and written for people to see.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from functools import lru_cache

from optimizer.core.serving.access import COMMAND_LINE
from optimizer.ports import CallerKind, Store

MOST_NAMED = 100  # names of a kind between two flushes, so that invented names cannot fill the store
OTHERS = "others"
MAX_NAME_CHARS = 80


class CallerCounts:
    """Counts on the event loop; ``flush`` writes in a thread. A count at that instant may be lost, and
    decides nothing.
    """

    def __init__(self) -> None:
        self._counts: dict[CallerKind, Counter[str]] = {"keyless": Counter(), "refused": Counter()}

    def count(self, kind: CallerKind, agent: str, where: str = "") -> None:
        """Args:
        agent: what the caller calls itself, as it was sent.
        where: what else tells it from others.
        """
        if agent != COMMAND_LINE:
            self._add(kind, _shown(agent) + where, 1)

    def flush(self, store: Store, now: datetime) -> None:
        """Writes the counts; keeps those that cannot be written."""
        counts_by_name = {(kind, name): n for kind, counts in self._counts.items() for name, n in counts.items()}
        self._counts = {"keyless": Counter(), "refused": Counter()}
        if not counts_by_name:
            return
        try:
            store.write(lambda tx: store.api_keys.add_callers(tx, counts_by_name, now))
        except Exception:
            for (kind, name), n in counts_by_name.items():
                self._add(kind, name, n)
            raise

    def _add(self, kind: CallerKind, name: str, n: int) -> None:
        """Where there are too many names, the rarest counts among the others."""
        counts = self._counts[kind]
        if name not in counts and len(counts.keys() - {OTHERS}) >= MOST_NAMED:
            least = min((known for known in counts if known != OTHERS), key=counts.__getitem__)  # the first such
            counts[OTHERS] += counts.pop(least)
        counts[name] += n


@lru_cache(MOST_NAMED)
def _shown(name: str) -> str:
    printable = "".join(character for character in name if character.isprintable())
    return printable[:MAX_NAME_CHARS].strip() or "a program without a name"
