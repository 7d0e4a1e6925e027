"""Events one by one and in lists, kept with their arm and listed again."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from api.http.bodies import MAX_INTEGER
from tests.worlds.api_world import World


def test_an_event_with_its_token_is_kept_with_its_arm(world: World) -> None:
    prompt = world.get("/v1/families/triage/prompt?unit=u").json()
    event = {"id": "in_1", "assignment": prompt["assignment"], "output": "billing", "latency_ms": 12.5, "success": True}
    assert world.post("/v1/feedback", event).json() == {"accepted": 1, "duplicates": 0, "rejected": []}
    stored = world.get("/v1/interactions/in_1").json()
    assert (stored["family"], stored["variant"], stored["output"], stored["latency_ms"]) == (
        "triage",
        prompt["variant"],
        "billing",
        12.5,
    )
    assert [outcome["success"] for outcome in stored["feedback"]] == [True]


@pytest.mark.parametrize("id", ["order/17", "a b", "é%"])
def test_an_interaction_is_found_by_whatever_id_its_sender_chose(world: World, id: str) -> None:
    world.post("/v1/interactions", {"id": id, "family": "triage", "unit": "u", "output": "billing"})
    assert world.get(f"/v1/interactions/{quote(id, safe='')}").json()["id"] == id


def test_interactions_takes_the_same_body_as_feedback(world: World) -> None:
    answer = world.post("/v1/interactions", [{"family": "triage", "unit": "u", "score": 0.5}])
    assert answer.json()["accepted"] == 1
    assert [event["score"] for event in world.get("/v1/feedback?family=triage").json()["items"]] == [0.5]


def test_a_single_event_that_is_not_taken_is_a_problem_that_also_says_what_became_of_it(world: World) -> None:
    answer = world.post("/v1/feedback", {"assignment": "no.token", "success": True})
    assert answer.status_code == 422
    assert answer.json()["accepted"] == 0
    assert answer.json()["rejected"][0]["index"] == 0
    wrong = {"family": "triage", "unit": "u", "score": 7, "sucess/1": True}
    for headers in ({}, {"Idempotency-Key": "k"}, {"Idempotency-Key": "k"}):
        problem = world.post("/v1/feedback", wrong, headers=headers).json()
        assert [fault["pointer"] for fault in problem["errors"]] == ["/score", "/sucess~11"]
        assert set(problem["rejected"][0]) == {"index", "type", "detail"}
    assert set(world.post("/v1/feedback", [wrong]).json()["rejected"][0]) == {"index", "type", "detail"}
    correction = world.post("/v1/feedback", {"family": "triage", "unit": "u", "expected": {"topik": "billing"}}).json()
    assert [fault["pointer"] for fault in correction["errors"]] == ["/expected"]


def test_events_with_values_that_no_database_keeps_are_rejected_one_by_one(world: World) -> None:
    events = [
        {"family": "triage", "unit": "a", "success": True},
        {"family": "triage", "unit": "a\u0000b", "success": True},
        {"family": "triage", "unit": "a", "success": True, "tags": {"n": MAX_INTEGER + 1}},
    ]
    answer = world.post("/v1/feedback", events).json()
    assert (answer["accepted"], [one["index"] for one in answer["rejected"]]) == (1, [1, 2])


def test_interactions_are_listed_with_their_texts_for_those_who_may_read_texts_alone(world: World) -> None:
    sent = [{"id": f"in_{i}", "family": "triage", "unit": "u", "output": "secret", "cost_usd": 0.5} for i in range(3)]
    world.post("/v1/interactions", sent)
    for role in ("read", "read-texts"):
        world.add_key(role, role, secret=role, families=["triage"])
    seen: dict[str, list[Any]] = {}
    for role in ("read", "read-texts"):
        cursor = ""
        while cursor is not None:
            answer = world.get(f"/v1/interactions?limit=2{cursor}", headers={"X-API-Key": role}).json()
            seen.setdefault(role, []).extend(answer["items"])
            cursor = answer["next_cursor"] and f"&cursor={answer['next_cursor']}"
    assert [(one["id"], one["output"], one["cost_usd"]) for one in seen["read"]] == [
        (f"in_{i}", None, 0.5) for i in range(3)
    ]
    assert [one["output"] for one in seen["read-texts"]] == ["secret"] * 3
    assert world.get("/v1/interactions?family=other", headers={"X-API-Key": "read"}).status_code == 403


@pytest.mark.parametrize(
    "others", [[], [{"id": "in_1", "output": "billing", "success": True}]], ids=["alone", "beside"]
)
def test_of_corrections_with_their_own_input_the_sealed_ones_alone_are_without_texts(
    world: World, others: list[dict[str, Any]]
) -> None:
    words = ["parcel", "invoice", "password", "refund", "courier", "printer", "contract", "holiday", "engine", "garden"]
    corrections = [
        {"id": f"fb_{i}", "input": {"text": f"{words[i % 10]} {i * 7919}"}, "expected": {"topic": "billing"}}
        for i in range(20)
    ]
    sent = [{"family": "triage", "unit": "u", **event} for event in (*corrections, *others)]
    assert world.post("/v1/feedback", sent).json()["accepted"] == len(sent)
    names = {("triage", f"co_fb_{i}") for i in range(20)}
    with world.shared.store.read() as tx:
        sealed = {id.removeprefix("co_") for _, id in world.shared.store.examples.sealed(tx, names)}
    outcomes = [one for one in world.get("/v1/feedback?family=triage").json()["items"] if one["id"] != "in_1"]
    assert 0 < len(sealed) < 20
    assert {one["id"] for one in outcomes if one["expected"] is None} == sealed
