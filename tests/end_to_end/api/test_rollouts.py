"""Rollouts as an operator moves them, and what their units are served."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from optimizer.core.base.errors import Busy
from optimizer.core.serving.assignment import bucket, in_candidate
from tests.worlds.api_world import World


def test_units_are_served_by_the_contract_s_formula_and_stay_with_the_candidate_as_its_share_grows(
    world: World,
) -> None:
    rollout = world.deploying()
    units = [f"unit-{i}" for i in range(80)]
    served = {unit: world.get(f"/v1/families/triage/prompt?unit={unit}").json() for unit in units}
    for unit, prompt in served.items():
        expected = "candidate" if in_candidate(bucket(rollout["salt"], unit), 0.5) else "champion"
        assert (prompt["role"], prompt["rollout"], prompt["stage"]) == (expected, rollout["id"], 0.5)
        assert prompt["lease_expires_at"] is not None
    advanced = world.post(f"/v1/rollouts/{rollout['id']}/advance", {"reason": "fine so far", "confirm": "triage"})
    assert advanced.json()["share"] == 0.75
    later = {unit: world.get(f"/v1/families/triage/prompt?unit={unit}").json()["role"] for unit in units}
    assert all(later[unit] == "candidate" for unit, prompt in served.items() if prompt["role"] == "candidate")
    assert list(later.values()).count("candidate") > [prompt["role"] for prompt in served.values()].count("candidate")


def test_the_snapshot_holds_what_a_client_needs_to_decide_like_the_server(world: World) -> None:
    rollout = world.deploying()
    entry = world.get("/v1/snapshot").json()["families"]["triage"]["rollout"]
    assert (entry["id"], entry["salt"], entry["share"]) == (rollout["id"], rollout["salt"], 0.5)
    unit = next(f"u{i}" for i in range(1000) if in_candidate(bucket(rollout["salt"], f"u{i}"), 0.5))
    prompt = world.get(f"/v1/families/triage/prompt?unit={unit}").json()
    prompt.pop("assignment")
    assert entry["candidate"] == prompt


def test_rollouts_are_listed_newest_first_with_those_that_ended(world: World) -> None:
    first = world.start(world.candidate())["id"]
    assert world.post(f"/v1/rollouts/{first}/reject", {"reason": "no"}).status_code == 200
    second = world.start(world.candidate())["id"]
    page = world.get("/v1/rollouts?limit=1").json()
    assert [one["id"] for one in page["items"]] == [second]
    (rest,) = world.get(f"/v1/rollouts?limit=1&cursor={page['next_cursor']}").json()["items"]
    assert (rest["id"], rest["is_active"]) == (first, False)
    assert world.get("/v1/rollouts?family=elsewhere").json() == {"items": [], "next_cursor": None}
    world.add_key("elsewhere", "read", secret="elsewhere", families=["elsewhere"])
    assert world.get("/v1/rollouts", headers={"X-API-Key": "elsewhere"}).json()["items"] == []
    assert world.get("/v1/rollouts?family=triage", headers={"X-API-Key": "elsewhere"}).status_code == 403


def test_when_the_lease_runs_out_everybody_gets_the_champion_and_an_alert_says_so_until_ticks_resume(
    world: World,
) -> None:
    rollout = world.deploying()
    unit = next(f"u{i}" for i in range(1000) if in_candidate(bucket(rollout["salt"], f"u{i}"), 0.5))
    past = datetime.now(UTC) - timedelta(seconds=1)
    world.shared.store.write(lambda tx: world.shared.store.rollouts.renew_lease(tx, rollout["id"], past))
    world.shared.serving.refresh()
    prompt = world.get(f"/v1/families/triage/prompt?unit={unit}").json()
    assert (prompt["role"], prompt["rollout"], prompt["lease_expires_at"]) == ("champion", None, None)
    assert [alert["kind"] for alert in world.get("/v1/alerts").json()["items"]] == ["rollout_unwatched"]
    world.tick()
    assert world.get(f"/v1/families/triage/prompt?unit={unit}").json()["role"] == "candidate"
    assert world.get("/v1/alerts").json()["items"] == []


def test_a_lease_ends_by_its_own_time_when_the_store_cannot_be_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    rollout = world.deploying()
    unit = next(f"u{i}" for i in range(1000) if in_candidate(bucket(rollout["salt"], f"u{i}"), 0.5))

    def away(*_: Any, **__: Any) -> None:
        raise Busy("The database cannot be opened.")

    monkeypatch.setattr(world.shared.store, "read", away)
    world.shared.serving.refresh()
    assert world.get(f"/v1/families/triage/prompt?unit={unit}").json()["role"] == "candidate"
    assert world.get("/ready").json()["dependencies"]["store"]["ok"] is False
    monkeypatch.setattr(world.shared.clock, "now", lambda: datetime.now(UTC) + timedelta(seconds=61))
    assert world.get(f"/v1/families/triage/prompt?unit={unit}").json()["role"] == "champion"
