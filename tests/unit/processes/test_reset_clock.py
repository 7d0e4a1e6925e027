"""After a clock that ran ahead: the last tick is now again, rollouts are held, and the record says who did it."""

from __future__ import annotations

from datetime import datetime, timedelta

from optimizer.adapters.store import Database
from optimizer.jobs.rollouts.tick import tick
from optimizer.jobs.upkeep.reset_clock import ClockReset, ClockResetRequest, reset_clock
from tests.clock import T0, Clock
from tests.stores import reading, rollout, writing
from tests.worlds.contexts import context_of


def ticked_at(store: Database) -> datetime | None:
    return reading(store).serving_version.read()[1]


def reset(store: Database, clock: Clock) -> ClockReset:
    return reset_clock(context_of(store, clock, "anna"), ClockResetRequest(reason="ran ahead"))


def test_a_tick_that_a_clock_ahead_has_made_is_taken_back_to_now(store: Database) -> None:
    tick(store, Clock(T0 + timedelta(hours=3)))
    assert tick(store, Clock(T0)).at == T0 + timedelta(hours=3), "ticks stand still until the clock gets there"
    report = reset(store, Clock(T0))
    assert (report.changed, ticked_at(store)) == (True, T0)
    assert tick(store, Clock(T0 + timedelta(seconds=10))).at == T0 + timedelta(seconds=10)
    entry = reading(store).audit.page(None, 10)[0][0]
    assert (entry["actor"], entry["action"]) == ("anna", "clock.reset")
    assert entry["detail"] == {"why": "ran ahead", "from": (T0 + timedelta(hours=3)).isoformat(), "held": []}


def test_every_active_rollout_is_held_and_no_lease_of_the_time_ahead_goes_on(store: Database) -> None:
    ahead = T0 + timedelta(hours=3)
    active = rollout(status="deploying", stage=0, created_at=T0, lease_expires_at=ahead + timedelta(minutes=1))
    writing(store).rollouts.add(active)
    writing(store).serving_version.ticked(ahead)
    report = reset(store, Clock(T0))
    assert report.held == (active.family,)
    assert f"detent rollout resume {active.family}" in report.next
    found = reading(store).rollouts.get(active.id)
    assert (found.held, found.lease_expires_at) == (True, T0)


def test_a_clock_that_is_right_is_left_alone(store: Database) -> None:
    assert reset(store, Clock(T0)).changed is False
    tick(store, Clock(T0))
    report = reset(store, Clock(T0 + timedelta(seconds=5)))
    assert (report.changed, ticked_at(store)) == (False, T0)
    assert reading(store).audit.page(None, 10)[0] == []
