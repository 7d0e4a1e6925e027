"""The week after a promotion: the new champion is watched beside the one before it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizer.jobs.operate_rollout import operate
from optimizer.jobs.verify_rollout import verify_rollout
from tests.rollout_world import Behaviour, Clock, F, World
from tests.stores import new_database


@pytest.fixture
def promoted(tmp_path: Path) -> Iterator[World]:
    """A rollout hour passes within a minute."""
    database = new_database(tmp_path)
    world = World(store=database, clock=Clock(scale=60.0))
    world.history()
    world.start()
    operate(world.rollout.id, "promote", actor="ann", reason="trusted", confirm=F, store=database, clock=world.clock)
    yield world
    database.close()


def test_a_promoted_champion_whose_requests_fail_is_taken_back_by_itself(promoted: World) -> None:
    promoted.behaviours[promoted.candidate] = Behaviour(errors=0.5)
    for _ in range(20):
        promoted.requests(300, 30.0)
        if promoted.reign.variant != promoted.candidate:
            break
    assert promoted.reign.variant == promoted.champion
    assert promoted.reign.by == "system:tick"
    assert "guardrail errors" in promoted.reign.why
    with promoted.store.read() as tx:
        (alert,) = [a for a in promoted.store.alerts.all(tx, open_only=True) if a.kind == "rollout_ended"]
    assert f"{promoted.champion} is champion of {F} again" in alert.detail
    assert verify_rollout(promoted.rollout.id, promoted.store).problems == ()


def test_a_promoted_champion_that_does_well_stays(promoted: World) -> None:
    for _ in range(10):
        promoted.requests(100, 30.0)
    assert promoted.reign.variant == promoted.candidate
    assert promoted.alerts() & {"champion_worse"} == set()


def test_a_promoted_champion_with_worse_answers_raises_an_alert_that_names_the_way_back_and_acts_not(promoted: World) -> None:
    promoted.behaviours[promoted.candidate] = Behaviour(success=0.2)
    promoted.behaviours[promoted.champion] = Behaviour(success=0.95)
    for _ in range(30):
        promoted.labels(120)
    assert promoted.reign.variant == promoted.candidate
    with promoted.store.read() as tx:
        (alert,) = [a for a in promoted.store.alerts.all(tx, open_only=True) if a.kind == "champion_worse"]
    assert f"detent champion rollback {F}" in alert.detail


def test_after_the_week_nobody_is_compared_any_more(promoted: World) -> None:
    promoted.clock.pass_seconds(7 * 24 * 60 + 60)  # a week of the rollout clock
    assert promoted.tick().holdbacks == {}
