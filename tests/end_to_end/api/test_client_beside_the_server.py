"""The client under client/ with a running api: it serves what the server serves, and what it reports is taken."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from detent_client import Client
from optimizer.core.serving.assignment import unit_hmac
from tests.clock import until
from tests.worlds.api_world import Dated, World

UNITS = [f"user-{n}" for n in range(100_000)]


@contextmanager
def client_of(world: World, refresh: float = 0.02) -> Iterator[Client]:
    with Client("http://localhost", transport=Dated(world), refresh=refresh) as client:
        yield client


Arm = tuple[str | None, str, str | None, float | None]


def answered(world: World, unit: str) -> Arm:
    prompt = world.get("/v1/families/triage/prompt", params={"unit": unit}).json()
    return prompt["variant"], prompt["role"], prompt["rollout"], prompt["stage"]


def served(world: World, units: list[str]) -> list[Arm]:
    """As the route decides, without a request each."""
    shared = world.shared
    family, now, key = shared.serving.now_served.family("triage"), shared.clock.now(), shared.secrets.unit_key
    return [family.choose(unit, unit_hmac(key, unit), now).arm for unit in units]


def decided(client: Client, unit: str) -> Arm:
    choice = client.decide("triage", unit, count=False)
    return choice.variant.id, choice.role, choice.rollout, choice.stage


def agree(client: Client, world: World, n_units: int = 1000) -> set[str]:
    """Waits until the client has heard, then compares every unit; the roles there are."""
    asked = {unit: answered(world, unit) for unit in UNITS[:8]}
    until(lambda: {unit: decided(client, unit) for unit in asked} == asked, "the client to hear")
    units = UNITS[:n_units]
    expected = served(world, units)
    assert [decided(client, unit) for unit in units] == expected
    return {role for _, role, *_ in expected}


@pytest.mark.parametrize("n_units", [800, pytest.param(len(UNITS), marks=pytest.mark.long)])
def test_client_and_server_decide_alike_through_the_life_of_a_rollout(world: World, n_units: int) -> None:
    split, everybody = {"champion", "candidate"}, {"champion"}
    with client_of(world) as client:
        assert agree(client, world, n_units) == everybody
        rollout = world.deploying()
        world.tick(3600.0)  # a lease that outlasts the test
        path = f"/v1/rollouts/{rollout['id']}"
        assert agree(client, world, n_units) == split
        world.client.put("/v1/families/triage/overrides/user-0", json={"variant": rollout["candidate"]})
        world.client.put("/v1/families/triage/overrides/user-1", json={"variant": rollout["champion"]})
        assert agree(client, world, n_units) == split
        world.post(f"{path}/hold", {"reason": "lunch"})
        assert agree(client, world, n_units) == split
        world.post("/v1/freeze", {"family": "triage", "reason": "holidays"})
        assert agree(client, world, n_units) == everybody
        world.post("/v1/unfreeze", {"family": "triage", "reason": "back"})
        world.post(f"{path}/resume")
        shares = []
        while (share := world.get(path).json()["share"]) not in shares:
            shares.append(share)
            assert agree(client, world, n_units) == split
            world.post(f"{path}/advance", {"reason": "fine", "confirm": "triage"})
        assert shares == [0.5, 0.75]  # each stage of the family
        world.post(f"{path}/promote", {"reason": "enough", "confirm": "triage"})
        assert agree(client, world, n_units) == {"champion", "holdback", "candidate"}  # user-1 has an override
        world.post("/v1/families/triage/champion/rollback", {"reason": "back"})
        assert "holdback" not in agree(client, world, n_units)


@pytest.mark.parametrize("n_units", [800, pytest.param(len(UNITS), marks=pytest.mark.long)])
def test_client_and_server_decide_alike_before_and_after_a_rollback(world: World, n_units: int) -> None:
    rollout = world.deploying()
    world.tick(3600.0)
    path = f"/v1/rollouts/{rollout['id']}"
    with client_of(world) as client:
        world.post(f"{path}/advance", {"reason": "fine", "confirm": "triage"})
        assert agree(client, world, n_units) == {"champion", "candidate"}
        world.post(f"{path}/rollback", {"reason": "worse"})
        assert agree(client, world, n_units) == {"champion"}


def test_a_prompt_of_the_client_is_the_server_s_byte_for_byte(world: World) -> None:
    world.deploying()
    turns = [{"role": "user", "content": "Hi {{text}}"}, {"role": "assistant", "content": "Hello"}]
    with client_of(world) as client:
        agree(client, world)
        for unit, text in zip(
            UNITS[:20], ["Grüße \U0001f4a7", "{{text}} \\1", "", "x" * 150, '"\n\t'] * 4, strict=True
        ):
            body = {"unit": unit, "variables": {"text": text}, "history": turns}
            rendered = world.post("/v1/families/triage/render", body).json()
            p = client.prompt("triage", unit=unit, history=turns, text=text)
            assert json.dumps(p.messages) == json.dumps(rendered["messages"])
            assert list(p.truncated) == rendered.get("truncated", [])
            assert (p.model, p.tools, p.response_format) == (
                rendered["model"],
                rendered["tools"],
                rendered["response_format"],
            )


@pytest.mark.parametrize("role", ["champion", "candidate"])
def test_what_the_client_reports_counts_in_the_arm_that_was_served(world: World, role: str) -> None:
    rollout = world.deploying()
    with client_of(world, refresh=3600.0) as client:
        unit = next(unit for unit in UNITS[:1000] if decided(client, unit)[1] == role)
        with client.prompt("triage", unit=unit, text="An invoice?") as p:
            p.record("billing", cost_usd=0.001)
        kept = p.assignment
        assert client.feedback(kept, success=True)
        assert client.flush()
        assert client.status().events_rejected == {}
        assert client.status().events_sent == 2
    arm = {"role": role, "rollout": rollout["id"], "variant": rollout[role]}
    interaction = world.get(f"/v1/interactions/{p.id}").json()
    (outcome,) = world.get("/v1/feedback?family=triage").json()["items"]
    for event in (interaction, outcome):
        assert {name: event[name] for name in arm} == arm
    assert [one["n_exposed"] for one in world.exposures() if one["variant"] == rollout[role]] == [1]


def test_a_prompt_that_left_its_arm_is_kept_in_none_and_so_is_an_outcome_of_an_assignment_from_before(
    world: World,
) -> None:
    rollout = world.deploying()
    with client_of(world, refresh=3600.0) as client:
        unit = next(unit for unit in UNITS[:1000] if decided(client, unit)[1] == "candidate")
        assert client.flush()  # the first round of sending is over: none falls between the prompt and its leaving
        with client.prompt("triage", unit=unit, text="An invoice?") as p:
            kept = p.assignment
            p.leave_arm("the call names a model of its own")
            p.record("billing")
        client.feedback(kept, success=True)
        assert client.flush()
        assert (client.status().events_rejected, client.status().events_sent) == ({}, 2)
    (outcome,) = world.get("/v1/feedback?family=triage").json()["items"]
    for event in (world.get(f"/v1/interactions/{p.id}").json(), outcome):
        assert (event["variant"], event["rollout"], event["role"]) == (None, None, None)
    assert [one for one in world.exposures() if one["variant"] == rollout["candidate"]] == []


@pytest.mark.parametrize(
    "change", [("advance", {"reason": "fine", "confirm": "triage"}), ("rollback", {"reason": "no"})], ids=lambda c: c[0]
)
def test_no_outcome_of_who_had_not_heard_of_a_change_is_lost(world: World, change: tuple[str, Any]) -> None:
    rollout = world.deploying()
    with client_of(world, refresh=3600.0) as client:
        before = {unit: decided(client, unit) for unit in UNITS[:100]}
        world.post(f"/v1/rollouts/{rollout['id']}/{change[0]}", change[1])
        assert served(world, UNITS[:100]) != list(before.values())
        for unit in before:
            assert client.feedback(client.prompt("triage", unit=unit, text="x"), success=True, id=unit)
        assert client.flush()
        status = client.status()
    assert (status.events_sent, status.events_rejected, status.events_in_no_arm) == (100, {}, 0)
    kept = world.get("/v1/feedback?family=triage&limit=200").json()["items"]
    moved = {event["id"]: (event["variant"], event["role"], event["rollout"], event["stage"]) for event in kept}
    # Where both stages give a unit the same, it counts in the one in force.
    now = dict(zip(before, served(world, list(before)), strict=True))
    assert moved == {unit: now[unit] if now[unit][:3] == arm[:3] else arm for unit, arm in before.items()}
