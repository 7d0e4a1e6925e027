"""What each trigger says of given figures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from optimizer.core.base.minute_sums import Histogram, bucket_of
from optimizer.core.family.cron import check_cron, count_fires, next_fire
from optimizer.core.family.settings import FeedbackTrigger
from optimizer.core.scheduling.triggers import (
    Look,
    RecentOutcomes,
    UnitMean,
    Window,
    first_to_fire,
    look_at_degradation,
    look_at_feedback,
    look_at_schedule,
    look_at_students,
    sentences,
    unless_answered,
)
from tests.cases import named
from tests.stores import study

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
RULE = FeedbackTrigger()
ANSWERED = study("st_1", created_at=NOW)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def window(
    *,
    success: tuple[int, float] | None = None,
    score: tuple[int, float] | None = None,
    all: tuple[int, float] | None = None,
    latency: tuple[int, float] | None = None,
    source: str = "user",
) -> Window:
    def means(given: tuple[int, float] | None) -> dict[str, UnitMean]:
        return {} if given is None else {source: UnitMean(n=given[0], mean=given[1])}

    histogram: Histogram = {} if latency is None else {bucket_of(latency[1]): latency[0]}
    outcomes = RecentOutcomes(
        success=means(success), score=means(score), all=UnitMean(n=all[0], mean=all[1]) if all else UnitMean()
    )
    return Window(since=NOW - timedelta(hours=6), until=NOW, outcomes=outcomes, latency_ms=histogram)


# --- degradation ------------------------------------------------------------------------------------------------------

BEFORE = window(success=(500, 0.9), score=(500, 0.8), latency=(1000, 400.0))


@named(
    ("recent", "state", "index"),
    {
        "exactly at the threshold": (window(success=(50, 0.75), score=(50, 0.50), latency=(100, 400.0)), "fires", 0.15),
        "just below it": (window(success=(50, 0.76), score=(50, 0.50), latency=(100, 400.0)), "quiet", 0.146667),
        "as it was": (window(success=(50, 0.9), score=(50, 0.8), latency=(100, 400.0)), "quiet", 0.0),
        "what got better makes up for nothing": (
            window(success=(50, 1.0), score=(50, 0.3), latency=(100, 300.0)),
            "fires",
            0.166667,
        ),
        "scores alone": (window(score=(50, 0.3)), "fires", 0.166667),
        "too few successes count as no change": (
            window(success=(49, 0.0), score=(50, 0.5), latency=(100, 400.0)),
            "quiet",
            0.1,
        ),
    },
)
def test_degradation_is_a_third_of_the_sum_of_what_got_worse(recent: Window, state: str, index: float) -> None:
    look = look_at_degradation(0.15, recent, BEFORE)
    assert look.state == state
    assert look.evidence["index"] == pytest.approx(index, abs=1e-6)


def test_half_again_as_slow_is_a_degradation_by_itself() -> None:
    look = look_at_degradation(0.15, window(latency=(100, 700.0)), BEFORE)
    assert look.state == "fires"
    assert "median latency" in look.reason
    assert "too little is known of success and score" in look.reason


@named(
    "recent",
    {"nothing": window(), "too little of all": window(success=(49, 0.0), score=(10, 0.0), latency=(99, 9000.0))},
)
def test_with_too_little_of_everything_degradation_cannot_be_told(recent: Window) -> None:
    look = look_at_degradation(0.15, recent, BEFORE)
    assert look.state == "cannot_tell"
    assert "50 units" in look.reason
    assert first_to_fire([look]) is None


def test_two_sources_are_never_compared_with_each_other() -> None:
    judged = window(score=(500, 0.2), source="judge")
    assert look_at_degradation(0.15, judged, BEFORE).state == "cannot_tell"
    both = Window(
        since=NOW, until=NOW, outcomes=RecentOutcomes(score={**judged.outcomes.score, "user": UnitMean(n=60, mean=0.8)})
    )
    assert look_at_degradation(0.15, both, BEFORE).state == "quiet"


# --- feedback ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "state"),
    [
        pytest.param((50, 0.499), "fires", id="enough and bad"),
        pytest.param((50, 0.5), "quiet", id="the limit itself is not below it"),
        pytest.param((49, 0.0), "cannot_tell", id="one too few"),
        pytest.param(None, "cannot_tell", id="none"),
    ],
)
def test_feedback_fires_in_volume_and_below_its_mean(found: tuple[int, float] | None, state: str) -> None:
    assert look_at_feedback(RULE, window(all=found)).state == state


# --- the schedule -----------------------------------------------------------------------------------------------------


NIGHT, MINUTELY = "0 3 * * *", "* * * * *"


@named(
    ("cron", "since", "now", "state", "said"),
    {
        "due": (NIGHT, "2026-11-20 02:58", "2026-11-20 03:03", "fires", "scheduled for 2026-11-20 03:00:00 UTC"),
        "done": (NIGHT, "2026-11-20 03:00", "2026-11-20 03:05", "quiet", "next at 2026-11-21 03:00:00 UTC"),
        "not yet": (NIGHT, "2026-11-20 02:54", "2026-11-20 02:59", "quiet", "next at 2026-11-20 03:00:00 UTC"),
        "three nights": (NIGHT, "2026-11-17 12:00", "2026-11-20 12:00", "fires", "2 later times passed before it"),
        "a year of minutes": (MINUTELY, "2026-01-01", "2026-11-20 12:00", "fires", "999 or more later times"),
        "the clock went back": (NIGHT, "2026-11-21", "2026-11-20 12:00", "quiet", "next at 2026-11-21 03:00:00 UTC"),
    },
)
def test_a_schedule_is_due_once_however_many_times_have_passed(cron, since, now, state, said):
    look = look_at_schedule(cron, since=at(since), now=at(now))
    assert look.state == state
    assert said in look.reason


@named(
    ("cron", "after", "expected"),
    {
        "a quarter": ("*/15 * * * *", "2026-11-20 15:45", "2026-11-20 16:00"),
        "leap day": ("0 0 29 2 *", "2026-11-20 00:00", "2028-02-29 00:00"),
        "seven is Sunday": ("0 12 * * 7", "2026-11-20 00:00", "2026-11-22 12:00"),
        "ranges of one": ("0-0 3-3/2 * * 5-5", "2026-11-20 04:00", "2026-11-27 03:00"),
        "day of month or weekday": ("0 3 1 * 1", "2026-11-20 00:00", "2026-11-23 03:00"),
        "strictly later": ("59 23 31 12 *", "2026-12-31 23:59", "2027-12-31 23:59"),
    },
)
def test_next_fire_is_the_first_full_minute_later(cron: str, after: str, expected: str) -> None:
    assert next_fire(cron, at(after)) == at(expected)


def test_fires_are_counted_up_to_and_with_the_end() -> None:
    assert count_fires("0 3 * * *", at("2026-11-18 03:00"), at("2026-11-20 03:00")) == 2


def test_a_day_that_never_comes_is_refused_when_the_file_is_read() -> None:
    with pytest.raises(ValueError, match="never fire"):
        check_cron("0 3 31 2 *")


# --- together ---------------------------------------------------------------------------------------------------------


@named(
    ("findings", "is_on", "state"),
    {
        "no student serves": ({}, True, "off"),
        "all is well": ({"st_1": []}, True, "quiet"),
        "one of two": ({"st_1": [], "st_2": ["bypassed, it lost too much"]}, True, "fires"),
        "switched off": ({"st_1": ["bypassed, it lost too much"]}, False, "off"),
    },
)
def test_a_student_that_something_speaks_against_fires(findings: dict[str, list[str]], is_on: bool, state: str) -> None:
    look = look_at_students(findings, is_on=is_on)
    assert look.state == state
    assert ("it lost too much" in look.reason) == (state == "fires")


def test_everything_that_fires_stands_in_the_reason_and_the_gravest_gives_the_name() -> None:
    looks = [
        Look(kind="schedule", state="fires", reason="scheduled"),
        Look(kind="feedback", state="quiet", reason="fine"),
        Look(kind="degradation", state="fires", reason="worse", evidence={"index": 0.2}),
    ]
    trigger = first_to_fire(looks)
    assert (trigger.kind, trigger.reason) == ("degradation", "worse; and scheduled")
    assert trigger.evidence == {"degradation": {"index": 0.2}, "schedule": {}}


def test_what_is_switched_off_says_so_and_never_fires() -> None:
    looks = [
        look_at_degradation(None, window(), BEFORE),
        look_at_feedback(None, window()),
        look_at_schedule(None, since=NOW, now=NOW),
    ]
    assert [look.state for look in looks] == ["off"] * 3
    assert sentences(looks) == ["degradation: off", "feedback: off", "schedule: off"]
    assert unless_answered(looks[0], ANSWERED, timedelta(hours=6), NOW) is looks[0]


def test_what_a_study_has_answered_is_quiet_and_says_until_when() -> None:
    fires = look_at_feedback(RULE, window(all=(60, 0.1)))
    look = unless_answered(fires, ANSWERED, timedelta(hours=6), NOW)
    assert look.state == "quiet"
    assert "st_1" in look.reason
    assert "2026-11-20 15:00:00 UTC" in look.reason
    assert unless_answered(fires, ANSWERED, timedelta(hours=6), NOW + timedelta(hours=6)) is fires
    assert unless_answered(fires, None, timedelta(hours=6), NOW) is fires
