"""A cohort's outcomes are those of its units: none that came too late or belongs elsewhere counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from hypothesis import given, strategies as st

from optimizer.adapters.store import Database
from optimizer.core.family.settings import Metric
from optimizer.core.feedback.events import FeedbackEvent
from optimizer.core.rollout.cohorts import Cohort, stage_of
from tests.stores import arm, feedback, keep_events, minutes, rollout, temporary_database

LADDER = (0.1, 0.5)
COHORT = Cohort(stage=1, start=minutes(60), closes_at=minutes(180))
ROLLOUT = rollout(ladder=LADDER, settings={"cohort_minutes": 60, "feedback_window": {"hours": 1}})
events = st.fixed_dictionaries(
    {
        "unit_hmac": st.sampled_from("abc"),
        "stage": st.sampled_from(LADDER),
        "rollout": st.sampled_from(["ro_1", "ro_1", "ro_0"]),
        "cohort_start": st.sampled_from([0, 60, 60, 120, 180, 240]).map(minutes),
        "received_at": st.integers(0, 5).map(lambda n: minutes(48 * n)),
        "source": st.sampled_from(["user", "user", "judge"]),
        "success": st.none() | st.booleans(),
    }
)


@given(events=st.lists(events, max_size=12))
def test_what_is_read_agrees_with_what_counts(events: list[dict[str, Any]]) -> None:
    stored = [feedback_of(i, **event) for i, event in enumerate(events)]
    with temporary_database() as database:
        keep_events(database, stored)
        assert read(database) == expected(stored)


def read(database: Database) -> Mapping[str, float]:
    with database.read() as tx:
        return database.observations.outcomes(
            tx,
            ROLLOUT,
            COHORT,
            ["a", "b", "unknown"],
            metric=Metric(),
            received_since=COHORT.start,
            received_until=COHORT.closes_at,
        ).means


def feedback_of(i: int, *, source: str, success: bool | None, received_at: datetime, **token: Any) -> FeedbackEvent:
    return feedback(f"fb_{i}", of=arm(**token), source=source, success=success, received_at=received_at)


def expected(stored: list[FeedbackEvent]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for event in stored:
        token, during = event.arm, (COHORT.start, COHORT.closes_at)
        is_of_cohort = (
            token.rollout == "ro_1"
            and stage_of(LADDER, token.stage) == 1
            and during[0] <= token.cohort_start <= during[1]
        )
        is_told = event.source == "user" and event.success is not None and during[0] <= event.received_at <= during[1]
        if token.unit_hmac in ("a", "b") and is_of_cohort and is_told:
            values.setdefault(token.unit_hmac, []).append(float(event.success or False))
    return {unit: sum(own) / len(own) for unit, own in values.items()}
