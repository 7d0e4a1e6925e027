"""A champion that nobody compared with anything is watched from its first outcomes on, and an alert says how to go
back: a real store, the worker's tick, ten seconds at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from optimizer.core.feedback.events import Arm, FeedbackEvent
from optimizer.core.serving.assignment import bucket, in_holdback
from optimizer.jobs.champions.watch_switch import SwitchWatcher
from optimizer.jobs.rollouts.verify_rollout import verify_rollout
from optimizer.ports import Alert
from tests.clock import T0
from tests.rows.rollout_acts import adopt_file_version, roll_back_champion, set_champion
from tests.stores import keep_events, new_database
from tests.worlds.rollout_world import TICK_S, Behaviour, F, World

SWITCH = T0 + timedelta(days=8, hours=5)  # at 14:00
GOOD, BAD = 0.88, 0.37


class Night(World):
    """Users of one family, before and after its file was edited and adopted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.behaviours = {self.champion: Behaviour(success=GOOD, errors=0)}
        version = self.family.prompt.versions["1"]
        edited = version.model_copy(update={"content": [{"role": "user", "content": "{{document}} In one word!"}]})
        prompt = self.family.prompt.model_copy(update={"current": "2", "versions": {"1": version, "2": edited}})
        self.family = self.family.model_copy(update={"prompt": prompt})
        self.edit = self.family.variant().id
        self.watcher = SwitchWatcher(self.store, self.clock)

    def usual_outcomes(self, since: datetime, minutes: float, per_minute: int) -> None:
        """Of the champion at that time, with the delays that outcomes have."""
        draw, arm = Random(7), Arm(family=F, variant=self.champion, role="champion")
        keep_events(self.store, self._outcomes(draw, arm, since, minutes, per_minute))

    def _outcomes(self, draw: Random, arm: Arm, since: datetime, minutes: float, per_minute: int) -> Iterator[Any]:
        members = {one.name: getattr(arm, one.name) for one in fields(arm)}
        for i in range(round(minutes * per_minute)):
            at = since + timedelta(minutes=i / per_minute)
            self.n += 1
            of = Arm(**{**members, "unit_hmac": f"past-{since.isoformat()}-{i}"})
            self.clock.at, now = at, self.clock.at
            yield self._interaction(of, at)
            outcome = self._feedback(of, self.behaviours[self.champion])
            self.clock.at = now
            if outcome is not None:
                yield outcome

    def _feedback(self, arm: Arm, behaviour: Behaviour) -> FeedbackEvent | None:
        """Bad news comes at once, good news within a minute or two."""
        outcome = super()._feedback(arm, behaviour)
        if outcome is None:
            return None
        late = timedelta(seconds=self.draw.uniform(5, 120) if outcome.success else 1)
        return replace(outcome, interaction=f"in_{self.n}", received_at=outcome.received_at + late)

    def adopt(self, *, success: float, holdback: bool = True) -> None:
        self.behaviours[self.edit] = Behaviour(success=success, errors=0)
        adopt_file_version(
            self.family, actor="ann", confirm=F, store=self.store, clock=self.clock, reason="shorter", holdback=holdback
        )
        self._state = None

    def ten_seconds(self, per_second: float) -> None:
        """Users, then one tick and one look."""
        events: list[Any] = []
        for _ in range(round(TICK_S * per_second)):
            self.clock.pass_seconds(1 / per_second)
            self.n += 1
            arm = self.serve(f"u{self.n}")
            events.append(self._interaction(arm, self.clock.at))
            outcome = self._feedback(arm, self.behaviours[arm.variant or ""])
            if outcome is not None:
                events.append(outcome)
        keep_events(self.store, events)
        self.tick()
        self.watcher.look({F: self.family})

    def worse(self) -> list[Alert]:
        with self.store.read() as tx:
            return [one for one in self.store.alerts.all(tx, open_only=True) if one.kind == "champion_worse"]

    def minutes_until_told(self, per_second: float, at_most: float) -> float | None:
        """From the switch to the alert; None: there was none."""
        begun = self.clock.at
        while not self.worse():
            if self.clock.at >= begun + timedelta(minutes=at_most):
                return None
            self.ten_seconds(per_second)
        return (self.clock.at - begun).total_seconds() / 60


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Callable[..., Night]]:
    databases = []

    def begin(*, a_week_ago: float = 0.0, just_before: float = 0.0, per_minute: int = 720) -> Night:
        """Minutes of outcomes: from the same hour of a week before on, and up to the switch."""
        databases.append(new_database(tmp_path))
        world = Night(store=databases[-1])
        world.usual_outcomes(SWITCH - timedelta(days=7, minutes=1), a_week_ago, per_minute)
        world.usual_outcomes(SWITCH - timedelta(minutes=just_before), just_before, per_minute)
        world.clock.at = SWITCH
        return world

    yield begin
    for database in databases:
        database.close()


def test_a_bad_edit_is_told_within_ten_minutes_beside_the_holdback(night: Callable[..., Night]) -> None:
    world = night(just_before=1)
    world.adopt(success=BAD)
    rollout = world.rollout
    assert (rollout.outcome, rollout.champion, rollout.candidate) == ("promoted", world.champion, world.edit)
    minutes = world.minutes_until_told(12, at_most=10)
    assert minutes is not None
    (alert,) = world.worse()
    assert "5 % of the users still get" in alert.detail
    assert f"ann made it champion at {SWITCH:%Y-%m-%d %H:%M:%S} UTC" in alert.detail
    assert f"Take it back: detent champion rollback {F}" in alert.detail
    assert world.tenure.variant == world.edit
    assert verify_rollout(rollout.id, world.store).problems == ()


def test_a_bad_edit_is_told_within_ten_minutes_against_the_same_hours_of_the_week_before(
    night: Callable[..., Night],
) -> None:
    world = night(a_week_ago=10)
    world.adopt(success=BAD, holdback=False)
    assert world.tenure.rollout is None
    minutes = world.minutes_until_told(12, at_most=10)
    assert minutes is not None
    (alert,) = world.worse()
    assert f"{world.champion} in the same hours of the week before is 0." in alert.detail


@pytest.mark.parametrize("how", ["set", "promoted by force"])
def test_a_variant_that_was_set_and_a_forced_promotion_are_watched_too(night: Callable[..., Night], how: str) -> None:
    world = night(a_week_ago=8)
    world.behaviours[world.candidate] = Behaviour(success=BAD, errors=0)
    if how == "set":
        by = {"actor": "ann", "store": world.store, "clock": world.clock}
        set_champion(F, world.candidate, reason="no time", confirm=F, **by)  # type: ignore[arg-type]
        world._state = None
    else:
        world.history(n=10)
        world.start()
        world.operate("promote", confirm=F)
    assert world.serve("somebody").role == "champion"
    assert world.minutes_until_told(12, at_most=10) is not None
    (alert,) = world.worse()
    assert f"ann made it champion at {world.tenure.since:%Y-%m-%d %H:%M:%S} UTC" in alert.detail


@pytest.mark.parametrize("how", ["the first", "taken back", "young"])
def test_a_tenure_by_itself_a_rollback_and_one_with_nothing_to_compare_with_are_not(
    night: Callable[..., Night], how: str
) -> None:
    world = night(just_before=5, per_minute=60)
    if how != "the first":
        world.adopt(success=BAD, holdback=False)
    if how == "taken back":
        roll_back_champion(F, actor="bob", reason="bad night", store=world.store, clock=world.clock)
        world.behaviours[world.champion] = Behaviour(success=0.1, errors=0)
        world._state = None
    assert world.minutes_until_told(5, at_most=2) is None
    with world.store.read() as tx:
        state = world.store.switch_watches.get(tx, F)
    assert (state.watch.comparisons if state is not None else None) == (() if how == "young" else None)


def test_the_alert_closes_when_the_switch_is_taken_back_and_so_does_the_holdback(night: Callable[..., Night]) -> None:
    world = night(a_week_ago=5, just_before=1)
    world.adopt(success=BAD)
    assert world.minutes_until_told(12, at_most=10) is not None
    held_back = next(f"u{i}" for i in range(1000) if in_holdback(bucket(world.rollout.salt, f"u{i}")))
    assert world.serve(held_back).role == "holdback"
    roll_back_champion(F, actor="bob", reason="bad night", store=world.store, clock=world.clock)
    world.ten_seconds(1)
    assert world.worse() == []
    assert (world.serve(held_back).role, world.serve(held_back).variant) == ("champion", world.champion)


def test_a_watcher_that_was_killed_goes_on_where_it_stood_and_counts_nobody_twice(night: Callable[..., Night]) -> None:
    world = night(a_week_ago=3, per_minute=120)
    world.adopt(success=GOOD, holdback=False)
    for i in range(12):
        if i % 4 == 3:
            world.watcher = SwitchWatcher(world.store, world.clock)
        world.ten_seconds(2)
    with world.store.read() as tx:
        killed = world.store.switch_watches.get(tx, F)
    assert killed is not None
    world.store.write(lambda tx: world.store.switch_watches.put(tx, replace(killed, tenure=0)))
    SwitchWatcher(world.store, world.clock).look({F: world.family})
    with world.store.read() as tx:
        at_once = world.store.switch_watches.get(tx, F)
        assert world.store.switch_watches.all(tx) == {F: at_once}
    assert at_once is not None
    assert killed.watch.comparisons == at_once.watch.comparisons
    assert sum(one.new.n + one.old.n for one in killed.watch.comparisons) > 100


@pytest.mark.parametrize(
    ("labelled", "alarm", "kept"),
    [(0, False, False), (1, False, True), (1, True, False)],
    ids=["of which nothing is known", "of which outcomes are known", "about which there is an alarm"],
)
def test_a_champion_before_stands_in_a_holdback_where_its_outcomes_are_known_and_well(
    night: Callable[..., Night], labelled: float, alarm: bool, kept: bool
) -> None:
    world = night(just_before=labelled)
    if alarm:
        drift = Alert(
            id="al_1", kind="champion_drift", level="warning", family=F, opened_at=SWITCH, detail="It went down."
        )
        world.store.write(lambda tx: world.store.alerts.open(tx, drift))
    world.adopt(success=GOOD)
    assert (world.tenure.rollout is not None) is kept
    assert world.tenure.forced


def test_requests_that_fail_after_an_adoption_are_told_and_nothing_is_taken_back(night: Callable[..., Night]) -> None:
    world = night(just_before=1)
    world.adopt(success=GOOD)
    world.behaviours[world.edit] = Behaviour(success=GOOD, errors=0.5)
    for _ in range(30):
        world.ten_seconds(5)
    assert world.tenure.variant == world.edit
    (alert,) = world.worse()
    assert "guardrail errors" in alert.detail
    assert f"detent champion rollback {F}" in alert.detail
