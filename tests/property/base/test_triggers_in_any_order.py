"""Whatever happens in whatever order: no guard is passed, no time makes two studies, and no unit counts twice."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from optimizer.core.family.cron import check_cron, count_fires, next_fire
from optimizer.core.search.study import UNFINISHED, Study
from optimizer.jobs.rollouts.freeze import FreezeRequest, freeze, unfreeze
from tests.examples import n_examples
from tests.stores import FAMILY, NOW, arm, feedback, keep_events, minutes, new_database, temporary_database
from tests.worlds.contexts import context_of
from tests.worlds.study_world import topic_examples, topic_family
from tests.worlds.triggered_world import TriggeredWorld

NAMES = ("topics", "second", "third")
HOURLY = "0 * * * *"
ACTS = (
    *("check", "check", "wait a while", "wait for hours", "bad feedback", "one angry user"),
    *("freeze", "unfreeze", "a study ends", "a person starts one"),
)


class Families(TriggeredWorld):
    """Three families, at most two studies at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, schedule={"cron": HOURLY})
        first = self.family
        for name in NAMES[1:]:
            family = topic_family(name=name, schedule={"cron": HOURLY}, rollout={"gates": {"n": 20}})
            rows = [
                e
                for split, n in (("train", 9), ("dev", 6), ("holdout", 20))
                for e in topic_examples(n, split, family=name)
            ]
            self.store.write(lambda tx, rows=rows: self.store.examples.add(tx, rows))  # type: ignore[misc]
            self.family = family
            self.crown(family.variant())
            self.families.families[name] = family
        self.family = first
        self.begun = self.clock.at
        self.frozen = False

    def under_way(self) -> list[Study]:
        return [study for study in self.studies() if study.status in UNFINISHED]

    def do(self, act: str) -> list[Study]:
        if act == "check":
            before = self.under_way()
            started = self.check(max_studies=2)
            after = self.under_way()
            assert len(after) <= max(2, len(before))
            assert len({study.family for study in after}) == len(after)
            assert not (self.frozen and started)
            assert all(
                study.trigger is not None and study.budget.usd == 0.0 and study.budget.minutes == 30.0
                for study in started
            )
            return started
        acts: dict[str, Callable[[], object]] = {
            "wait a while": lambda: self.clock.pass_hours(0.1),
            "wait for hours": lambda: self.clock.pass_hours(5),
            "bad feedback": lambda: self.users(55, score=0.1, over_hours=0.1),
            "one angry user": lambda: self.users(120, score=0.0, over_hours=0.1, same_unit="angry"),
            "freeze": lambda: freeze(context_of(self.store, self.clock), FreezeRequest(family=None, reason="so")),
            "unfreeze": lambda: unfreeze(context_of(self.store, self.clock), FreezeRequest(family=None, reason="so")),
            "a study ends": lambda: [self.end(study) for study in self.under_way()[:1]],
            "a person starts one": lambda: (
                None if self.frozen or any(s.family == "topics" for s in self.under_way()) else self.create()
            ),
        }
        acts[act]()
        self.frozen = {"freeze": True, "unfreeze": False}.get(act, self.frozen)
        return []


@settings(max_examples=n_examples(4), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts=st.lists(st.sampled_from(ACTS), min_size=4, max_size=16))
def test_no_order_of_events_starts_more_than_the_guards_allow(acts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        new_database(Path(folder)).close()  # migrated already
        world = Families(Path(folder))
        started = [study for act in [*acts, "check"] for study in world.do(act)]
        for name in NAMES:
            own = [study for study in started if study.family == name and study.trigger is not None]
            scheduled = [study for study in own if study.trigger and "schedule" in study.trigger.evidence]
            assert len(scheduled) <= count_fires(HOURLY, world.begun, world.clock.at)
            fed = [study.created_at for study in own if study.trigger and "feedback" in study.trigger.evidence]
            assert all(later - earlier >= timedelta(hours=6) for earlier, later in pairwise(fed))
            assert all(
                study.trigger and study.trigger.evidence["feedback"]["n"] >= 50
                for study in own
                if "feedback" in study.trigger.evidence
            )
        world.store.close()


@settings(max_examples=n_examples(8), deadline=None)
@given(reports=st.lists(st.tuples(st.integers(0, 5), st.floats(0, 1, width=16)), max_size=30))
def test_each_unit_counts_once_with_its_mean(reports: list[tuple[int, float]]) -> None:
    rows = [
        feedback(f"fb_{i}", of=arm(unit_hmac=f"u{unit}"), success=None, score=score, received_at=minutes(i / 60))
        for i, (unit, score) in enumerate(reports)
    ]
    with temporary_database() as store:
        keep_events(store, rows)
        with store.read() as tx:
            found = store.traffic.outcomes(tx, FAMILY, "v_aaaaaaaaaaaa", NOW, minutes(60)).all
    by_unit: dict[int, list[float]] = {}
    for unit, score in reports:
        by_unit.setdefault(unit, []).append(score)
    means = [sum(scores) / len(scores) for scores in by_unit.values()]
    assert found.n == len(means)
    assert found.mean == (pytest.approx(sum(means) / len(means)) if means else None)


def _field(low: int, high: int) -> st.SearchStrategy[str]:
    numbers = st.integers(low, high)
    written = st.sampled_from(("{}", "{:02}"))
    ranges = st.tuples(numbers, numbers, written, written).map(
        lambda one: f"{one[2].format(min(one[:2]))}-{one[3].format(max(one[:2]))}"
    )
    one = (
        st.just("*")
        | st.tuples(numbers, written).map(lambda one: one[1].format(one[0]))
        | ranges
        | st.integers(1, high or 1).map(lambda step: f"*/{step}")
    )
    return st.lists(one, min_size=1, max_size=2).map(",".join)


def _values(text: str, high: int) -> set[int]:
    """What one cron field allows, by its definition."""
    allowed: set[int] = set()
    for item in text.split(","):
        body, _, step = item.partition("/")
        first, last = (0, high) if body == "*" else (int(body.partition("-")[0]), int(body.rpartition("-")[2]))
        allowed |= set(range(first, last + 1, int(step or 1)))
    return allowed


@settings(max_examples=n_examples(20), deadline=None)
@example(minute="05-5", hour="3", at=datetime(2026, 11, 20, 9))
@example(minute="0", hour="03-3", at=datetime(2026, 11, 20, 9))
@given(minute=_field(0, 59), hour=_field(0, 23), at=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)))
def test_the_next_time_is_the_first_minute_that_every_field_allows(minute: str, hour: str, at: datetime) -> None:
    line = check_cron(f"{minute} {hour} * * *")
    after = at.replace(tzinfo=UTC)
    start = after.replace(second=0, microsecond=0)
    minutes_allowed, hours_allowed = _values(minute, 59), _values(hour, 23)
    later = (start + timedelta(minutes=n) for n in range(1, 2 * 1440))
    assert next_fire(line, after) == next(t for t in later if t.minute in minutes_allowed and t.hour in hours_allowed)
