"""The candidate is served only while the worker's tick renews its lease."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.jobs.rollouts.tick import report_unwatched, tick
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.ports import Alert
from tests.clock import Clock
from tests.contract.rollouts_by_hand.world import T0, F, candidate_unit, load, served


def test_the_candidate_is_served_only_while_the_worker_ticks(store, clock, deploying):
    unit = candidate_unit(deploying)
    assert served(store, clock, unit) == ("candidate", deploying.id)
    clock.pass_seconds(59)
    assert served(store, clock, unit) == ("candidate", deploying.id)
    clock.pass_seconds(1)
    assert served(store, clock, unit) == ("champion", None)
    assert report_unwatched(store, clock) == [deploying.id]
    clock.pass_seconds(100)
    assert tick(store, clock).done == {deploying.id: "resumed"}
    assert served(store, clock, unit) == ("candidate", deploying.id)
    with store.read() as tx:
        assert store.alerts.all(tx, open_only=True) == []
        assert [a.kind for a in store.alerts.all(tx, open_only=False)] == ["rollout_unwatched"]


class StoreAfterATick:
    """Another process's store: before it can write, the worker's tick goes first."""

    def __init__(self, store: Database, clock: Clock) -> None:
        self._store, self._clock = store, clock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def write(self, fn: Callable[[Any], Any]) -> Any:
        assert set(tick(self._store, self._clock).done.values()) == {"resumed"}
        return self._store.write(fn)


def test_no_alert_is_opened_about_a_rollout_that_a_tick_went_on_with_meanwhile(store, clock, deploying):
    clock.pass_seconds(100)
    assert report_unwatched(StoreAfterATick(store, clock), clock) == []
    with store.read() as tx:
        assert store.alerts.all(tx, open_only=True) == []


def test_a_watched_rollout_is_not_called_unwatched_any_more(store, clock, deploying):
    stale = Alert(
        id="al_1", kind="rollout_unwatched", level="critical", family=F, subject=deploying.id, opened_at=T0, detail="x"
    )
    store.write(lambda tx: store.alerts.open(tx, stale))
    tick(store, clock)
    with store.read() as tx:
        assert store.alerts.all(tx, open_only=True) == []


@pytest.mark.parametrize("scale", [1.0, 60.0])
def test_the_gap_of_a_lapsed_lease_stands_in_the_stage_history_as_long_as_each_clock_says(
    acts, store, clock, candidate, scale
):
    clock.scale = scale
    started = acts.start(candidate, confirm=F)
    assert started.simulated_clock is (scale != 1.0)
    acts.operate(started.id, "approve")
    for _ in range(2):
        tick(store, clock)
        clock.pass_seconds(200)
    first, second = load(store, started.id).stage_history
    for name, times in (("", 1.0), ("clock_", scale)):
        assert datetime.fromisoformat(first[f"{name}to"]) == T0 + timedelta(seconds=60 * times)
        assert datetime.fromisoformat(second[f"{name}from"]) == T0 + timedelta(seconds=200 * times)
    assert second["share"] == first["share"]
    assert verify_rollout(started.id, store).ok


def test_a_tick_renews_without_a_decision_and_may_come_twice(store, clock, deploying):
    clock.pass_seconds(10)
    for _ in range(2):
        assert tick(store, clock).done == {deploying.id: "watched"}
    renewed = load(store, deploying.id)
    assert renewed.version == deploying.version
    assert renewed.lease_expires_at == clock.now() + timedelta(seconds=60)


def test_an_approved_rollout_waits_for_the_tick_and_a_held_one_longer(acts, store, clock, candidate):
    id = acts.start(candidate, confirm=F).id
    assert tick(store, clock).done == {id: "left"}
    acts.operate(id, "approve", actor="bob")
    acts.operate(id, "hold", actor="bob")
    assert tick(store, clock).done == {id: "left"}
    acts.operate(id, "resume", actor="bob")
    assert tick(store, clock).done == {id: "deployed"}
    assert load(store, id).share == 0.1


def test_a_clock_set_back_neither_moves_decisions_back_nor_keeps_a_lease_alive(store, clock, candidate, deploying):
    clock.pass_seconds(3600)
    tick(store, clock)
    clock.pass_seconds(-3000)
    report = tick(store, clock)
    assert report.at == T0 + timedelta(seconds=3605)
    assert load(store, deploying.id).lease_expires_at == clock.now() + timedelta(seconds=60)
