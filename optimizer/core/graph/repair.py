"""The three repairs of a graph, each with what it needs of the graph, and the graph after it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set as AbstractSet
from dataclasses import dataclass, fields
from itertools import permutations
from typing import Any, Literal

from optimizer.core.graph.graph import ENDS, Graph, Thing, name_of, thing_text, things_in, triple_of


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRelation:
    """Deletes this relation; its entities stay."""

    action: Literal["delete_relation"] = "delete_relation"
    subject: str
    relation: str
    object: str

    @property
    def needs(self) -> frozenset[Thing]:
        return frozenset([(self.subject, self.relation, self.object)])

    def applied(self, graph: Graph) -> Graph:
        return {
            **graph,
            "relations": [relation for relation in graph["relations"] if triple_of(relation) not in self.needs],
        }

    def __str__(self) -> str:
        return f"delete the {thing_text((self.subject, self.relation, self.object))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteEntity:
    """Deletes the entity and every relation that it is in."""

    action: Literal["delete_entity"] = "delete_entity"
    entity: str

    @property
    def needs(self) -> frozenset[Thing]:
        return frozenset([(self.entity,)])

    def applied(self, graph: Graph) -> Graph:
        removed = {triple for triple in map(triple_of, graph["relations"]) if self.entity in (triple[0], triple[2])}
        return {
            **graph,
            "entities": [item for item in graph["entities"] if name_of(item) != self.entity],
            "relations": [item for item in graph["relations"] if triple_of(item) not in removed],
        }

    def __str__(self) -> str:
        return f"delete the {thing_text((self.entity,))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeEntities:
    """``keep`` takes over the relations of ``remove``.

    A relation between the two goes, and one that ``keep`` has already stands once.
    """

    action: Literal["merge_entities"] = "merge_entities"
    keep: str
    remove: str

    @property
    def needs(self) -> frozenset[Thing]:
        return frozenset([(self.keep,), (self.remove,)])

    def taken_over(self, relations: AbstractSet[Thing]) -> set[Thing]:
        """What these relations of ``remove`` become; one between the two becomes nothing."""
        both = {self.keep, self.remove}
        return {self._renamed(triple) for triple in relations if {triple[0], triple[2]} != both}

    def applied(self, graph: Graph) -> Graph:
        removed = {triple for triple in map(triple_of, graph["relations"]) if self.remove in (triple[0], triple[2])}
        there = {triple for triple in map(triple_of, graph["relations"]) if triple not in removed}
        new = self.taken_over(removed) - there
        relations = []
        for relation in graph["relations"]:
            triple = triple_of(relation)
            if triple in removed:
                triple = self._renamed(triple)
                if triple not in new:
                    continue
                new.discard(triple)
                relation = {**relation, **dict(zip(ENDS, triple, strict=True))}
            relations.append(relation)
        entities = [entity for entity in graph["entities"] if name_of(entity) != self.remove]
        if self.keep not in map(name_of, graph["entities"]):  # only a relation named it, so it takes the other's place
            entities = [self.keep if name_of(entity) == self.remove else entity for entity in graph["entities"]]
        return {**graph, "entities": entities, "relations": relations}

    def _renamed(self, triple: Thing) -> Thing:
        subject, relation, object = triple
        new = {self.remove: self.keep}
        return new.get(subject, subject), relation, new.get(object, object)

    def __str__(self) -> str:
        return f"merge the {thing_text((self.remove,))} into {self.keep!r}"


Repair = DeleteRelation | DeleteEntity | MergeEntities
ACTIONS: Mapping[str, type[Repair]] = {
    "delete_relation": DeleteRelation,
    "delete_entity": DeleteEntity,
    "merge_entities": MergeEntities,
}


def read_repair(value: Any) -> Repair:
    """One repair as a model writes it; raises ValueError, which says what is wrong with it."""
    if not isinstance(value, Mapping):
        raise ValueError("it is no object with an action")
    action = str(value.get("action"))
    kind = ACTIONS.get(action)
    if kind is None:
        raise ValueError(f"its action {value.get('action')!r} is none of {', '.join(ACTIONS)}")
    names = [field.name for field in fields(kind) if field.name != "action"]
    missing = [name for name in names if not isinstance(value.get(name), str) or not value[name].strip()]
    if missing:
        raise ValueError(f"{action} needs {' and '.join(missing)}")
    repair = kind(**{name: value[name] for name in names})
    if isinstance(repair, MergeEntities) and repair.keep == repair.remove:
        raise ValueError("it merges an entity with itself")
    return repair


def missing_in(graph: Graph, repair: Repair) -> list[Thing]:
    """What the repair is about and the graph does not have; empty where it applies."""
    return sorted(repair.needs - things_in(graph))


def conflicts(repairs: Mapping[str, Repair], graph: Graph) -> dict[str, dict[str, str]]:
    """Repair -> the repairs beside which it cannot be carried out, and why.

    One takes away what the other needs, or the result depends on which is first.

    Args:
        repairs: by name; all apply to the graph.
    """
    index = _Index(graph)
    takes, makes = {}, {}
    for name, repair in repairs.items():
        takes[name], makes[name] = index.taken_and_made(repair)
    conflicts: dict[str, dict[str, str]] = {name: {} for name in repairs}
    for one, other in permutations(repairs, 2):
        needed = repairs[other].needs
        if removed := takes[one] & needed:
            why = f"to {repairs[one]} takes away the {thing_text(min(removed))}"
        elif again := makes[one] & needed:
            why = f"to {repairs[one]} makes the {thing_text(min(again))} again, so their order matters"
        else:
            continue
        conflicts[one].setdefault(other, why)
        conflicts[other].setdefault(one, why)
    return conflicts


class _Index:
    """The relations of each entity, so that what a repair changes is found without a look at the whole graph."""

    def __init__(self, graph: Graph) -> None:
        self._listed = {name_of(entity) for entity in graph["entities"]}
        self._of: dict[str, set[Thing]] = defaultdict(set)
        for triple in map(triple_of, graph["relations"]):
            self._of[triple[0]].add(triple)
            self._of[triple[2]].add(triple)

    def taken_and_made(self, repair: Repair) -> tuple[set[Thing], set[Thing]]:
        """What the graph no longer has after the repair, and the relations that a merge makes."""
        if isinstance(repair, DeleteRelation):
            removed, added, entities, named = set(repair.needs), set[Thing](), set[Thing](), self._listed
        elif isinstance(repair, DeleteEntity):
            removed, added, entities, named = self._of[repair.entity], set(), {(repair.entity,)}, self._listed
        else:
            removed, entities = self._of[repair.remove], {(repair.remove,)}
            added = repair.taken_over(removed)
            named = self._listed | {repair.keep} if repair.remove in self._listed else self._listed
        still = {name for triple in added for name in (triple[0], triple[2])}
        ends = {name for triple in removed for name in (triple[0], triple[2])}
        # an entity that no list names goes with its last relation
        alone = {(name,) for name in ends - still if name not in named and self._of[name] <= removed}
        return (removed - added) | entities | alone, added
