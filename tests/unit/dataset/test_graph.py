"""A graph as JSON is read with every fault named, and each repair changes what it says and nothing else."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest

from optimizer.core.base.errors import Conflict, InvalidInput
from optimizer.core.graph.graph import read_graph
from optimizer.core.graph.repair import (
    DeleteEntity,
    DeleteRelation,
    MergeEntities,
    Repair,
    conflicts,
    missing_in,
    read_repair,
)
from optimizer.core.graph.verified import ProposedRepair, VerifiedGraph, decide, reasons_against
from tests.cases import named
from tests.stores import NOW


def relation(text: str) -> dict[str, Any]:
    return dict(zip(("subject", "relation", "object"), text.split(), strict=True))


def graph(entities: str, *relations: str) -> dict[str, Any]:
    return {"entities": entities.split(), "relations": [relation(one) for one in relations]}


def verified_with(given: dict[str, Any], *repairs: Repair) -> VerifiedGraph:
    proposed = tuple(ProposedRepair(id=f"gr.{n}", repair=repair) for n, repair in enumerate(repairs, start=1))
    known = {"received_at": NOW, "created_by": "me", "created_at": NOW}
    return VerifiedGraph(id="gr", family="f", interaction="in", given=given, repairs=proposed, **known)


def approve(verified: VerifiedGraph, *ids: str) -> VerifiedGraph:
    for id in ids:
        verified = decide(verified, id, "approved", by="me", reason="", at=NOW)
    return verified


def delete(text: str) -> DeleteRelation:
    return DeleteRelation(**relation(text))


class TestReading:
    @pytest.mark.parametrize(
        "value",
        [
            graph("fox wood", "fox in wood"),
            {"entities": [], "relations": []},
            {"entities": [{"name": "fox", "type": "animal"}], "relations": [], "source": "page 3"},
            '{"entities": ["fox"], "relations": []}',
        ],
        ids=["names", "empty", "objects and other members", "as JSON text"],
    )
    def test_a_graph_is_kept_as_it_is(self, value: Any) -> None:
        read = read_graph(value)
        assert isinstance(value, str) or read == value

    @pytest.mark.parametrize(
        ("value", "pointers"),
        [
            ("no JSON", [""]),
            (["fox"], [""]),
            ({}, ["/entities", "/relations"]),
            ({"entities": "fox", "relations": {}}, ["/entities", "/relations"]),
            ({"entities": ["fox", "", {"type": "x"}, 3], "relations": []}, [f"/entities/{n}" for n in (1, 2, 3)]),
            ({"entities": [], "relations": ["a", {"subject": "a", "relation": " "}]}, ["/relations/0", "/relations/1"]),
        ],
        ids=["text", "list", "members missing", "members of another type", "entities", "relations"],
    )
    def test_every_fault_is_named_with_its_place(self, value: Any, pointers: list[str]) -> None:
        with pytest.raises(InvalidInput, match="The graph cannot be read") as refused:
            read_graph(value)
        assert [fault.pointer for fault in refused.value.faults] == pointers


class TestRepairsAsWritten:
    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("delete fox", "no object"),
            ({"action": "add_entity"}, "'add_entity' is none of delete_relation, delete_entity, merge"),
            ({}, "None is none of"),
            ({"action": "delete_relation", "subject": "fox"}, "delete_relation needs relation and object"),
            ({"action": "delete_entity", "entity": ""}, "delete_entity needs entity"),
            ({"action": "merge_entities", "keep": "fox", "remove": 3}, "merge_entities needs remove"),
            ({"action": "merge_entities", "keep": "fox", "remove": "fox"}, "with itself"),
        ],
    )
    def test_what_is_no_repair_says_why(self, value: Any, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            read_repair(value)

    @pytest.mark.parametrize(
        "repair", [delete("fox in wood"), DeleteEntity(entity="fox"), MergeEntities(keep="a", remove="b")]
    )
    def test_a_repair_is_read_back_as_it_was_written(self, repair: Repair) -> None:
        assert read_repair({**asdict(repair), "why": "other members are ignored"}) == repair


class TestApplied:
    B_INTO_A, A_GONE = MergeEntities(keep="a", remove="b"), DeleteEntity(entity="a")

    @named(
        ("before", "repair", "after"),
        {
            "a relation": (graph("a b", "a in b", "a of b"), delete("a in b"), graph("a b", "a of b")),
            "a relation that stands twice": (graph("a b", "a in b", "a in b"), delete("a in b"), graph("a b")),
            "an entity with its relations": (graph("a b c", "a in b", "c in b"), A_GONE, graph("b c", "c in b")),
            "a merge renames": (graph("b a c", "b in c", "c of b"), B_INTO_A, graph("a c", "a in c", "c of a")),
            "a merge keeps a relation once and drops what was between the two": (
                graph("a b c", "a in c", "b in c", "a is b", "b is b"),
                B_INTO_A,
                graph("a c", "a in c", "a is a"),
            ),
            "a name that only a relation had": (graph("b", "a in b"), B_INTO_A, graph("a")),
        },
    )
    def test_the_graph_after_a_repair(self, before: Any, repair: Repair, after: Any) -> None:
        assert repair.applied(before) == after

    def test_other_members_stay_as_they_are(self) -> None:
        fox, other = {"name": "fox", "type": "animal"}, {"name": "Fox", "type": "?"}
        before, after = (
            {"entities": entities, "relations": [{**relation(text), "line": 3}], "source": "page 3"}
            for entities, text in (([fox, other], "Fox in wood"), ([fox], "fox in wood"))
        )
        assert MergeEntities(keep="fox", remove="Fox").applied(before) == after

    def test_what_a_repair_is_about_and_the_graph_lacks_is_named(self) -> None:
        given = graph("fox", "fox in wood")
        assert missing_in(given, delete("fox in den")) == [("fox", "in", "den")]
        assert missing_in(given, MergeEntities(keep="fox", remove="den")) == [("den",)]
        assert missing_in(given, DeleteEntity(entity="wood")) == []


class TestConflicts:
    GIVEN = graph("a b c", "a in c", "b in c", "a is b")

    @pytest.mark.parametrize(
        ("one", "other", "why"),
        [
            (DeleteEntity(entity="a"), delete("a in c"), "takes away the relation 'a in c'"),
            (DeleteEntity(entity="a"), MergeEntities(keep="a", remove="b"), "takes away the entity 'a'"),
            (MergeEntities(keep="a", remove="b"), delete("a in c"), "makes the relation 'a in c' again"),
        ],
    )
    def test_those_that_cannot_both_be_carried_out_name_each_other(self, one: Repair, other: Repair, why: str) -> None:
        found = conflicts({"1": one, "2": other}, self.GIVEN)
        assert why in found["1"]["2"]
        assert why in found["2"]["1"]


class TestDecided:
    def test_a_repair_applies_once_a_merge_has_made_what_it_is_about(self) -> None:
        merge, later = MergeEntities(keep="a", remove="b"), delete("a in c")
        verified = verified_with(graph("a b c", "b in c"), merge, later)
        assert "which the graph never had" in reasons_against(verified)["gr.2"]
        with pytest.raises(Conflict, match="never had"):
            approve(verified, "gr.2")
        merged = approve(verified, "gr.1")
        assert reasons_against(merged) == {}
        assert approve(merged, "gr.2").repaired == graph("a c")

    def test_approvals_are_carried_out_in_the_order_in_which_they_came(self) -> None:
        given = graph("a b c", "a in c", "b in c")
        proposed = verified_with(given, MergeEntities(keep="a", remove="b"), delete("a in c"))
        assert approve(proposed, "gr.1", "gr.2").repaired == graph("a c")
        assert approve(proposed, "gr.2", "gr.1").repaired == graph("a c", "a in c"), "the merge has made it again"
