"""What a switch's watch computes: told early where it may be, silent between equals, at equal age."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import switches

from optimizer.core.family.settings import Metric
from optimizer.core.rollout.switch_watch import (
    MOST_LATE,
    STORED_SWITCH_WATCH,
    ComparedOutcome,
    Reference,
    ServedOutcome,
    SwitchWatch,
    UnitSample,
    WindowComparison,
    reference_of,
)
from optimizer.core.serving.champion import fall_back, first, next_tenure
from optimizer.core.serving.rollout import Champion
from optimizer.core.statistics.outcomes import Block, Outcomes
from tests.cases import named
from tests.clock import T0

OLD, NEW = "v_aaaaaaaaaaaa", "v_bbbbbbbbbbbb"
DAY = timedelta(days=1)


def tenures(*, served_for: timedelta) -> list[Champion]:
    """The new champion serves since T0, in place of one that had so long."""
    before = first(family="f", variant=OLD, at=T0 - served_for, by="ann", why="first")
    after = next_tenure(before, variant=NEW, at=T0, by="ann", why="adopted", forced=True)
    return [before, after]


def begun(served_for: timedelta = 15 * DAY, **changes: Any) -> SwitchWatch:
    history, usual = tenures(served_for=served_for), {"first_at": T0 - served_for, "rollout": "ro_1"}
    return SwitchWatch.begin(history[-1], history, metric=Metric(), mean=0.85, **{**usual, **changes})


def served(variant: str, unit: str, value: float, *, at_s: float, age_s: float | None = 1.0, **more: Any) -> Any:
    received = T0 + timedelta(seconds=at_s)
    served_at = None if age_s is None else received - timedelta(seconds=age_s)
    return ServedOutcome(
        **{"received_at": received, "served_at": served_at, "unit": unit, "value": value, "variant": variant},
        **{"role": "champion", "rollout": "ro_1", **more},
    )


def earlier(one: ServedOutcome, by: timedelta, **changes: Any) -> ServedOutcome:
    """The same so much before."""
    assert one.served_at is not None
    return replace(one, received_at=one.received_at - by, served_at=one.served_at - by, **changes)


@named(
    ("served_for", "first_at", "wanted"),
    {
        "weeks": (29 * DAY, 29 * DAY, Reference(period=7 * DAY, times=4, min_drop=0.05)),
        "one week": (8 * DAY, 8 * DAY, Reference(period=7 * DAY, times=1, min_drop=0.05)),
        "a day": (8 * DAY, 2 * DAY, Reference(period=DAY, times=1, min_drop=0.10)),
        "hours": (DAY / 2, DAY / 2, Reference(period=timedelta(hours=2), times=1, min_drop=0.10)),
        "half an hour": (DAY, DAY / 48, Reference(period=timedelta(minutes=30), times=1, min_drop=0.10)),
        "minutes": (timedelta(minutes=9), timedelta(minutes=9), None),
        "no outcome": (8 * DAY, None, None),
    },
)
def test_the_reference_is_the_longest_that_the_champion_before_had_outcomes_in(served_for, first_at, wanted):
    history = tenures(served_for=served_for)
    assert reference_of(history, history[-1], None if first_at is None else T0 - first_at) == wanted


def test_a_week_in_which_another_variant_was_champion_is_no_reference() -> None:
    old = first(family="f", variant=OLD, at=T0 - 20 * DAY, by="ann", why="first")
    other = next_tenure(old, variant="v_other", at=T0 - 10 * DAY, by="ann", why="x", forced=True)
    back = fall_back([old, other], expect=None, at=T0 - 2 * DAY, by="ann", why="back")
    new = next_tenure(back, variant=NEW, at=T0, by="ann", why="adopted", forced=True)
    reference = reference_of([old, other, back, new], new, T0 - 20 * DAY)
    assert reference.period == DAY


def test_who_has_not_had_the_time_of_a_horizon_is_not_compared_in_it() -> None:
    """Units served at second 0 to 10: those of the first minute's horizon are known at second 70."""
    comparison = WindowComparison.start("holdback", 60.0, 0.03, 0.85)
    outcomes = [
        ComparedOutcome(is_new=i % 2 == 0, value=float(i % 3 > 0), served=i / 5, age_s=age)
        for i in range(40)
        for age in (5.0, 80.0)
    ]
    waiting = comparison.after(outcomes, 69.9, 0, "binary")
    assert (waiting.new.n, waiting.old.n) == (0, 0)
    ready = waiting.after([], 70.0, 0, "binary")
    assert (ready.new.n, ready.old.n) == (20, 20)  # the late ones are beyond the horizon


def test_bad_news_that_comes_first_is_no_drop() -> None:
    """Both sides are equal: bad outcomes come at once, good ones after five minutes."""
    draw, watch, units = random.Random(1), begun(rollout=None), UnitSample()
    for minute in range(30):
        now, before = [], []
        for i in range(100):
            for variant, found in ((NEW, now), (OLD, before)):
                good = draw.random() < 0.85
                at_s, age_s = 60 * (minute + draw.random()), 300.0 if good else 1.0
                one = served(variant, f"{variant}{minute}-{i}", float(good), at_s=at_s, age_s=age_s)
                if variant == OLD:
                    found.append((7 * DAY, earlier(one, 7 * DAY)))
                elif one.served_at >= T0:
                    found.append(one)
        watch = watch.after(now, before, T0 + timedelta(minutes=minute + 1), units)
    assert watch.alarm is None
    assert max(one.new.n for one in watch.comparisons) > 1000


WEEKS = (timedelta(), *(7 * k * DAY for k in range(1, 5)))  # that of the switch, and four before it


def week_of(draw: random.Random, shift: timedelta, variant: str, n: int, days: int) -> list[ServedOutcome]:
    """``n`` users who come every day and are mostly unhappy, and as many a day who come once and are mostly happy."""
    found = []
    for day in range(days):
        for i in range(n):
            for unit, mean in ((f"daily-{i}", 0.5), (f"{shift.days}-{day}-{i}", 0.9)):
                at_s = 86_400 * (day + draw.random())
                one = served(variant, unit, float(draw.random() < mean), at_s=at_s)
                if one.served_at >= T0:
                    found.append(earlier(one, shift))
    return sorted(found, key=lambda one: one.received_at)


def watched(watch: SwitchWatch, weeks: dict[timedelta, list[ServedOutcome]], days: int) -> SwitchWatch:
    """Hour by hour, to the end or to an alarm."""
    units, places = UnitSample(), dict.fromkeys(weeks, 0)
    for hour in range(1, 24 * days + 1):
        until = T0 + timedelta(hours=hour)
        stretches: dict[timedelta, list[ServedOutcome]] = {}
        for shift, outcomes in weeks.items():
            begin = places[shift]
            while places[shift] < len(outcomes) and outcomes[places[shift]].received_at < until - shift:
                places[shift] += 1
            stretches[shift] = outcomes[begin : places[shift]]
        now = stretches.pop(timedelta())
        watch = watch.after(now, [(shift, one) for shift, found in stretches.items() for one in found], until, units)
    return watch


def test_users_who_come_back_weigh_as_much_in_the_weeks_before_as_after_the_switch() -> None:
    """Equal champions: in each week everybody counts once, so that a daily user is one of four in the reference."""
    draw = random.Random(0)
    weeks = {shift: week_of(draw, shift, OLD if shift else NEW, 400, 3) for shift in WEEKS}
    watch = watched(begun(29 * DAY, rollout=None), weeks, 3)
    assert watch.alarm is None
    old, new = (max(getattr(one, side).n for one in watch.comparisons) for side in ("old", "new"))
    assert old > 3.9 * new > 5_000


def test_a_unit_counts_once_however_often_it_comes_back() -> None:
    watch, units = begun(), UnitSample()
    for minute in range(5):
        now = [served(NEW, "somebody", 0.0, at_s=60 * minute + 30 + i) for i in range(20)]
        watch = watch.after(now, [], T0 + timedelta(minutes=minute + 1), units)
    counted = [
        sum(block.candidate.n for block in one.open.values()) + (one.pending.candidate.n if one.pending else 0)
        for one in watch.comparisons
        if one.horizon_s
    ]
    assert set(counted) == {1}


@pytest.mark.parametrize(
    ("variant", "at_s", "counts"),
    [(OLD, 1.0, True), ("v_other", 1.0, False), ("v_other", -60.0, True)],
    ids=["of the champion before", "of another", "of another, before this week"],
)
def test_who_was_served_something_else_first_is_not_new_in_that_week(variant: str, at_s: float, counts: bool) -> None:
    """Where another champion served at first in a week, a daily user would count later in it than since the switch."""
    first_of_week, later = (
        earlier(one, 7 * DAY)
        for one in (served(variant, "a", 1.0, at_s=at_s + 30, age_s=30.0), served(OLD, "a", 1.0, at_s=120))
    )
    watch, week = begun(rollout=None), 7 * DAY
    found = watch.after([], [(week, first_of_week), (week, later)], T0 + timedelta(minutes=3), UnitSample())
    assert (found.comparisons != watch.comparisons) is counts


def test_units_of_all_stretches_are_thinned_alike() -> None:
    """At a limit of its own, each side of a block would show other hours of it."""
    sample, shifts = UnitSample(most=64), (timedelta(), DAY)
    for i in range(500):
        sample.admit(f"u{i}", shifts[i % 5 == 0])
    admitted = [{f"n{i}" for i in range(500) if sample.admit(f"n{i}", shift)} for shift in shifts]
    assert 0 < len(admitted[0]) < 100
    assert admitted[1] <= admitted[0]


def test_late_outcomes_of_the_candidate_it_was_and_of_the_champion_before_are_on_no_side() -> None:
    watch, units = begun(), UnitSample()
    now = [
        served(NEW, "a", 1.0, at_s=30, age_s=60.0),
        served(NEW, "b", 1.0, at_s=30, age_s=None, role="candidate"),
        served(OLD, "c", 1.0, at_s=30, age_s=60.0),
        served(OLD, "d", 1.0, at_s=30, role="holdback", rollout="ro_of_before"),
    ]
    assert watch.after(now, [], T0 + timedelta(minutes=1), units).comparisons == watch.comparisons


@pytest.mark.parametrize("n_late", [0, 40], ids=["none comes from before", "many still come from before"])
def test_outcomes_of_unknown_age_count_once_nearly_none_comes_from_before_the_switch(n_late: int) -> None:
    comparison = WindowComparison.start("before", None, 0.05, 0.85)
    outcomes = [ComparedOutcome(is_new=i % 2 == 0, value=1.0, served=1.0, age_s=None) for i in range(80)]
    found = comparison.after(outcomes, 10.0, n_late, "binary")
    assert found.new.n == (40 if n_late <= MOST_LATE * 40 else 0)


def test_the_state_survives_as_json_with_every_digit() -> None:
    watch, units, draw = begun(), UnitSample(), random.Random(2)
    for minute in range(8):
        now = [served(NEW, f"{minute}-{i}", float(draw.random() < 0.8), at_s=60 * minute + i) for i in range(50)]
        now += [
            served(OLD, f"h{minute}-{i}", float(draw.random() < 0.8), at_s=60 * minute + i, role="holdback")
            for i in range(5)
        ]
        watch = watch.after(now, [], T0 + timedelta(minutes=minute + 1), units)
    kept = json.dumps(STORED_SWITCH_WATCH.dump_python(watch, mode="json"))
    assert STORED_SWITCH_WATCH.validate_python(json.loads(kept)) == watch
    assert any(one.evidence.log_e != 0 for one in watch.comparisons)


def test_a_score_that_falls_is_told_like_a_success_that_does() -> None:
    draw = random.Random(3)
    watch = replace(begun(rollout=None), metric=Metric(field="score", source="judge"))
    units = UnitSample()
    for minute in range(60):
        now = [served(NEW, f"{minute}-{i}", draw.betavariate(6, 4), at_s=60 * minute + 30 + i) for i in range(20)]
        before = [(7 * DAY, earlier(one, 7 * DAY, variant=OLD, value=draw.betavariate(8, 2))) for one in now]
        watch = watch.after(now, before, T0 + timedelta(minutes=minute + 1), units)
    assert watch.alarm is not None


def test_a_sample_of_units_does_not_depend_on_their_order() -> None:
    units = [f"u{i}" for i in range(500)]
    samples = []
    for seed in range(2):
        random.Random(seed).shuffle(units)
        sample = UnitSample(most=64)
        for unit in units:
            sample.admit(unit, timedelta(days=len(unit)))
        samples.append({unit for unit in units if not sample.admit(unit, timedelta(days=len(unit)))})
    assert samples[0] == samples[1]


# --- the simulation ---------------------------------------------------------------------------------------------------


def test_the_simulation_computes_what_the_product_computes() -> None:
    rng = np.random.default_rng(4)
    tests = switches.Tests(3, 0.05, 0.85)
    product = [WindowComparison.start("before", 60.0, 0.05, 0.85)] * 3
    for _ in range(200):
        n = rng.integers(0, 12, (2, 3))
        k = rng.binomial(n, [[0.6], [0.85]])
        tests.look(np.stack([n[0], k[0], n[1], k[1]]).astype(float))
        for run in range(3):
            new, old = (Outcomes.binary(int(n[side, run]), int(k[side, run])) for side in (0, 1))
            block = Block(stage=0, candidate=new, champion=old)
            product[run] = product[run]._closed(block, 0, "binary")
    assert tests.peak == pytest.approx([one.evidence.peak for one in product], rel=1e-9)
    assert tests.peak.max() > 5


def test_equal_champions_of_a_seeded_week_are_not_called_worse() -> None:
    told = switches.simulate(switches.World(rng=np.random.default_rng(5), runs=8, per_minute=60), fine_s=60.0)
    assert not np.isfinite([told.holdback_s, told.before_s]).any()


def test_a_drop_of_fifty_points_at_twelve_requests_a_second_is_told_within_ten_minutes() -> None:
    told = switches.simulate(switches.World(rng=np.random.default_rng(6), runs=10, per_minute=720, drop=0.5))
    assert np.quantile(told.before_s, 0.9, method="higher") < 600
    assert np.quantile(told.holdback_s, 0.5, method="higher") < 600
