"""Repairs of a graph through the service: each waits for a person, whose word is feedback, and the graph comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from optimizer.core.dataset.examples import make_example
from optimizer.core.serving.access import access_of
from optimizer.jobs.upkeep.prune_records import prune_records
from optimizer.jobs.upkeep.read_retention import retentions
from tests.worlds.api_world import World, serving
from tests.worlds.graph_world import DELETE_IN_YORK, DELETE_YORK, GRAPH, MERGE, F, graph_home, propose, report

AFTER_MERGE = {
    "entities": ["Jakob Renz", "mill", "York"],
    "relations": [
        {"subject": "Jakob Renz", "relation": "runs", "object": "mill"},
        {"subject": "mill", "relation": "in", "object": "York"},
    ],
}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with serving(graph_home(tmp_path)) as running:
        yield running


def decide(world: World, repair: str, act: str = "approve", **options: Any) -> Any:
    return world.post(f"/v1/repairs/{repair}/{act}", {"reason": "I read it"}, **options)


def feedback_of(world: World, interaction: str = "in_1") -> list[tuple[str, str, bool, float, str]]:
    found = world.get(f"/v1/interactions/{interaction}?family={F}").json()["feedback"]
    return [(one["id"], one["source"], one["success"], one["score"], one["label"]) for one in found]


class TestProposing:
    def test_each_repair_of_the_answer_waits_and_names_those_it_conflicts_with(self, world: World) -> None:
        graph = propose(world, [MERGE, DELETE_YORK, DELETE_IN_YORK, {**MERGE, "why": "again"}, {"action": "guess"}])
        one, two, three = graph["repairs"]
        assert [(one["id"], one["status"], one["applies"]) for one in graph["repairs"]] == [
            (f"{graph['id']}.{n}", "pending", True) for n in (1, 2, 3)
        ]
        assert (one["repair"], one["conflicts"]) == (MERGE, [])
        assert [(other["repair"], "takes away" in other["why"]) for other in two["conflicts"]] == [(three["id"], True)]
        assert [other["repair"] for other in three["conflicts"]] == [two["id"]]
        assert [(bad["index"], "'guess' is none of" in bad["detail"]) for bad in graph["unreadable"]] == [(4, True)]
        assert (graph["given"], graph["repaired"], graph["input"]) == (GRAPH, GRAPH, None)
        assert graph["n_pending"] == 3

    def test_an_interaction_is_put_before_a_person_once(self, world: World) -> None:
        first = propose(world)
        again = world.post(f"/v1/families/{F}/graphs", {"interaction": "in_1"})
        assert (again.status_code, again.json()) == (200, {**first, "new": False})
        listed = world.get(f"/v1/graphs?family={F}&pending=true").json()["items"]
        assert [one["id"] for one in listed] == [first["id"]]
        assert "given" not in listed[0]
        shown = world.get(f"/v1/graphs/{first['id']}").json()
        assert shown["input"] == {"text": "Jakob Renz ran the mill."}

    def test_what_cannot_be_read_says_why_and_is_not_kept(self, world: World) -> None:
        report(world)
        report(world, [MERGE] * 101, id="in_many")
        world.post(
            "/v1/interactions",
            {
                "id": "in_prose",
                "family": F,
                "unit": "u",
                "output": "All is well.",
                "input": {"text": "", "graph": GRAPH},
            },
        )
        world.post("/v1/interactions", {"id": "in_bare", "family": F, "unit": "u", "latency_ms": 3.0})
        for family, interaction, status, why in (
            (F, "in_none", 404, "has no interaction 'in_none'"),
            ("triage", "in_1", 422, "triage proposes no repairs of a graph"),
            ("nothing", "in_1", 404, "nothing"),
            (F, "in_prose", 422, "proposes no repairs that could be read"),
            (F, "in_many", 422, "101 repairs, and 100 is the most"),
            (F, "in_bare", 422, "has no graph and answer in the store"),
        ):
            answer = world.post(f"/v1/families/{family}/graphs", {"interaction": interaction})
            assert (answer.status_code, why in answer.json()["detail"]) == (status, True), answer.text
        assert world.get("/v1/graphs").json()["items"] == []


def test_of_a_graph_that_the_sealed_holdout_asks_about_nobody_sees_a_text_or_decides(world: World) -> None:
    graph, other = propose(world, [MERGE, {"action": "guess"}]), propose(world, id="in_2", text="The mill is in York.")
    drawn = make_example(
        family=F,
        input={"text": "Jakob Renz ran the mill.", "graph": GRAPH},
        expected={"verification": {}},
        created_at=world.shared.clock.now(),
        origin="curated",
    )
    world.shared.store.write(lambda tx: world.shared.store.examples.add(tx, [replace(drawn, split="holdout")]))
    again = world.post(f"/v1/families/{F}/graphs", {"interaction": "in_1"}).json()
    listed, beside = world.get(f"/v1/graphs?family={F}").json()["items"]
    for shown in (again, listed, world.get(f"/v1/graphs/{graph['id']}").json()):
        assert (shown["id"], shown["n_pending"]) == (graph["id"], 1)
        assert [text for text in ("Renz", "guess") if text in str(shown)] == []
    assert (again["given"], again["repaired"]) == (None, None)
    assert "Renz" in str(beside)
    refused = decide(world, f"{graph['id']}.1")
    assert (refused.status_code, "Renz" in refused.text) == (409, False)
    assert decide(world, other["repairs"][0]["id"]).status_code == 200


class TestDeciding:
    def test_an_approval_is_carried_out_and_comes_back_with_the_graph(self, world: World) -> None:
        graph = propose(world)
        done = decide(world, graph["repairs"][0]["id"]).json()
        assert done["what"] == f"{graph['id']}.1 is approved: merge the entity 'Renz' into 'Jakob Renz'"
        assert done["graph"]["repaired"] == AFTER_MERGE
        assert (done["graph"]["given"], done["graph"]["n_pending"]) == (GRAPH, 2)
        assert "none: the decision was counted as feedback" in done["undo"]
        assert world.get(f"/v1/graphs/{graph['id']}").json()["repaired"] == AFTER_MERGE

    def test_every_decision_is_a_persons_feedback_on_the_answer(self, world: World) -> None:
        graph = propose(world)
        merge, york, _ = (one["id"] for one in graph["repairs"])
        assert decide(world, merge).json()["feedback"] == merge
        assert decide(world, york, "reject").json()["feedback"] == york
        assert feedback_of(world) == [
            (merge, "person", True, 1.0, "approved"),
            (york, "person", False, 0.0, "rejected"),
        ]
        with world.shared.store.read() as tx:
            (arm,) = world.shared.store.events.arm_summary(tx, F, None)
        assert (arm.n_labelled, arm.n_success, arm.mean_score) == (2, 1, 0.5)

    def test_what_no_longer_applies_is_refused_and_says_whose_approval_it_was(self, world: World) -> None:
        graph = propose(world)
        _, york, in_york = (one["id"] for one in graph["repairs"])
        done = decide(world, york).json()
        assert done["no_longer"] == [in_york]
        refused = decide(world, in_york)
        assert refused.status_code == 409
        said = refused.json()["detail"]
        assert f"since repair {york} (delete the entity 'York'), which" in said
        assert "took away the relation 'mill in York'" in said
        shown = world.get(f"/v1/graphs/{graph['id']}").json()["repairs"][2]
        assert (shown["status"], shown["applies"], shown["conflicts"]) == ("pending", False, [])
        assert "no longer applies" in shown["why_not"]
        assert len(feedback_of(world)) == 1, "what was refused is no feedback"
        assert decide(world, in_york, "reject").status_code == 200

    def test_a_decision_stays(self, world: World) -> None:
        merge = propose(world)["repairs"][0]["id"]
        assert decide(world, merge).json()["changed"] is True
        again = decide(world, merge)
        assert (again.status_code, again.json()["changed"]) == (200, False)
        otherwise = decide(world, merge, "reject")
        assert (otherwise.status_code, "was approved by" in otherwise.json()["detail"]) == (409, True)
        assert len(feedback_of(world)) == 1
        acts = [one["action"] for one in world.get("/v1/audit").json()["items"] if one["action"].startswith("graph")]
        assert sorted(acts) == ["graph.approved", "graph.propose"]

    def test_a_decision_on_an_answer_that_is_no_longer_kept_stands_and_says_that_it_is_no_feedback(
        self, world: World
    ) -> None:
        merge = propose(world)["repairs"][0]["id"]
        world.shared.store.write(lambda tx: tx.execute(text("DELETE FROM interactions")))
        done = decide(world, merge).json()
        assert (done["feedback"], "no interaction 'in_1'" in done["why_no_feedback"]) == (None, True)
        assert done["graph"]["repaired"] == AFTER_MERGE


class TestKeys:
    def test_only_a_key_that_may_speak_as_a_person_decides(self, world: World) -> None:
        merge = propose(world)["repairs"][0]["id"]
        world.add_key("ops", "operate", secret="ops")
        world.add_key("reader", "operate", "feedback", secret="reader", sources=["person"])
        refused = decide(world, merge, headers={"Authorization": "Bearer ops"})
        assert (refused.status_code, "--source person" in refused.json()["detail"]) == (403, True)
        done = decide(world, merge, headers={"Authorization": "Bearer reader"})
        assert (done.status_code, done.json()["repair"]["decided_by"]) == (200, "reader")

    def test_the_key_that_the_guide_makes_for_deciding_may_be_made(self) -> None:
        guide = (Path(__file__).parents[3] / "docs/how-to/repair-a-graph.md").read_text(encoding="utf-8")
        (roles, source), *_ = re.findall(r"keys create NAME --role (\S+) --source (\w+)", guide)
        made = access_of(roles.split(","), sources=[source], now=datetime(2026, 11, 22, tzinfo=UTC))
        assert (made.reaches("operate"), made.may_send("person")) == (True, True)


class TestPersonalData:
    def test_a_graph_is_kept_with_the_familys_masks(self, tmp_path: Path) -> None:
        with serving(graph_home(tmp_path, "privacy: {mask: [email]}")) as world:
            graph = propose(world, [], graph={"entities": ["ann@example.org"], "relations": []})
        assert graph["given"] == {"entities": ["[email]"], "relations": []}

    def test_a_family_that_keeps_no_texts_gets_no_graph(self, tmp_path: Path) -> None:
        with serving(graph_home(tmp_path, "privacy: {store: metadata}")) as world:
            report(world)
            answer = world.post(f"/v1/families/{F}/graphs", {"interaction": "in_1"})
        assert (answer.status_code, "(here metadata) keeps neither" in answer.json()["detail"]) == (422, True)

    def test_a_graph_goes_at_the_age_of_its_interaction(self, tmp_path: Path) -> None:
        with serving(graph_home(tmp_path, "privacy: {retain_days: 1}")) as world:
            propose(world)
            store, clock = world.shared.store, world.shared.clock
            families = dict(world.shared.families.families)

            def gone() -> dict[str, int]:
                kept, _ = retentions(store, clock, families)
                return {one.rows: one.n for one in prune_records(store, clock, kept).items if one.n}

            assert "graphs" not in gone()
            for table in ("interactions", "graphs"):
                store.write(lambda tx, t=table: tx.execute(text(f"UPDATE {t} SET received_at = '2020-01-01'")))
            found = gone()
            assert (found["interactions"], found["graphs"]) == (1, 1)
            assert world.get("/v1/graphs").json()["items"] == []
