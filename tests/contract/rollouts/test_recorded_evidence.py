"""What a recording answers to a look is what the store answers for the rollout under which it was recorded,
but for the arms it deals anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.family.settings import Metric
from optimizer.core.forecast.selftest import RecordedRollout, Recording
from optimizer.core.rollout.cohorts import Cohort, due_cohorts
from optimizer.jobs.rollouts.selftest import RecordedEvidence
from optimizer.jobs.rollouts.watch_rollout import look
from optimizer.ports import Store, Transaction
from tests.stores import keep_events
from tests.worlds.rollout_world import F, World


@pytest.fixture(scope="module")
def six_minutes(with_history: Callable[[float], World], tmp_path_factory: pytest.TempPathFactory) -> World:
    """A rollout at its first stage, with six minutes of users, of whom each left an outcome."""
    made = with_history(60.0).copied(tmp_path_factory.mktemp("served"))
    made.start()
    for _ in range(6):
        made.labels(120, tick=False)
        made.clock.pass_seconds(1)  # no request starts at the very moment at which the rollout moves
        made.tick()
    assert made.rollout.status == "deploying"
    made.store.close()
    return made


@pytest.fixture
def served(six_minutes: World, copy_of: Callable[[World], World]) -> World:
    return copy_of(six_minutes)


def recording_of(world: World, tx: Transaction) -> RecordedEvidence:
    started, now = world.rollout.started_at, world.clock.now() + timedelta(seconds=1)  # of what came until then
    assert started is not None
    assert world.clock.anchor is not None
    anchor = world.clock.anchor
    labels = world.store.traffic.labels(tx, F, started, now, field="success", source="user")
    recording = Recording(
        world.store.traffic.requests(tx, F, started, now),
        labels,
        cohort_minutes=world.rollout.settings["cohort_minutes"],
        on_clock=lambda at: anchor + (at - anchor) * world.clock.scale,
    )
    return RecordedEvidence(
        replay=RecordedRollout(recording, salt=world.rollout.salt),
        usual=MinuteSums(family=F, minute=started),
        row=world.store.blocks.state(tx, world.rollout.id),
    )


def both(world: World, ask: Any) -> list[Any]:
    with world.store.read() as tx:
        return [ask(store, tx) for store in (world.store, recording_of(world, tx).as_store())]


def cohorts(world: World) -> list[Cohort]:
    """All that were full when the traffic ended."""
    return due_cohorts(world.rollout, closed={}, clock_now=world.clock.rollout_now() + timedelta(days=2))


class TestRecordedEvidence:
    def test_requests_are_those_that_started_in_the_time_asked_for(self, served: World) -> None:
        since, until = served.clock.at - timedelta(minutes=3), served.clock.at - timedelta(minutes=1)
        stored, recorded = both(
            served,
            lambda store, tx: [
                replace(one, arm="champion") for one in store.observations.requests(tx, served.rollout, since, until)
            ],
        )
        assert stored == recorded
        assert len(stored) > 200
        assert both(served, lambda store, tx: store.observations.requests(tx, served.rollout, until, until)) == [[], []]

    def test_units_belong_to_the_cohort_in_which_they_were_served(self, served: World) -> None:
        found = {}
        for cohort in cohorts(served):
            until = served.clock.at + timedelta(days=1)
            stored, recorded = both(
                served,
                lambda store, tx, cohort=cohort, until=until: set(
                    store.observations.cohort_units(tx, served.rollout, cohort.stage, cohort.start, until)
                ),
            )
            assert stored == recorded
            found[cohort.start] = len(stored)
        assert sum(found.values()) > 600

    def test_an_outcome_is_its_units_mean_and_those_that_came_too_late_are_left_out(self, served: World) -> None:
        first = next(iter(cohorts(served)))
        begun, late = served.clock.at - timedelta(days=1), served.clock.at + timedelta(days=1)

        def means(store: Store, tx: Transaction, until: datetime) -> Any:
            units = store.observations.cohort_units(tx, served.rollout, first.stage, first.start, late)
            asked: dict[str, Any] = {"metric": Metric(), "received_since": begun, "received_until": until}
            return store.observations.outcomes(tx, served.rollout, first, units, **asked).means

        stored, recorded = both(served, lambda store, tx: means(store, tx, late))
        assert stored == recorded
        assert set(stored.values()) == {0.0, 1.0}
        assert both(served, lambda store, tx: means(store, tx, begun)) == [{}, {}]

    def test_what_earlier_looks_kept_is_there_for_the_next(self, served: World) -> None:
        assert both(served, lambda store, tx: store.blocks.state(tx, served.rollout.id).n_blocks)[0] > 0
        with served.store.read() as tx:
            recording = recording_of(served, tx)
            recording.row = None
            step = look(tx, recording.as_store(), served.clock, served.rollout, served.clock.now())
            recording.keep(step.seen.known, step.seen.units, step.seen.at)
            kept = recording.row
            assert kept is not None
            assert kept.n_blocks == len(step.seen.blocks) > 0
            (stage, unit), count = next(iter(step.seen.units.items()))
            assert recording.get(tx, served.rollout.id, stage, [unit, "nobody"]) == {unit: count}

    def test_of_judges_only_the_one_counts_that_the_rollout_names(self, served: World) -> None:
        """Another rubric is another judge, and the worker goes on judging while a rollout runs."""
        with served.store.read() as tx:
            users, _ = served.store.events.page_of_feedback(
                tx, family=F, variant=None, since=None, cursor=None, limit=1000
            )
        said = [
            replace(event, id=f"{judge}_{event.id}", source="judge", success=good, tags={"judge": judge})
            for event in users
            for judge, good in (("j_first", True), ("j_edited", False))
        ]
        keep_events(served.store, said)
        first = next(iter(cohorts(served)))
        begun, late = served.clock.at - timedelta(days=1), served.clock.at + timedelta(days=1)

        def means(**named: str) -> set[float]:
            rollout = replace(served.rollout, settings={**served.rollout.settings, **named})
            with served.store.read() as tx:
                observations = served.store.observations
                units = observations.cohort_units(tx, rollout, first.stage, first.start, late)
                asked = {"metric": Metric(source="judge"), "received_since": begun, "received_until": late}
                return set(observations.outcomes(tx, rollout, first, units, **asked).means.values())

        assert means() == {0.5}
        assert means(judge="j_first") == {1.0}
        assert means(judge="j_gone") == set()
