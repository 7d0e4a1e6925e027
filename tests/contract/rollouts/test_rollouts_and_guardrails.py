"""Guardrails and what stands beside them: failures in a row, outages of both arms, silence, latency,
cost, the family's own limits.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from optimizer.adapters.store import Database
from tests.stores import keep_events
from tests.worlds.rollout_world import Behaviour, World

DOWN = Behaviour(errors=1.0)
USUAL = Behaviour()


def made(database: Database, *, constraints: dict[str, Any] | None = None, **settings: Any) -> World:
    world = World(store=database, rollout_settings=settings, constraints=constraints or {})
    world.history()
    return world


def outage(world: World, behaviour: Behaviour) -> None:
    world.behaviours = {world.champion: behaviour, world.candidate: behaviour}


def some_units(world: World, role: str) -> list[str]:
    return [unit for i in range(1000) if world.serve(unit := f"some{i}").role == role]


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_units", [2, 3])
def test_ten_failures_in_a_row_from_three_units_end_the_rollout_before_any_statistics(
    world: World, n_units: int
) -> None:
    """Each unit gives the guardrail one value a minute, which is far from evidence yet."""
    world.behaviours[world.candidate] = DOWN
    world.start()
    failing, calm = (some_units(world, role) for role in ("candidate", "champion"))
    world.requests(40, 20.0, unit_of=lambda i: failing[i // 2 % n_units] if i % 2 else calm[i])
    world.requests(10, 40.0, unit_of=lambda i: calm[40 + i])
    if n_units < 3:
        assert world.moves() == ["deploy"]
        return
    assert world.rollout.outcome == "guardrail"
    assert "failed in a row" in (world.rollout.reason or "")
    assert world.tenure.variant == world.champion
    assert world.verified().problems == ()


def test_an_outage_of_both_arms_holds_raises_an_alert_and_goes_on_by_itself(database: Database) -> None:
    world = made(database, ladder=[0.1])
    world.start()
    world.run(60)
    outage(world, DOWN)
    world.run(300)
    assert world.rollout.held
    assert world.rollout.held_by == "system:tick"
    assert "shared_incident" in world.alerts()
    outage(world, USUAL)
    world.run(180)
    assert world.moves() == ["deploy", "hold", "resume"]
    assert (world.rollout.status, world.rollout.held) == ("deploying", False)
    assert world.alerts() == set()
    assert world.verified().problems == ()


def test_a_hold_of_the_ticks_own_becomes_a_persons_and_then_outlasts_the_outage(world: World) -> None:
    world.start()
    outage(world, DOWN)
    world.run(300)
    world.operate("hold", reason="let us look first")
    outage(world, USUAL)
    world.run(180)
    assert (world.rollout.held, world.rollout.held_by) == (True, "ann")
    assert world.alerts() == set()


# --- silence ----------------------------------------------------------------------------------------------------------


def test_a_candidate_that_crashes_its_application_is_held_and_after_five_minutes_rolled_back(world: World) -> None:
    world.behaviours[world.candidate] = Behaviour(silent=True)
    world.start()
    world.run(300)
    assert world.rollout.held
    assert "candidate_silent" in world.alerts()
    world.run(900)
    assert world.rollout.outcome == "guardrail"
    assert "report nothing or little: 0 reports" in (world.rollout.reason or "")
    held, ended = (d for d in world.decisions if d.kind in ("hold", "rollback"))
    assert (
        timedelta(minutes=4) <= ended.at - held.at <= timedelta(minutes=5.5)
    )  # five minutes from the block that showed it
    assert world.alerts() == {"rollout_ended"}
    assert world.verified().problems == ()


def test_a_short_silence_is_forgiven(world: World) -> None:
    world.start()
    world.run(60, per_second=4)
    world.behaviours[world.candidate] = Behaviour(silent=True)
    while not world.rollout.held:
        world.run(30, per_second=4)
    world.behaviours[world.candidate] = USUAL
    world.run(240, per_second=4)
    assert world.moves() == ["deploy", "hold", "resume"]
    assert world.alerts() == set()


def test_a_family_that_goes_to_sleep_shows_no_more_of_a_silent_candidate(world: World) -> None:
    world.start()
    world.run(60, per_second=4)
    world.behaviours[world.candidate] = Behaviour(silent=True)
    while not world.rollout.held:
        world.run(30, per_second=4)
    world.keep_lease(900)  # nobody asks for anything
    assert world.rollout.is_active
    assert world.moves() == ["deploy", "hold"]


def test_tokens_of_an_earlier_stage_that_still_come_in_do_not_hide_a_silence(database: Database) -> None:
    world = made(database, ladder=[0.25, 0.5])
    world.start()
    old = [world.serve(f"old{i}") for i in range(100)]
    world.operate("advance", confirm=world.family.name)
    world.behaviours[world.candidate] = Behaviour(silent=True)
    for i in range(100):
        if not world.rollout.is_active:
            break
        interaction = world._interaction(old[i], world.clock.at)
        keep_events(world.store, [interaction])
        world.requests(20, 10.0)
    assert world.rollout.outcome == "guardrail"
    assert "report nothing or little" in (world.rollout.reason or "")


# --- latency, cost, limits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "guardrail"),
    [
        pytest.param(Behaviour(latency_ms=1200.0), "guardrail latency", id="three times as slow"),
        pytest.param(Behaviour(cost_usd=0.006), "guardrail cost", id="three times as dear"),
    ],
)
def test_a_slower_or_dearer_candidate_is_rolled_back(world: World, behaviour: Behaviour, guardrail: str) -> None:
    world.behaviours[world.candidate] = behaviour
    world.start()
    world.run(1200)
    assert world.rollout.outcome == "guardrail"
    assert guardrail in (world.rollout.reason or "")
    assert world.verified().problems == ()


@pytest.mark.parametrize(
    ("constraints", "says"),
    [
        pytest.param({"p95_latency_ms": 600.0}, "took longer than 600 ms", id="seconds"),
        pytest.param({"cost_usd_per_call": 0.001}, "the family's limit is 0.001", id="money a call"),
        pytest.param({"cost_usd_per_hour": 0.1}, "the family's limit is 0.1 an hour", id="money an hour"),
    ],
)
def test_the_familys_own_limits_hold_even_when_the_champion_is_no_better(
    database: Database, constraints: dict[str, Any], says: str
) -> None:
    world = made(database, constraints=constraints, ladder=[0.5])
    world.start()
    world.run(600)
    assert world.rollout.outcome == "guardrail"
    assert says in (world.rollout.reason or "")
    assert world.verified().problems == ()


def test_of_an_equal_candidate_nothing_is_said(world: World) -> None:
    world.start()
    world.run(600, per_second=1)
    assert world.moves() == ["deploy"]
    assert world.alerts() == set()
