"""A knowledge graph as JSON: its form, and its parts.

``{"entities": ["fox", {"name": "wood", "type": "place"}], "relations": [{"subject": "fox", "relation": "lives_in",
"object": "wood"}]}``. An entity is its name. Other members of the graph, an entity or a relation are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from optimizer.core.base.answers import Json
from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import Fault, InvalidInput, faults_text, pointer_of

Graph = Mapping[str, Json]
# What a repair may be about: an entity as (name,), a relation as (subject, relation, object).
Thing = tuple[str, ...]
ENDS = ("subject", "relation", "object")


def read_graph(value: Any) -> Graph:
    """The graph in a value, or in its JSON text.

    Raises InvalidInput that names every fault with its JSON pointer.
    """
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError as error:
            raise _invalid([Fault(pointer="", detail=f"it is a text, and no JSON: {error}")]) from error
    if not isinstance(value, Mapping):
        raise _invalid([Fault(pointer="", detail='it is no object with "entities" and "relations"')])
    faults = [*_faults(value, "entities", _entity_fault), *_faults(value, "relations", _relation_fault)]
    if faults:
        raise _invalid(faults)
    return value


def name_of(entity: Any) -> str:
    """The name of an entity, which is a name or an object with one."""
    return str(entity["name"] if isinstance(entity, Mapping) else entity)


def triple_of(relation: Mapping[str, Any]) -> Thing:
    return tuple(str(relation[end]) for end in ENDS)


def things_in(graph: Graph) -> set[Thing]:
    """Every entity and relation; an entity that only a relation names is one too."""
    triples = {triple_of(relation) for relation in graph["relations"]}
    names = {name_of(entity) for entity in graph["entities"]} | {name for s, _, o in triples for name in (s, o)}
    return triples | {(name,) for name in names}


def thing_text(thing: Thing) -> str:
    """A thing in a sentence: ``entity 'fox'``, ``relation 'fox lives_in wood'``."""
    return f"{'entity' if len(thing) == 1 else 'relation'} {' '.join(thing)!r}"


def _faults(value: Mapping[str, Any], member: str, fault_of: Any) -> Iterator[Fault]:
    items = value.get(member)
    if not isinstance(items, list):
        detail = "it is missing" if items is None else f"it is a {type(items).__name__}"
        yield Fault(pointer=f"/{member}", detail=f"{detail}; a list is needed, which may be empty")
        return
    for index, item in enumerate(items):
        detail = fault_of(item)
        if detail is not None:
            yield Fault(pointer=pointer_of([member, index]), detail=detail)


def _entity_fault(entity: Any) -> str | None:
    name = entity.get("name") if isinstance(entity, Mapping) else entity
    return None if _is_name(name) else 'it is neither a name nor an object with a "name"'


def _relation_fault(relation: Any) -> str | None:
    if not isinstance(relation, Mapping):
        return "it is no object with subject, relation and object"
    missing = [end for end in ENDS if not _is_name(relation.get(end))]
    return f"its {' and '.join(missing)} {'are no names' if len(missing) > 1 else 'is no name'}" if missing else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _invalid(faults: list[Fault]) -> InvalidInput:
    return InvalidInput(
        f"The graph cannot be read: {faults_text(faults)}. Send"
        ' {"entities": [NAME, ...], "relations": [{"subject": NAME, "relation": NAME, "object": NAME}, ...]}.',
        faults,
    )
