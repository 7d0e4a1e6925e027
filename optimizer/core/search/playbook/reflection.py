"""What the proposer is asked as Reflector and as Curator, how its answers are read, and what becomes of new lessons.

A model only proposes; rules decide, and keep the limits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, get_args

from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import InvalidInput, shorten
from optimizer.core.dataset.examples import similarities, vectors
from optimizer.core.family.rendering import value_text
from optimizer.core.search.playbook.clusters import Cluster
from optimizer.core.search.playbook.entries import (
    KINDS,
    MAX_CHARS,
    Add,
    Edit,
    Entries,
    Entry,
    Kind,
    Merge,
    Retire,
    Support,
    active,
    apply_edits,
    clean_text,
    id_of,
    section,
)

SAME = 0.85  # similarity from which two texts say the same
ALIKE = 0.5  # from this similarity on, two entries are merged where there is no room for both


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
        merges: pairs of (ids of active entries, the text that replaces theirs).
        retirements: id -> reason.
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


def curate(entries: Entries, lessons: Sequence[Lesson], proposed: CurationProposal, limits: Limits) -> list[Edit]:
    """The edits that take these lessons in.

    - A lesson that says what an active entry says supports that entry.
    - One that says what a retired entry said is left out: it was tried, and a person may restore it.
    - An entry that helped more than it harmed is not retired because a model says so.
    - Over the limits the two entries that are most alike are merged, else the one of least worth is retired; of equals
    the oldest. Entries that are added now go last.
    """
    edits: list[Edit] = []
    for lesson in lessons:
        edits += _taken_in(apply_edits(entries, edits), lesson)
    for ids, text in proposed.merges:
        edits += _merged(apply_edits(entries, edits), ids, text)
    for id, reason in (proposed.retirements or {}).items():
        known = entries.get(id)
        if known is not None and known.state == "active" and known.worth <= 0:
            edits.append(Retire(id=id, reason=reason or "the curator found it of no use"))
    while not limits.holds(now := apply_edits(entries, edits)):
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


SHOWN = 3  # failures of a cluster
VALUE_CHARS = 1500  # of one value that is shown
MOST_LESSONS = 3
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)

REFLECT = """You improve how a language model does a task. Below are its instruction, and answers of it that went wrong,
sorted by what went wrong, each with its score and the answer that was expected.

Find out what the model should know or do so that such faults do not happen again, and write it down as lessons. Each is
one or two sentences for the model itself, useful for inputs that are still to come. Write rules, not cases: quote no
input and no name that stands in one. A lesson is one of these:
- directive: what it must always do or never do
- strategy: how to go about the task
- lesson: a trap, and how to get around it

Instruction:
{instruction}

{clusters}

Answer with JSON alone, at most {most} lessons of at most {chars} characters each; "clusters" names those that a lesson
comes from:
{{"lessons": [{{"kind": "directive", "text": "...", "clusters": [1]}}]}}"""

CURATE = """You keep a playbook: short texts that stand at the end of a model's instruction. New lessons are added to it
without you. Say what shall become of the entries that are there: which say the same and should be one, and which are
wrong, useless, or contradicted by a new lesson. "helped" and "harmed" count examples that were answered better, or
worse, with an entry than without it. Leave good entries alone.

Entries:
{entries}

New lessons:
{lessons}

Answer with JSON alone; both lists may be empty:
{{"merge": [{{"ids": ["pb_...", "pb_..."], "text": "one text for both"}}],
 "retire": [{{"id": "pb_...", "why": "..."}}]}}"""


def to_reflect(instruction: str, clusters: Sequence[Cluster]) -> str:
    """The Reflector's prompt."""
    text = "\n\n".join(_shown(number, cluster) for number, cluster in enumerate(clusters, 1))
    return REFLECT.format(instruction=instruction, clusters=text, most=MOST_LESSONS, chars=MAX_CHARS)


def to_curate(entries: Sequence[Entry], lessons: Sequence[Lesson]) -> str:
    """The Curator's prompt."""
    lines = [f"{e.id} ({e.kind}, {e.helpful} helped, {e.harmful} harmed): {e.text}" for e in entries]
    new = [f"{lesson.kind}: {lesson.text}" for lesson in lessons]
    return CURATE.format(entries="\n".join(lines), lessons="\n".join(new))


def read_lessons(text: str, clusters: Sequence[Cluster]) -> tuple[list[Lesson], list[str]]:
    """The lessons in the Reflector's answer, and why each of the others can be no entry.

    The evidence of a lesson is the examples of the clusters that it names that were shown; of all where it names none.

    Raises:
        ValueError: the answer holds no such JSON; its text says why.
    """
    lessons, faults = list[Lesson](), list[str]()
    for item in _list(_object(text), "lessons")[:MOST_LESSONS]:
        try:
            if not isinstance(item, dict) or not isinstance(item.get("text"), str):
                raise ValueError("it has no text")
            name = str(item.get("kind") or "").strip().lower()
            kind: Kind = next((one for one in KINDS if one == name), get_args(Kind)[-1])
            named = item.get("clusters") if isinstance(item.get("clusters"), list) else []
            numbers = [n for n in named or () if isinstance(n, int) and 0 < n <= len(clusters)]
            chosen = [clusters[n - 1] for n in dict.fromkeys(numbers)] or list(clusters)
            evidence = tuple(one.example.id for cluster in chosen for one in cluster.failures[:SHOWN])
            lessons.append(Lesson(kind=kind, text=clean_text(item["text"]), evidence=evidence))
        except ValueError as fault:
            faults.append(str(fault))
    return lessons, faults


def read_curation(text: str) -> CurationProposal:
    """What the Curator's answer proposes; of what cannot be read nothing.

    Raises:
        ValueError: the answer holds no JSON object; its text says why.
    """
    answer = _object(text)
    merges: list[tuple[tuple[str, ...], str]] = []
    for item in _list(answer, "merge"):
        try:
            merges.append((tuple(map(str, _list(item, "ids"))), clean_text(str(item.get("text") or ""))))
        except (ValueError, AttributeError):
            continue
    retired = [item for item in _list(answer, "retire") if isinstance(item, dict)]
    return CurationProposal(
        merges=tuple(merges),
        retirements={str(item.get("id")): " ".join(str(item.get("why") or "").split())[:MAX_CHARS] for item in retired},
    )


def _object(text: str) -> dict[str, Any]:
    """The JSON object in an answer that may say more around it."""
    match = _OBJECT.search(text)
    if match is None:
        raise ValueError("the answer holds no JSON object")
    try:
        value = read_json(match[0])
    except (ValueError, InvalidInput) as fault:
        raise ValueError(f"the answer is no JSON: {fault}") from None
    assert isinstance(value, dict)
    return value


def _list(value: Any, name: str) -> list[Any]:
    items = value.get(name) if isinstance(value, dict) else None
    return items if isinstance(items, list) else []


def _shown(number: int, cluster: Cluster) -> str:
    failures = []
    for one in cluster.failures[:SHOWN]:
        values = {name: shorten(value_text(value), VALUE_CHARS) for name, value in one.example.input.items()}
        inputs = "\n".join(f"{name}: {value}" for name, value in values.items())
        failures.append(f"Input:\n{inputs}\nAnswer: {shorten(one.text, VALUE_CHARS)}\n{one.feedback}")
    shown = "\n\n".join(failures)
    return f"Cluster {number}: {cluster.name} ({len(cluster.failures)} of them)\n\n{shown}"
