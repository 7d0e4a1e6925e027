"""Rollouts that move by themselves, on a real database: what their users report decides, and every decision can be checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.jobs.verify_rollout import verify_rollout
from tests.rollout_world import Behaviour, Clock, World
from tests.stores import new_database


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    database = new_database(tmp_path)
    made = World(store=database)
    made.history()
    yield made
    database.close()


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[World]:
    """A rollout hour passes within a minute, so that a lease outlasts the time between two batches of labels."""
    database = new_database(tmp_path)
    made = World(store=database, clock=Clock(scale=60.0))
    made.history()
    yield made
    database.close()


def climb(world: World, n_minutes: int, per_minute: int = 120) -> None:
    for _ in range(n_minutes):
        if world.rollout.is_active:
            world.labels(per_minute)


def test_a_candidate_that_is_better_climbs_every_stage_and_becomes_champion_by_itself(fast: World) -> None:
    world = fast
    world.behaviours[world.candidate] = Behaviour(success=0.95)
    world.start()
    climb(world, 60)
    assert [d.kind for d in world.decisions if d.actor == "system:tick"] == ["deploy", "advance", "advance", "advance", "promote"]
    assert not any(d.forced for d in world.decisions if d.actor == "system:tick")
    assert world.rollout.outcome == "promoted"
    assert world.reign.variant == world.candidate
    assert verify_rollout(world.rollout.id, world.store).problems == ()


def test_a_candidate_that_is_much_worse_is_rolled_back_by_itself(fast: World) -> None:
    world = fast
    world.behaviours[world.candidate] = Behaviour(success=0.4)
    world.start()
    climb(world, 60)
    assert (world.rollout.status, world.rollout.outcome) == ("rolled_back", "worse")
    assert world.reign.variant == world.champion
    assert "rollout_ended" in world.alerts()
    assert verify_rollout(world.rollout.id, world.store).problems == ()


def test_a_candidate_whose_requests_fail_is_rolled_back_by_the_guardrail_within_minutes(world: World) -> None:
    world.behaviours[world.candidate] = Behaviour(errors=0.3)
    world.start()
    began = world.clock.at
    while world.rollout.is_active and (world.clock.at - began).total_seconds() < 1800:
        world.requests(30, 30.0)
    assert world.rollout.outcome == "guardrail"
    assert "guardrail errors" in (world.rollout.reason or "")
    assert verify_rollout(world.rollout.id, world.store).problems == ()
