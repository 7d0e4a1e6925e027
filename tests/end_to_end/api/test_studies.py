"""Studies as an operator starts, prices and cancels them."""

from __future__ import annotations

from tests.worlds.api_world import World

STUDY = {
    "strategy": "bootstrap",
    "budget": {"calls": 2000},
    "seed": 7,
    "definition": {"n_train": 20, "n_dev": 10, "n_holdout": 10},
}


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
