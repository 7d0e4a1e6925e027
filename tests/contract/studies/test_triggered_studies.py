"""What every store must know of studies that start by themselves, and of what made them."""

from __future__ import annotations

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.values import Budget, Spend
from optimizer.core.feedback.events import FeedbackEvent
from optimizer.core.scheduling.monthly_budget import RunSpend
from optimizer.core.scheduling.triggers import RecentOutcomes, UnitMean
from optimizer.core.search.study import Study, Trigger
from tests.stores import FAMILY, arm, feedback, keep_events, minutes, study

WORSE = Trigger(
    kind="degradation", reason="degradation 0.200, at or above 0.15", evidence={"degradation": {"index": 0.2}}
)
TIME = Trigger(kind="schedule", reason="scheduled")


def add(database: Database, *studies: Study) -> None:
    for one in studies:
        database.write(lambda tx, one=one: database.studies.add(tx, one))  # type: ignore[misc]


def test_why_a_study_started_comes_back_as_it_was_written(database: Database) -> None:
    add(database, study("st_1", trigger=WORSE, status="finished"), study("st_2"))
    with database.read() as tx:
        found = [database.studies.get(tx, id) for id in ("st_1", "st_2")]
    assert [one.trigger for one in found if one] == [WORSE, None]


def test_the_last_triggered_study_is_told_apart_by_kind_and_family(database: Database) -> None:
    add(
        database,
        study("st_1", trigger=WORSE, status="finished", created_at=minutes(1)),
        study("st_2", trigger=TIME, status="finished", created_at=minutes(2)),
        study("st_3", status="finished", created_at=minutes(3)),
        study("st_4", family="triage", trigger=TIME, created_at=minutes(4)),
    )
    with database.read() as tx:
        last = database.studies.last_triggered
        found = [
            last(tx, FAMILY),
            last(tx, FAMILY, ["degradation", "feedback"]),
            last(tx, FAMILY, ["feedback"]),
            last(tx, "nobody"),
        ]
    assert [one and one.id for one in found] == ["st_2", "st_1", None, None]


def test_what_a_month_has_cost_leaves_out_what_ended_before_it(database: Database) -> None:
    add(
        database,
        study("st_1", status="finished", finished_at=minutes(-1), spend=Spend(usd=1.0)),
        study("st_2", status="cancelled", finished_at=minutes(0), spend=Spend(usd=2.0), budget=Budget(usd=5.0)),
        study("st_3", status="running", spend=Spend(usd=0.5), budget=Budget(usd=4.0)),
    )
    with database.read() as tx:
        found = database.studies.spent_since(tx, minutes(0))
    assert found == [
        RunSpend(run="st_2", family=FAMILY, cap_usd=5.0, usd=2.0, has_ended=True),
        RunSpend(run="st_3", family=FAMILY, cap_usd=4.0, usd=0.5, has_ended=False),
    ]


def outcome(n: int, unit: str | None, **changes: object) -> FeedbackEvent:
    return feedback(f"fb_{n}", of=arm(unit_hmac=unit), received_at=minutes(n), **{"success": None, **changes})


def test_outcomes_count_each_unit_once_per_window_and_source(database: Database) -> None:
    events = [
        outcome(0, "u1", score=0.0),
        outcome(1, "u1", score=1.0),
        outcome(2, "u2", score=1.0, success=False),
        outcome(3, "u2", source="judge", score=0.0),
        outcome(4, None, success=True),
        outcome(5, None, success=False),
        outcome(6, "u3", label="angry"),
        feedback("fb_7", of=arm(variant="v_other"), received_at=minutes(7)),
        outcome(9, "u5", score=0.0),
    ]
    keep_events(database, events)
    with database.read() as tx:
        found = database.traffic.outcomes(tx, FAMILY, "v_aaaaaaaaaaaa", minutes(0), minutes(9))
        nothing = database.traffic.outcomes(tx, "nobody", "v_aaaaaaaaaaaa", minutes(0), minutes(9))
    assert found.all == UnitMean(n=4, mean=pytest.approx((0.5 + 0.5 + 1.0 + 0.0) / 4))
    assert found.score == {"judge": UnitMean(n=1, mean=0.0), "user": UnitMean(n=2, mean=pytest.approx(0.75))}
    assert found.success == {"user": UnitMean(n=3, mean=pytest.approx(1 / 3))}
    assert nothing == RecentOutcomes()
