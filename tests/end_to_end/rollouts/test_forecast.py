"""The forecast as users meet it: at a start, while a rollout runs, over REST and at the command line."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from optimizer.cli.app import app
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
from tests.stores import keep_events
from tests.worlds.api_world import World

F = "triage"
START = f"/v1/families/{F}/rollouts"


def use(world: World, *, units: int, labelled: int, requests: int = 1, days: float = 7.0, known: int = 0) -> None:
    """``units`` users within ``days``, each with its requests, some with an outcome; four of five are good.

    The first ``known`` of them have reported before.
    """
    now, champion = world.shared.clock.now(), world.champion()
    interactions, events = [], []
    for n in range(known, units):
        at = now - timedelta(days=days) * (1 - n / units) + timedelta(seconds=1)
        arm = Arm(family=F, variant=champion, unit_hmac=f"unit {n}")
        interactions += [
            Interaction(id=f"in_{n}_{k}", arm=arm, occurred_at=at, received_at=at, content_hash="", latency_ms=10.0)
            for k in range(requests)
        ]
        if n < labelled:
            good = n % 5 != 0
            events.append(
                FeedbackEvent(
                    id=f"fb_{n}", arm=arm, occurred_at=at, received_at=at, content_hash="", source="user", success=good
                )
            )
    store = world.shared.store
    keep_events(store, [*interactions, *events])


def test_a_start_that_cannot_end_within_its_limits_is_refused_with_the_ways_out_and_can_be_forced(world: World) -> None:
    use(world, units=300, labelled=60, requests=3)
    candidate = world.candidate()
    refused = world.post(START, {"variant": candidate})
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/gate-not-met")
    gate = next(gate for gate in refused.json()["gates"] if gate["name"] == "forecast")
    assert gate["verdict"] == "fail"
    assert gate["value"] > gate["required"] == 30.0
    assert "90 % of such rollouts end within" in gate["reason"]
    assert "no ladder would be enough by itself; the quickest, [0.5], takes " in gate["reason"]
    assert "a finer unit, session or conversation instead of user (3.0 requests came per unit)" in gate["reason"]
    forced = world.post(START, {"variant": candidate, "confirm": F})
    assert (forced.status_code, forced.json()["forced"], forced.json()["forecast"]["verdict"]) == (201, True, "exceeds")


def test_a_rollout_that_runs_says_what_it_still_needs_and_one_that_ended_needs_nothing(world: World) -> None:
    use(world, units=4_000, labelled=4_000)
    rollout = world.deploying()
    live = world.get(f"/v1/rollouts/{rollout['id']}/forecast")
    assert live.status_code == 200
    assert (live.json()["rollout"], live.json()["verdict"]) == (rollout["id"], "fits")
    assert "more on average" in live.json()["summary"]
    assert [stage["share"] for stage in live.json()["stages"]] == [0.5, 0.75]
    world.post(f"/v1/rollouts/{rollout['id']}/rollback", {"reason": "enough"})
    assert world.get(f"/v1/rollouts/{rollout['id']}/forecast").json()["verdict"] == "ended"
    assert world.get("/v1/rollouts/ro_nothing/forecast").status_code == 404


# --- the command line, in this process --------------------------------------------------------------------------------


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("DETENT_HOME", str(world.settings.home))
    monkeypatch.setenv("COLUMNS", "300")

    def call(*words: str) -> str:
        result = CliRunner().invoke(app, ["rollout", *words])
        assert result.exit_code == 0, result.output
        return result.stdout

    return call


def test_without_traffic_the_command_says_what_is_missing(run: Any) -> None:
    shown = run("forecast", F)
    assert "Cannot tell how long: nothing was reported in the last 30 days" in shown
    assert "Labelled" in shown
    assert not re.search("Time|Units|Exposed|Traffic|Drop seen", shown), (
        "a table of what it has just said it cannot tell"
    )


def test_of_an_active_rollout_the_command_says_what_is_left(world: World, run: Any) -> None:
    rollout = world.deploying()
    found = json.loads(run("forecast", F, "--json"))
    assert (found["rollout"], found["variant"]) == (rollout["id"], rollout["candidate"])
    assert "which runs" not in " ".join(found["warnings"])
    (told, *_) = json.loads(run("forecast", F, "--margin", "0.2", "--json"))["warnings"]
    own = f"margin {found['margin']:g} and ladder 50 % > 75 %"
    assert f"Rollout {rollout['id']}, which runs, keeps its own {own}" in told


def test_dry_runs_name_the_freeze_that_stands_in_the_way_and_how_it_ends(world: World, run: Any) -> None:
    use(world, units=100, labelled=100)
    world.post("/v1/freeze", {"reason": "launch"})
    dry = world.post(START, {"variant": world.candidate(), "dry_run": True}).json()
    assert dry["what"].startswith("nothing would start: every family is frozen by ")
    assert dry["next"] == "detent unfreeze"
    assert (dry["forced"], dry["what"].endswith("refused unless confirmed, since not every gate is met")) == (
        True,
        True,
    )
    world.post("/v1/unfreeze", {})
    world.deploying()
    world.post("/v1/freeze", {"family": F, "reason": "launch"})
    told = run("advance", F, "--dry-run")
    assert "would be refused: Cannot advance rollout " in told
    assert f": {F} is frozen by " in told
    assert f"detent unfreeze {F}" in told
    assert "--confirm" not in told


def test_a_rollback_names_the_start_with_the_ladder_and_margin_that_it_undoes(world: World) -> None:
    use(world, units=100, labelled=100)
    asked = {"variant": world.candidate(), "confirm": F, "ladder": [0.2, 0.5], "margin": 0.04}
    started = world.post(START, asked).json()
    again = f"detent rollout start {F} {asked['variant']} --ladder 0.2,0.5 --margin 0.04 --confirm {F}"
    assert world.post(f"/v1/rollouts/{started['id']}/reject", {}).json()["undo"] == again
    plain = world.post(START, {"variant": asked["variant"], "confirm": F}).json()
    undo = world.post(f"/v1/rollouts/{plain['id']}/rollback", {}).json()["undo"]
    assert undo == f"detent rollout start {F} {asked['variant']} --confirm {F}"


def test_a_self_test_says_what_would_have_happened_or_that_it_cannot_tell(world: World, run: Any) -> None:
    use(world, units=12, labelled=12)
    assert f"{F}: Cannot tell: 12 units with feedback (success by user) in 30 days; a stage needs 200 labels." in run(
        "selftest", F
    )
    use(world, units=800, labelled=800, known=12)
    found = json.loads(run("selftest", F, "--runs", "1", "--margin", "0.2", "--injected-drop", "0.6", "--json"))
    equal, worse = found["cells"]
    assert found["n_units"] == 800
    assert (equal["n_runs"], worse["endings"]["shipped"]["n"]) == (1, 0)
    shown = run("selftest", F, "--runs", "1", "--margin", "0.2")
    assert "equal (A against A)" in shown
    assert "Replayed  800 requests of 800 units" in shown
