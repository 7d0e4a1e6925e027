"""What becomes of new lessons: the Curator. A model may propose; rules decide and keep the limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from optimizer.core.dataset.similarity import similarities, vectors
from optimizer.core.search.playbook.entries import (
    Add,
    Edit,
    Entries,
    Entry,
    Kind,
    Merge,
    Retire,
    Support,
    active,
    applied,
    id_of,
    section,
)

SAME = 0.85  # similarity from which two texts say the same
ALIKE = 0.5  # from which two entries are merged where there is no room for both


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """What the Reflector learned, and from which training examples."""

    kind: Kind
    text: str
    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurationProposal:
    """What the Curator's model proposes.

    Args:
        merges: pairs of (ids of active entries, the text that shall stand in their place).
        retirements: id > reason.
    """

    merges: Sequence[tuple[tuple[str, ...], str]] = ()
    retirements: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large the active part of a playbook may be: its entries, and the characters of its section."""

    n_entries: int = 16
    n_chars: int = 2000

    def holds(self, entries: Entries) -> bool:
        current = active(entries)
        return len(current) <= self.n_entries and len(section(current)) <= self.n_chars


def curated(entries: Entries, lessons: Sequence[Lesson], proposed: CurationProposal, limits: Limits) -> list[Edit]:
    """The edits that take these lessons in.

    - A lesson that says what an active entry says supports that entry.
    - One that says what an entry said that was retired is left out: it was tried, and a person may restore it.
    - An entry that helped more than it harmed is not retired because a model says so.
    - Over the limits the two entries that are most alike are merged, else the one of least worth is retired; of equals
      the oldest. What is added now goes last.
    """
    edits: list[Edit] = []
    for lesson in lessons:
        edits += _taken_in(applied(entries, edits), lesson)
    for ids, text in proposed.merges:
        edits += _merged(applied(entries, edits), ids, text)
    for id, reason in (proposed.retirements or {}).items():
        known = entries.get(id)
        if known is not None and known.state == "active" and known.worth <= 0:
            edits.append(Retire(id=id, reason=reason or "the curator found it of no use"))
    while not limits.holds(now := applied(entries, edits)):
        edits += _made_room(now, new=now.keys() - entries.keys(), limits=limits)
    return edits


def most_alike(text: str, entries: Sequence[Entry]) -> tuple[Entry, float] | None:
    """The entry most like a text, with its similarity in [0, 1]; None without entries."""
    if not entries:
        return None
    first, *others = vectors([text, *(entry.text for entry in entries)])
    (shares,) = similarities([first], others)
    at = max(range(len(entries)), key=lambda i: (shares[i], -i))
    return entries[at], shares[at]


def _taken_in(entries: Entries, lesson: Lesson) -> list[Edit]:
    same = entries.get(id_of(lesson.text))
    if same is None:
        near = most_alike(lesson.text, [e for e in entries.values() if e.state != "merged"])
        same = near[0] if near is not None and near[1] >= SAME else None
    if same is None:
        return [Add(kind=lesson.kind, text=lesson.text, evidence=lesson.evidence)]
    while same.merged_into is not None and same.merged_into in entries:
        same = entries[same.merged_into]
    return [Support(id=same.id, evidence=lesson.evidence)] if same.state == "active" else []


def _merged(entries: Entries, ids: Sequence[str], text: str) -> list[Edit]:
    """Two or more active entries become one; nothing where the text was retired before."""
    old = [entries[id] for id in dict.fromkeys(ids) if id in entries and entries[id].state == "active"]
    into = entries.get(id_of(text))
    if len(old) < 2 or (into is not None and into.state != "active"):
        return []
    edits: list[Edit] = [] if into is not None else [Add(kind=old[0].kind, text=text)]
    reason = "the curator says it in one entry with others"
    return [*edits, *(Merge(id=e.id, into=id_of(text), reason=reason) for e in old if e.id != id_of(text))]


def _made_room(entries: Entries, *, new: set[str], limits: Limits) -> list[Edit]:
    current = active(entries)
    if len(current) > 1:
        embedded = vectors([entry.text for entry in current])
        alike = similarities(embedded, embedded)
        i, j = max(combinations(range(len(current)), 2), key=lambda pair: (alike[pair[0]][pair[1]], -pair[0], -pair[1]))
        if alike[i][j] >= ALIKE:
            better, worse = sorted((current[i], current[j]), key=lambda entry: (-entry.worth, entry.position))
            return [Merge(id=worse.id, into=better.id, reason=f"it is like {better.id}, and {_full(limits)}")]
    least = min(current, key=lambda entry: (entry.id in new, entry.worth, entry.position))
    counts = f"{least.helpful} helped, {least.harmful} harmed"
    return [Retire(id=least.id, reason=f"of all entries the least worth ({counts}), and {_full(limits)}")]


def _full(limits: Limits) -> str:
    return f"the playbook may have {limits.n_entries} entries and {limits.n_chars} characters"
