"""Variants made by a person, and overrides of single units."""

from __future__ import annotations

from typing import Any

import pytest

from optimizer.core.dataset.examples import group_of, split_of
from optimizer.jobs.dataset.release_example import release_example
from tests.clock import until
from tests.worlds.api_world import World


def test_a_variant_made_by_a_person_can_be_read_and_compared_and_is_not_served(world: World) -> None:
    champion = world.champion()
    made = world.post(
        "/v1/families/triage/variants", {"from": champion, "model": {"temperature": 0.5}, "note": "warmer"}
    )
    assert made.status_code == 201
    variant = made.json()["variant"]
    assert made.headers["location"] == f"/v1/variants/{variant}"
    read = world.get(f"/v1/variants/{variant}").json()
    assert (read["source"], read["note"], read["parent"], read["model"]["temperature"]) == (
        "person",
        "warmer",
        champion,
        0.5,
    )
    diff = world.get(f"/v1/variants/{variant}/diff?against=champion").json()
    assert list(diff["changes"]) == ["model"]
    assert "+temperature: 0.5" in diff["diff"]
    assert world.champion() == champion


def test_a_difference_that_the_text_does_not_show_is_named_all_the_same(world: World) -> None:
    messages = world.get(f"/v1/variants/{world.champion()}").json()["messages"]
    messages[-1] |= {"content": messages[-1]["content"] + "\n"}
    made = world.post("/v1/families/triage/variants", {"messages": messages, "note": "a blank end"})
    diff = world.get(f"/v1/variants/{made.json()['variant']}/diff?against=champion").json()
    assert (diff["same"], diff["diff"]) == (False, "only in messages")


def correct(world: World, split: str) -> tuple[str, str]:
    """(id of the example, its text) of a correction whose input falls into this split."""
    text = next(t for t in (f"wrong {i}" for i in range(1000)) if split_of(group_of({"text": t}, None)) == split)
    event = {
        "id": f"fb_{split}",
        "family": "triage",
        "unit": "u",
        "input": {"text": text},
        "expected": {"topic": "billing"},
    }
    assert world.post("/v1/feedback", event).json()["accepted"] == 1
    return f"co_fb_{split}", text


@pytest.mark.parametrize(("split", "is_shown"), [("train", True), ("dev", True), ("holdout", False)])
def test_a_second_question_about_an_answer_shows_its_text_only_outside_the_holdout(
    world: World, split: str, is_shown: bool
) -> None:
    store, at = world.shared.store, world.shared.clock.now()
    texts = (f"wrong {i}" for i in range(1000))
    text = next(text for text in texts if split_of(group_of({"text": text}, None)) == split)
    event = {"id": "in_1", "family": "triage", "unit": "u", "input": {"text": text}, "output": "technical"}
    assert world.post("/v1/interactions", event).json()["accepted"] == 1
    for kind in ("label_interaction", "rate_answer"):
        store.write(lambda tx, kind=kind: store.reviews.open(tx, f"rv_{kind}", "triage", kind, "in_1", {}, at))
    path, both = "/v1/reviews/rv_label_interaction/answer", {"expected": "billing", "expected_text": "billing"}
    assert world.post(path, {"answer": "release", **both}).status_code == 422
    answered = world.post(path, {"answer": "release", "expected_text": "billing"})
    assert answered.status_code == 200, answered.text
    (left,) = world.get("/v1/reviews?status=open").json()["items"]
    assert (left["kind"], left["input"] is not None, left["output"] is not None) == ("rate_answer", is_shown, is_shown)


@pytest.mark.parametrize("id", ["co_fb_holdout", "an-id-of-my-own"])
def test_no_variant_quotes_the_sealed_holdout_under_any_id(world: World, id: str) -> None:
    _, text = correct(world, "holdout")
    example = {"id": id, "input": {"text": f" {text.upper()}"}, "output": "billing"}
    refused = world.post("/v1/families/triage/variants", {"from": world.champion(), "examples": [example]})
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/examples/0")
    assert "sealed holdout" in refused.json()["detail"]


@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_variant_quotes_production_only_once_a_person_has_released_it(world: World, split: str) -> None:
    id, text = correct(world, split)
    body = {"from": world.champion(), "examples": [{"id": id, "input": {"text": text}, "output": "billing"}]}
    refused = world.post("/v1/families/triage/variants", body)
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/examples/0")
    renamed = {**body, "examples": [{**body["examples"][0], "id": "mine"}]}
    assert world.post("/v1/families/triage/variants", renamed).status_code == 422
    (review,) = world.get("/v1/reviews").json()["items"]
    release_example(review["id"], "release", actor="ann", store=world.shared.store, clock=world.shared.clock)
    assert world.post("/v1/families/triage/variants", body).status_code == 201


def test_an_override_serves_its_unit_the_named_variant_and_is_counted_in_no_arm(world: World) -> None:
    candidate = world.candidate()
    put = world.client.put("/v1/families/triage/overrides/tester", json={"variant": candidate})
    assert put.status_code == 200
    assert world.get("/v1/families/triage/prompt?unit=tester").json()["variant"] == candidate
    assert world.get("/v1/families/triage/prompt?unit=other").json()["variant"] == world.champion()
    until(lambda: len(world.exposures()) > 0)
    assert {arm["variant"] for arm in world.exposures()} == {world.champion()}


def test_an_override_takes_if_match(world: World) -> None:
    path, body = "/v1/families/triage/overrides/tester", {"variant": world.candidate(), "until": "2999-01-01T00:00:00Z"}
    assert world.client.put(path, json=body, headers={"If-Match": '"never"'}).status_code == 412
    tag = world.client.put(path, json=body, headers={"If-None-Match": "*"}).headers["etag"]
    assert world.client.put(path, json=body, headers={"If-None-Match": "*"}).status_code == 412
    assert world.client.put(path, json=body, headers={"If-Match": tag}).status_code == 200


def test_times_are_answered_in_utc(world: World) -> None:
    until = {"variant": world.champion(), "until": "2999-01-01T05:00:00+05:00"}
    assert world.client.put("/v1/families/triage/overrides/t", json=until).json()["until"] == "2999-01-01T00:00:00Z"
    window = {"since": "2026-11-20T03:30:00-05:00", "until": "2026-11-20T12:00:00+03:00"}
    answer = world.get("/v1/found-interactions", params=window).json()
    assert (answer["since"], answer["until"]) == ("2026-11-20T08:30:00Z", "2026-11-20T09:00:00Z")


def test_a_time_at_an_end_of_the_calendar_is_a_fault_that_is_named(world: World) -> None:
    for at in ("9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59Z"):
        window = {"family": "triage", "variant": "v", "from": at, "to": at, "exposed": 1}
        body = {"variant": world.champion(), "until": at}
        override = world.client.put("/v1/families/triage/overrides/tester", json=body)
        key = world.post("/v1/keys", {"name": "later", "roles": ["serve"], "expires_at": at})
        counts = world.post("/v1/exposures", {"client": "c", "windows": [window]})
        assert [(one.status_code, one.json()["errors"][0]["pointer"]) for one in (override, key, counts)] == [
            (422, "/until"),
            (422, "/expires_at"),
            (422, "/windows/0/from"),
        ]
        for path in ("/v1/feedback", "/v1/interactions"):
            answer = world.get(path, params={"since": at})
            assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/since")
            assert world.get(path, params={"since": "1970-01-01T00:00:00Z"}).status_code == 200


def test_a_family_that_is_no_text_is_a_fault_of_its_window(world: World) -> None:
    window = {"variant": "v", "from": "2026-11-20T08:00:00Z", "to": "2026-11-20T08:00:10Z", "exposed": 1}
    families: tuple[Any, ...] = ({}, [], {"triage": 1}, 1, True, None)
    for family in families:
        answer = world.post("/v1/exposures", {"client": "c", "windows": [{**window, "family": family}]})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/windows/0/family")


def test_a_variant_that_would_fill_the_memory_is_not_made(world: World) -> None:
    shots = [{"id": f"e{i}", "input": {"text": "x" * 100_000}, "output": "billing"} for i in range(2)]
    made = world.post(
        "/v1/families/triage/variants",
        {"messages": [{"role": "user", "content": "{{text}}" * 1000}], "examples": shots},
    )
    assert (made.status_code, made.json()["errors"][0]["pointer"]) == (422, "/variables")
