"""Studies as an operator starts, prices and cancels them."""

from __future__ import annotations

import pytest

from optimizer.core.search.study import Trial
from tests.api_world import World

STUDY = {
    "strategy": "bootstrap",
    "budget": {"calls": 2000},
    "seed": 7,
    "definition": {"n_train": 20, "n_dev": 10, "n_holdout": 10},
}


def test_a_dry_run_of_a_study_says_what_it_costs_and_queues_nothing(world: World) -> None:
    world.add_examples(120)
    answer = world.post("/v1/families/triage/studies", {**STUDY, "dry_run": True})
    assert answer.status_code == 200
    calls = answer.json()["estimate"]["calls"]
    assert 0 < calls["low"] <= calls["expected"] <= calls["high"] <= 2000
    assert world.get("/v1/studies").json()["items"] == []


def test_a_study_is_queued_for_the_worker_and_a_second_one_is_refused(world: World) -> None:
    world.add_examples(120)
    queued = world.post("/v1/families/triage/studies", STUDY)
    assert queued.status_code == 202
    study = queued.json()
    assert (study["status"], study["seed"], study["champion"]) == ("queued", 7, world.champion())
    assert queued.headers["location"] == f"/v1/studies/{study['id']}"
    assert world.get(queued.headers["location"]).json() == {**study, "is_interrupted": False}
    assert [job["id"] for job in world.get("/v1/jobs").json()["items"]] == [study["id"]]
    assert world.get(f"/v1/studies/{study['id']}/trials").json()["items"] == []
    again = world.post("/v1/families/triage/studies", STUDY)
    assert (again.status_code, again.json()["type"]) == (409, "/problems/conflict")
    early = world.post(f"/v1/studies/{study['id']}/nominate", {"variant": world.champion(), "aim": "quality"})
    assert early.status_code == 409


def test_a_queued_study_can_be_cancelled_twice_over(world: World) -> None:
    world.add_examples(120)
    study = world.post("/v1/families/triage/studies", STUDY).json()
    first, again = (world.post(f"/v1/studies/{study['id']}/cancel", {"reason": "not today"}) for _ in range(2))
    assert (first.json()["status"], again.json()["status"]) == ("cancelled", "cancelled")
    assert [one["id"] for one in world.get("/v1/studies?status=cancelled&family=triage").json()["items"]] == [
        study["id"]
    ]


@pytest.mark.parametrize(("n_holdout", "status"), [(10, 409), (100, 200)])
def test_another_point_of_a_search_is_nominated_at_a_price_that_is_told_before(
    world: World, n_holdout: int, status: int
) -> None:
    world.add_examples(800)
    study = world.post(
        "/v1/families/triage/studies", {**STUDY, "definition": {**STUDY["definition"], "n_holdout": n_holdout}}
    ).json()
    world.post(f"/v1/studies/{study['id']}/cancel", {})
    point = world.candidate()
    trial = Trial(
        study=study["id"], number=1, variant=point, proposer="settings", params={}, status="complete", n=10, score=0.5
    )
    world.shared.store.write(lambda tx: world.shared.store.studies.put_trial(tx, trial))
    asked = {"variant": point, "aim": "quality"}
    told = world.post(f"/v1/studies/{study['id']}/nominate", {**asked, "dry_run": True})
    assert told.status_code == status
    if status == 409:  # fewer than the gates ask for
        assert (told.json()["type"], told.json()["n_required"]) == ("/problems/dataset-too-small", 100)
        return
    assert (told.json()["price"]["n_calls"], told.json()["price"]["look"]) == (200, 1)
    queued = world.post(f"/v1/studies/{study['id']}/nominate", asked)
    assert queued.status_code == 202
    found = world.get(queued.headers["location"]).json()
    assert (found["strategy"], found["status"], found["winner"], found["budget"]["calls"]) == (
        "confirm",
        "queued",
        point,
        300,
    )
    again = world.post(f"/v1/studies/{study['id']}/nominate", asked)
    assert (again.status_code, again.json()["id"]) == (202, found["id"])


def test_a_budget_that_cannot_pay_for_the_confirmation_is_refused_with_figures(world: World) -> None:
    world.add_examples(120)
    answer = world.post("/v1/families/triage/studies", {**STUDY, "budget": {"calls": 5}})
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/budget-too-small")
    assert any(isinstance(value, int | float) and name not in ("status",) for name, value in answer.json().items())


def test_a_study_without_examples_says_how_many_it_needs(world: World) -> None:
    answer = world.post("/v1/families/triage/studies", STUDY)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/dataset-too-small")
