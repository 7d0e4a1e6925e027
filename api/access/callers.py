"""Who sends requests without a key, and who is refused for want of a right one: counted in memory, written for people
to see.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from optimizer.core.serving.access import COMMAND_LINE
from optimizer.ports import CallerKind, Store

MOST_NAMED = 100  # of a process; whoever makes up names fills no store
OTHERS = "others"
MAX_NAME_CHARS = 80


class CallerCounts:
    """Counts on the event loop; ``flush`` writes in a thread. A count that comes in that instant may be lost: it is
    told, and decides nothing.
    """

    def __init__(self) -> None:
        self._counts: Counter[tuple[CallerKind, str]] = Counter()
        self._names: dict[tuple[CallerKind, str, str], str] = {}  # as sent > as shown

    def count(self, kind: CallerKind, agent: str, where: str = "") -> None:
        """``agent``: what the caller calls itself, as it was sent; ``where``: what else tells it from others."""
        if agent == COMMAND_LINE:
            return
        shown = self._names.get((kind, agent, where))
        if shown is None:
            if len(self._names) >= MOST_NAMED:
                shown = OTHERS
            else:
                shown = self._names[kind, agent, where] = _shown(agent) + where
        self._counts[kind, shown] += 1

    def flush(self, store: Store, now: datetime) -> None:
        """Writes what was counted; what cannot be written is counted on."""
        taken, self._counts = self._counts, Counter()
        counts = dict(taken)
        if not counts:
            return
        try:
            store.write(lambda tx: store.api_keys.add_callers(tx, counts, now))
        except Exception:
            self._counts.update(counts)
            raise


def _shown(name: str) -> str:
    printable = "".join(character for character in name if character.isprintable())
    return printable[:MAX_NAME_CHARS].strip() or "a program without a name"
