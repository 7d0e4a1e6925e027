"""What triggers, forecasts and settings read in the place of events is what the events themselves say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import fsum
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings, strategies as st

from optimizer.adapters.store import Database, traffic_sums
from optimizer.core.feedback import traffic_sums as core
from optimizer.core.feedback.events import FeedbackEvent, Interaction, LabelSummary
from optimizer.core.feedback.traffic import RecordedTraffic
from optimizer.core.feedback.traffic_sums import TrafficSum, hash_of, limit_of, of_stretches, summed_by
from optimizer.core.scheduling.triggers import RecentOutcomes, UnitMean, recent_outcomes
from optimizer.jobs.feedback.roll_up_minutes import roll_up_traffic
from tests.clock import Clock
from tests.examples import n_examples
from tests.stores import FAMILY, arm, feedback, interaction, keep_events, minutes, temporary_database

Event = Interaction | FeedbackEvent
VARIANT, FIELDS = "v_a", ("success", "score")
EXACT = st.integers(0, 8).map(lambda n: n / 8)  # sums of these are the same in any order
# 9 o'clock stands at 0: hours and two midnights pass, and some times lie on their edges
AT = st.integers(0, 45 * 60 * 4).map(lambda quarter: quarter / 4) | st.sampled_from((60, 15 * 60, 16 * 60, 39 * 60))
ARM = st.fixed_dictionaries(
    {
        "family": st.sampled_from((FAMILY, FAMILY, "triage")),
        "variant": st.sampled_from((None, VARIANT, VARIANT, "v_b")),
        "unit_hmac": st.sampled_from((None, *"abcdef")),
    }
)
TOLD = st.fixed_dictionaries(
    {
        "success": st.none() | st.booleans(),
        "score": st.none() | EXACT,
        "source": st.sampled_from(("user", "judge")),
        "label": st.just("x"),
    }
)
EVENTS = st.lists(st.tuples(AT, ARM, st.none() | TOLD), max_size=40)


def event_of(n: int, at: datetime, of: dict[str, Any], told: dict[str, Any] | None) -> Event:
    if told is None:
        return interaction(f"in_{n}", of=arm(**of), received_at=at)
    return feedback(f"fb_{n}", of=arm(**of), received_at=at, **told)


def unit_mean(values: Sequence[tuple[str, float]]) -> UnitMean:
    units: dict[str, list[float]] = {}
    for unit, value in values:
        units.setdefault(unit, []).append(value)
    if not units:
        return UnitMean()
    return UnitMean(n=len(units), mean=pytest.approx(fsum(fsum(v) / len(v) for v in units.values()) / len(units)))


def outcomes_of(events: Sequence[Event], variant: str, since: datetime, until: datetime) -> RecentOutcomes:
    """By its definition: a unit counts once, whatever it reported how often."""
    own = [
        one
        for one in events
        if isinstance(one, FeedbackEvent) and one.arm.variant == variant and since <= one.received_at < until
    ]

    def of(value: Callable[[FeedbackEvent], float | None], source: str | None = None) -> UnitMean:
        found = [(one.arm.unit_hmac or one.id, value(one)) for one in own if source in (None, one.source)]
        return unit_mean([(unit, float(said)) for unit, said in found if said is not None])

    def by_source(field: str) -> dict[str, UnitMean]:
        means = {source: of(lambda one: getattr(one, field), source) for source in ("judge", "user")}
        return {source: mean for source, mean in means.items() if mean.n}

    both = of(lambda one: one.score if one.score is not None else one.success)
    return RecentOutcomes(all=both, success=by_source("success"), score=by_source("score"))


def recorded_of(events: Sequence[Event], since: datetime, until: datetime) -> RecordedTraffic | None:
    own = [one for one in events if since <= one.received_at < until]
    if not own:
        return None
    first: dict[str, datetime] = {}
    for one in sorted(own, key=lambda one: one.received_at):
        if one.arm.unit_hmac is not None:
            first.setdefault(one.arm.unit_hmac, one.received_at)
    labelled: dict[tuple[str, str], set[str]] = {}
    for one in own:
        for field in FIELDS if isinstance(one, FeedbackEvent) and one.arm.unit_hmac is not None else ():
            if getattr(one, field) is not None:
                labelled.setdefault((field, one.source), set()).add(one.arm.unit_hmac)  # type: ignore[union-attr,arg-type]
    requests, begun = [one for one in own if isinstance(one, Interaction)], min(one.received_at for one in own)
    return RecordedTraffic(
        since=begun,
        until=until,
        n_requests=len(requests),
        n_requests_with_unit=sum(one.arm.unit_hmac is not None for one in requests),
        n_units=len(first),
        n_late_units=sum(at >= begun + (until - begun) / 2 for at in first.values()),
        n_labelled_units={key: len(units) for key, units in labelled.items()},
    )


def labels_of(events: Sequence[Event], since: datetime) -> list[LabelSummary]:
    values: dict[tuple[str, str, str], list[float]] = {}
    for one in events:
        for field in FIELDS if isinstance(one, FeedbackEvent) and one.received_at >= since else ():
            if (value := getattr(one, field)) is not None:
                values.setdefault((one.arm.variant or "", field, one.source), []).append(float(value))  # type: ignore[union-attr]
    return [
        LabelSummary(variant=key[0] or None, field=key[1], source=key[2], n=len(own), mean=fsum(own) / len(own))  # type: ignore[arg-type]
        for key, own in sorted(values.items())
    ]


def assert_reads_as_the_events(database: Database, events: Sequence[Event], since: datetime, until: datetime) -> None:
    with database.read() as tx:
        for family in (FAMILY, "triage"):
            own = [one for one in events if one.arm.family == family]
            found = database.traffic.outcomes(tx, family, VARIANT, since, until)
            assert found == outcomes_of(own, VARIANT, since, until)
            assert database.traffic.recorded(tx, family, since, until) == recorded_of(own, since, until)
            assert database.events.label_summary(tx, family, since) == labels_of(own, since)


@settings(max_examples=n_examples(8))
@example([(0.0, {"family": FAMILY, "variant": VARIANT, "unit_hmac": "a"}, None)], [60.0, 2880.0], (0.0, 2880.0))
@given(EVENTS, st.lists(AT, min_size=1, max_size=6), st.tuples(AT, AT))
def test_sums_and_what_came_after_them_say_what_the_events_say(drawn, looks, window):
    """``looks``: when the worker sums up, in any order, since a clock may go back; what comes late comes between."""
    events = [event_of(n, minutes(at), of, told) for n, (at, of, told) in enumerate(drawn)]
    since, until = sorted(minutes(at) for at in window)
    with temporary_database() as database:
        new = sorted(events, key=lambda one: one.received_at)
        for at in looks:
            keep_events(database, [one for one in new if one.received_at <= minutes(at)])
            new = [one for one in new if one.received_at > minutes(at)]
            roll_up_traffic(database, Clock(minutes(at)))
            there = [one for one in events if one not in new]
            assert_reads_as_the_events(database, there, since, until)
            assert_reads_as_the_events(database, there, minutes(at) - timedelta(hours=6), minutes(at))


@settings(max_examples=n_examples(4))
@given(EVENTS, st.tuples(AT, AT))
def test_a_window_that_began_before_short_sums_are_kept_reads_events_at_its_ends(drawn, window):
    events = [event_of(n, minutes(at), of, told) for n, (at, of, told) in enumerate(drawn)]
    since, until = sorted(minutes(at) for at in window)
    read_for = {
        1440: timedelta.max,
        360: timedelta(hours=30),
        60: timedelta(hours=8),
        1: timedelta(hours=3),
    }  # a day is made of its hours
    ages = {length: read_for[length] for length in (360, 60, 1)}
    with (
        patch.object(core, "READ_FOR", read_for),
        patch.object(traffic_sums, "KEPT_FOR", ages),
        temporary_database() as database,
    ):
        keep_events(database, events)
        for at in (20 * 60, 30 * 60, 45 * 60, 48 * 60):
            roll_up_traffic(database, Clock(minutes(at)))
        assert_reads_as_the_events(database, events, since, until)


def test_what_comes_in_after_a_clock_went_back_is_summed_up_with_what_was_there() -> None:
    with temporary_database() as database:
        there = [event_of(n, minutes(20 * n), {}, {"success": n % 2 == 0}) for n in range(40)]
        keep_events(database, there)
        roll_up_traffic(database, Clock(minutes(800)))
        roll_up_traffic(database, Clock(minutes(300)))
        late = [event_of(99, minutes(310.5), {"unit_hmac": "late"}, {"success": False})]
        keep_events(database, late)
        for at in (305, 315, 400, 3000):
            roll_up_traffic(database, Clock(minutes(at)))
            assert_reads_as_the_events(database, [*there, *late], minutes(0), minutes(3000))


@pytest.mark.parametrize("ahead", [timedelta(days=7), timedelta(days=400)])
def test_a_clock_that_was_far_ahead_and_went_back_leaves_no_gap(ahead: timedelta) -> None:
    """What was deleted as too old while it was ahead is young again."""
    with temporary_database() as database:
        events = [event_of(n, minutes(20 * n), {}, {"success": n % 2 == 0}) for n in range(40)]
        keep_events(database, events)
        roll_up_traffic(database, Clock(minutes(810)))
        roll_up_traffic(database, Clock(minutes(810) + ahead))
        for at in (811, 830, 3000):
            roll_up_traffic(database, Clock(minutes(at)))
            for since in (0, 10, 61, 301):
                assert_reads_as_the_events(database, events, minutes(since), minutes(3000))


@settings(max_examples=n_examples(6))
@given(EVENTS, st.integers(1, 2))
def test_what_is_pruned_by_whole_days_is_gone_from_the_sums_too(drawn, day):
    events = [event_of(n, minutes(at), of, told) for n, (at, of, told) in enumerate(drawn)]
    cut, end = minutes(0).replace(hour=0) + timedelta(days=day), minutes(3 * 24 * 60)
    with temporary_database() as database:
        keep_events(database, events)
        roll_up_traffic(database, Clock(end))
        for family in (FAMILY, "triage"):
            for rows in ("interactions", "feedback_events", "traffic_sums"):
                with database.read() as tx:
                    keys = database.retained.old(tx, rows, family, cut, 10_000)  # type: ignore[arg-type]
                database.write(lambda tx, r=rows, f=family, k=keys: database.retained.remove(tx, r, f, k))  # type: ignore[misc]
        assert_reads_as_the_events(database, [one for one in events if one.received_at >= cut], minutes(0), end)


@pytest.mark.parametrize("is_summed", [False, True])
def test_outcomes_that_name_no_interaction_hide_none_of_the_delays_before_them(is_summed: bool) -> None:
    with temporary_database() as database:
        served = [interaction(f"in_{n}", of=arm(variant=VARIANT), received_at=minutes(n)) for n in range(5)]
        told = [
            feedback(f"fb_{n}", of=arm(variant=VARIANT), received_at=minutes(n + 3), interaction=f"in_{n}", score=1.0)
            for n in range(5)
        ]
        others = [
            feedback(f"of_unit_{n}", of=arm(variant=VARIANT), received_at=minutes(200 + n), score=1.0)
            for n in range(40)
        ]
        keep_events(database, [*served, *told, *others])
        if is_summed:
            roll_up_traffic(database, Clock(minutes(300)))
        with database.read() as tx:
            for limit in (1, 3, 10):
                found = database.observations.delays_s(tx, FAMILY, VARIANT, minutes(-60), limit)
                assert found == [180.0] * min(limit, 5)


UNITS = st.lists(
    st.tuples(st.integers(0, 60 * 30), st.integers(0, 60), st.none() | st.booleans(), st.none() | EXACT), max_size=150
)


@settings(max_examples=n_examples(15))
@given(UNITS, st.sampled_from((1, 4, 16)))
def test_units_that_are_drawn_are_the_same_in_every_stretch_and_bring_all_that_they_reported(told, most):
    with patch.object(core, "MOST_UNITS", most):
        by_minute: dict[int, TrafficSum] = {}
        for n, (minute, unit, success, score) in enumerate(told):
            start = minutes(minute)
            own = by_minute.setdefault(minute, TrafficSum(family=FAMILY, start=start, minutes=1, source="user"))
            own.add_event(f"fb_{n}", f"u{unit}", success=success, score=score)
        hours = of_stretches(by_minute.values(), 60)
        quarters = of_stretches(hours, 360)
        days = of_stretches(quarters, 1440)
        for sums in (list(by_minute.values()), hours, quarters, days):
            assert all(len(one.units) <= most for one in sums)
            whole = summed_by(sums).get((), TrafficSum(family=FAMILY, start=minutes(0), minutes=1))
            expected: dict[str, list[tuple[bool | None, float | None]]] = {}
            for _, unit, success, score in told:
                if (name := hash_of(f"u{unit}")) < limit_of(whole.level):
                    expected.setdefault(name, []).append((success, score))
            assert whole.n == len(told)
            assert whole.units.keys() == expected.keys()
            for name, own_told in expected.items():
                sums_of = [
                    sum(s is not None for s, _ in own_told),
                    sum(s or 0 for s, _ in own_told),
                    sum(v is not None for _, v in own_told),
                    sum(v or 0 for _, v in own_told),
                    sum(s is not None or v is not None for s, v in own_told),
                    sum(v if v is not None else s or 0 for s, v in own_told),
                ]
                assert (whole.units[name] or [0] * 6) == sums_of


def test_many_units_are_estimated_from_the_drawn_ones_and_said_to_be_so() -> None:
    n = 60_000
    one = TrafficSum(family=FAMILY, start=minutes(0), minutes=60, source="user")
    for i in range(n):
        one.add_event(f"fb_{i}", f"unit {i}", success=i % 4 == 0)
    found = recent_outcomes([one]).success["user"]
    assert found.n == pytest.approx(n, rel=0.12)  # 1.2 / sqrt(MOST_UNITS) is one standard error
    assert found.mean == pytest.approx(0.25, abs=0.06)
    assert found.share < 0.02
    assert found.text.startswith("about ")


def test_a_store_without_sums_reads_events_and_one_with_sums_reads_only_those_at_the_ends() -> None:
    with temporary_database() as database:
        keep_events(database, [event_of(n, minutes(n), {}, {"success": True}) for n in range(60 * 30)])
        read: list[tuple[datetime, datetime]] = []
        real = traffic_sums._of_events

        def counted(tx: Any, family: str, stretch: tuple[datetime, datetime], **which: Any) -> list[TrafficSum]:
            read.append(stretch)
            return real(tx, family, stretch, **which)

        since, until = minutes(10.5), minutes(60 * 30 - 10.5)
        with patch.object(traffic_sums, "_of_events", counted):
            for done in (False, True):
                with database.read() as tx:
                    assert len(traffic_sums.within(tx, FAMILY, since, until)) > 0
                if not done:
                    assert read == [(since, until)]
                    roll_up_traffic(database, Clock(minutes(60 * 30)))
                    read.clear()
        assert read == [(since, minutes(11)), (minutes(60 * 30 - 11), until)]
