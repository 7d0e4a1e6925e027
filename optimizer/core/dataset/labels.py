"""The labels of a sheet: how often each stands there, and which look like a slip of another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

LEAST_SIMILARITY = 0.75  # of difflib, in [0, 1]: one letter more, less or swapped in a word of four
MOST_RARE = 0.1  # a slip is at most a tenth as frequent as what was meant
N_SHOWN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LookAlike:
    """``rare`` may be ``common``, misspelt or written otherwise."""

    rare: str
    n_rare: int
    common: str
    n_common: int

    @property
    def same(self) -> bool:
        """Apart in case and white space alone, which count as one where an answer is read."""
        return _same(self.rare, self.common)

    @property
    def text(self) -> str:
        return f"{self.rare!r} ({self.n_rare}) looks like {self.common!r} ({self.n_common})"


def look_alikes(counts: Mapping[str, int]) -> list[LookAlike]:
    """Labels that differ in case and white space alone,
    and rare ones that are nearly a frequent one; each rare label once.

    Args:
        counts: label > number of rows.
    """
    ordered = sorted(counts, key=lambda label: (-counts[label], label))
    found = []
    for at, rare in enumerate(ordered):
        common = next((c for c in ordered[:at] if _same(rare, c)), None) or _nearest(rare, ordered[:at], counts)
        if common is not None:
            found.append(LookAlike(rare=rare, n_rare=counts[rare], common=common, n_common=counts[common]))
    return found


def counted(counts: Mapping[str, int]) -> str:
    """Every label with its rows, the most frequent first: ``card 233, refund 12``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    more = f" and {len(ordered) - N_SHOWN} more" if len(ordered) > N_SHOWN else ""
    return ", ".join(f"{label} {n}" for label, n in ordered[:N_SHOWN]) + more


def _same(a: str, b: str) -> bool:
    return " ".join(a.split()).casefold() == " ".join(b.split()).casefold()


def _nearest(rare: str, others: list[str], counts: Mapping[str, int]) -> str | None:
    frequent = [c for c in others if counts[rare] <= MOST_RARE * counts[c]]
    similarity = {c: SequenceMatcher(None, rare, c, autojunk=False).ratio() for c in frequent}
    best = max(similarity, key=lambda c: similarity[c], default=None)
    return best if best is not None and similarity[best] >= LEAST_SIMILARITY else None
