"""From a text to a repaired graph: two families extract it, a third proposes repairs, and a person decides each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from examples.detent_families import DetentFamilies, Extraction, unit_of_text

TYPES = "location, organization, person"
RELATIONS = "born_in, captain_of, founded, located_in, owns, no_relation"
FACTS = json.loads((Path(__file__).parent / "facts.json").read_text(encoding="utf-8"))
Decide = Callable[[Mapping[str, Any]], tuple[bool, str]]  # a pending repair > whether to carry it out, and why
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairedGraph:
    """The graph at the end, and how many repairs were proposed, approved and rejected."""

    graph: Mapping[str, Any]
    n_proposed: int
    n_approved: int
    n_rejected: int


def graph_of(extractions: Sequence[Extraction]) -> dict[str, Any]:
    """Entities by name, and relations, each once, as ``graph_verification`` takes them."""
    names = dict.fromkeys(name for one in extractions for name, _ in one.entities)
    triples = dict.fromkeys(triple for one in extractions for triple in one.relations)
    return {
        "entities": list(names),
        "relations": [{"subject": s, "relation": r, "object": o} for s, r, o in triples],
    }


async def _propose(families: DetentFamilies, interaction: str) -> Any:
    """While the store is busy an answer's record is on its way into it: 404 is asked again, for some seconds."""
    for wait_s in (0.25, 0.5, 1.0, 2.0, None):
        try:
            return await families.post("/v1/families/graph_verification/graphs", {"interaction": interaction})
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 404 or wait_s is None:
                raise
            await asyncio.sleep(wait_s)


async def repair(
    families: DetentFamilies, text: str, graph: Mapping[str, Any], *, decide: Decide, say: Say
) -> RepairedGraph:
    """Asks what to repair, decides each repair, and returns the graph with those that were approved."""
    answer = await families.ask("graph_verification", {"text": text, "graph": graph}, unit=unit_of_text(text))
    try:
        proposed = await _propose(families, answer.interaction)
    except httpx.HTTPStatusError as error:
        if error.response.status_code != 422:
            raise
        say(f"  {error.response.json()['detail']} It is reported as a failure, and the graph stays as it is.")
        await families.report([answer], success=False, source="system")
        return RepairedGraph(graph=graph, n_proposed=0, n_approved=0, n_rejected=0)
    for bad in proposed["unreadable"]:
        say(f"  number {bad['index'] + 1} of the answer is no repair: {bad['detail']}")
    n = {"approve": 0, "reject": 0}
    now = proposed
    for id in [one["id"] for one in proposed["repairs"]]:
        pending = next(one for one in now["repairs"] if one["id"] == id)
        against = "".join(f"; conflicts with {other['repair']}, as {other['why']}" for other in pending["conflicts"])
        good, why = decide(pending) if pending["applies"] else (False, pending["why_not"])
        act = "approve" if good else "reject"
        now = (await families.post(f"/v1/repairs/{id}/{act}", {"reason": why}))["graph"]
        n[act] += 1
        say(f"  {act}: {pending['what']} ({why}){against}")
    return RepairedGraph(
        graph=now["repaired"], n_proposed=len(proposed["repairs"]), n_approved=n["approve"], n_rejected=n["reject"]
    )


def by_the_facts(pending: Mapping[str, Any]) -> tuple[bool, str]:
    """Decides as one who has read the text: ``facts.json`` says what it states."""
    repair = pending["repair"]
    if repair["action"] == "delete_entity":
        stated = repair["entity"] in FACTS["entities"]
        return not stated, "the text names it" if stated else "the text does not name it"
    if repair["action"] == "merge_entities":
        same = [repair["keep"], repair["remove"]] in FACTS["one_thing"]
        return same, "one by the text" if same else "two by the text"
    names = dict(reversed(pair) for pair in FACTS["one_thing"])
    subject, object = (names.get(repair[end], repair[end]) for end in ("subject", "object"))
    stated = [subject, repair["relation"], object] in FACTS["relations"]
    return not stated, "the text says so" if stated else "the text does not say so"


def by_asking(pending: Mapping[str, Any]) -> tuple[bool, str]:
    """Asks at the terminal."""
    said = input(f"  {pending['what']}? [y/N] ").strip().lower()
    return said.startswith("y"), "said at the terminal"


def n_right(graph: Mapping[str, Any]) -> tuple[int, int]:
    """How many of the graph's relations the text states, of how many that it states in all."""
    stated = {tuple(fact) for fact in FACTS["relations"]}
    triples = {(one["subject"], one["relation"], one["object"]) for one in graph["relations"]}
    return len(stated & triples), len(stated)
