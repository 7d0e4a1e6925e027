"""For every graph and pair of repairs: those without a conflict may come in any order, those with one may not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import assume, event, given, strategies as st

from optimizer.core.graph.graph import read_graph, things_in
from optimizer.core.graph.repair import DeleteEntity, DeleteRelation, MergeEntities, Repair, conflicts, missing_in

NAMES = st.sampled_from("abcd")
RELATIONS = st.builds(
    lambda subject, relation, object: {"subject": subject, "relation": relation, "object": object},
    NAMES,
    st.sampled_from(["in", "of"]),
    NAMES,
)
GRAPHS = st.builds(
    lambda entities, relations: {"entities": entities, "relations": relations},
    st.lists(NAMES, unique=True),
    st.lists(RELATIONS, max_size=6),
)


@st.composite
def repairs(draw: st.DrawFn, graph: Mapping[str, Any]) -> Repair:
    """One that applies to the graph."""
    things = sorted(things_in(graph))
    assume(things)
    thing = draw(st.sampled_from(things))
    if len(thing) == 3:
        return DeleteRelation(subject=thing[0], relation=thing[1], object=thing[2])
    others = [one[0] for one in things if len(one) == 1 and one != thing]
    if not others or draw(st.booleans()):
        return DeleteEntity(entity=thing[0])
    return MergeEntities(keep=draw(st.sampled_from(others)), remove=thing[0])


@given(st.data())
def test_a_repair_leaves_a_graph_that_can_be_read_and_no_longer_has_what_it_took(data: st.DataObject) -> None:
    graph = data.draw(GRAPHS)
    repair = data.draw(repairs(graph))
    after = read_graph(dict(repair.applied(graph)))
    assert missing_in(after, repair)
    assert len(things_in(after)) < len(things_in(graph))


def test_a_conflict_is_named_exactly_where_the_order_matters() -> None:
    seen = {True: 0, False: 0}

    @given(st.data())
    def check(data: st.DataObject) -> None:
        graph = data.draw(GRAPHS)
        one, other = data.draw(repairs(graph)), data.draw(repairs(graph))
        assume(one != other)
        conflicting = bool(conflicts({"1": one, "2": other}, graph)["1"])
        event(f"conflicting: {conflicting}")
        seen[conflicting] += 1
        either_way = (
            not missing_in(one.applied(graph), other)
            and not missing_in(other.applied(graph), one)
            and things_in(other.applied(one.applied(graph))) == things_in(one.applied(other.applied(graph)))
        )
        assert conflicting != either_way

    check()
    assert min(seen.values()) > 0
