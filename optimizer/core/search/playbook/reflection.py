"""What the proposer is asked as Reflector and as Curator, and how its answers are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, get_args

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.strict_json import read_json
from optimizer.core.family.rendering import value_text
from optimizer.core.search.playbook.clusters import AnsweredExample, Cluster
from optimizer.core.search.playbook.curation import CurationProposal, Lesson
from optimizer.core.search.playbook.entries import KINDS, MAX_CHARS, Entry, Kind, cleaned

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
            lessons.append(Lesson(kind=kind, text=cleaned(item["text"]), evidence=evidence))
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
            merges.append((tuple(map(str, _list(item, "ids"))), cleaned(str(item.get("text") or ""))))
        except (ValueError, AttributeError):
            continue
    retired = [item for item in _list(answer, "retire") if isinstance(item, dict)]
    reasons = {str(item.get("id")): " ".join(str(item.get("why") or "").split())[:MAX_CHARS] for item in retired}
    return CurationProposal(merges=tuple(merges), retirements=reasons)


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
    n = len(cluster.failures)
    failures = "\n\n".join(_failure(one) for one in cluster.failures[:SHOWN])
    return f"Cluster {number}: {cluster.name} ({n} of them)\n\n{failures}"


def _failure(one: AnsweredExample) -> str:
    inputs = "\n".join(f"{name}: {_cut(value_text(value))}" for name, value in one.example.input.items())
    return f"Input:\n{inputs}\nAnswer: {_cut(one.text)}\n{one.feedback}"


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"
