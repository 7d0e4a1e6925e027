"""Absolute limits of a champion: told soon when half of its requests fail,
almost never when it is well, and not again and again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import exp
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.minute_sums import MinuteSums
from optimizer.core.feedback.events import Interaction
from optimizer.core.rollout.champion_limits import (
    ChampionLimits,
    LimitCrossing,
    LimitedFigure,
    is_enough,
    limits_crossed,
    outcomes_alarm,
    silence_alarm,
)
from optimizer.core.serving.champion import first, next_tenure
from optimizer.jobs.champions.watch_limits import OUT_OF_LIMITS, watch_limits
from optimizer.jobs.feedback.roll_up_minutes import MINUTES, roll_up_minutes
from optimizer.ports import Alert
from tests.clock import Clock
from tests.rows.ingestion import family
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, minutes, new_database

LIMITS = ChampionLimits()
CHAMPION = "v_aaaaaaaaaaaa"
POLL = timedelta(seconds=20)  # how often the worker looks


def minute(at: float, n: int, failed: int = 0, latency_ms: float = 200.0, cost_usd: float | None = 0.001) -> MinuteSums:
    row = MinuteSums(family=FAMILY, minute=minutes(at), variant=CHAMPION)
    for i in range(n):
        row.add_interaction(failed=i < failed, latency_ms=latency_ms, cost_usd=cost_usd)
    return row


def outcomes(at: float, n: int) -> MinuteSums:
    row = MinuteSums(family=FAMILY, minute=minutes(at), variant=CHAMPION, source="user")
    for _ in range(n):
        row.add_outcome(success=True, score=None)
    return row


def counted(rows: Sequence[MinuteSums]) -> dict[datetime, int]:
    return {row.minute: row.n for row in rows}


def figures(
    rows: Sequence[MinuteSums], *before: LimitedFigure, until: float = 60, limits: ChampionLimits = LIMITS
) -> list[str]:
    return [one.figure for one in limits_crossed(rows, minutes(until), limits, before)]


class TestFigures:
    @pytest.mark.parametrize(
        ("rows", "told"),
        [
            pytest.param([minute(58, 49, failed=49)], [], id="too few"),
            pytest.param([minute(at, 5, failed=5) for at in range(0, 60, 6)], ["errors"], id="few in each minute"),
            pytest.param([minute(40, 500, failed=500), minute(59, 60)], [], id="old beside enough new ones"),
        ],
    )
    def test_the_newest_fifty_and_five_minutes_count(self, rows: list[MinuteSums], told: list[str]) -> None:
        assert figures(rows) == told

    def test_slow_and_dear_requests_are_told_of_too(self) -> None:
        rows = [minute(58, 60, latency_ms=9000.0, cost_usd=0.5)]
        latency, cost = limits_crossed(rows, minutes(60), LIMITS, ())
        assert (latency.figure, latency.level, cost.figure, cost.level) == ("latency", "warning", "cost", "warning")
        assert "100% of 60 requests took longer than 5,000 ms" in latency.detail
        assert "a request costs $0.50 on average of 60" in cost.detail

    @pytest.mark.parametrize("name", ["error_share", "p95_latency_ms", "cost_usd_per_call"])
    def test_a_limit_of_none_is_not_watched(self, name: str) -> None:
        rows = [minute(58, 60, failed=60, latency_ms=9000.0, cost_usd=0.5)]
        assert len(figures(rows)) == 3
        assert len(figures(rows, limits=ChampionLimits(**{name: None}))) == 2

    def test_what_nobody_measures_is_neither_told_nor_waited_for(self) -> None:
        rows = [minute(58, 60, cost_usd=None)]
        assert figures(rows) == []
        assert is_enough(rows, (900, 900, 0), is_open=False)
        assert not is_enough(rows, (900, 900, 0), is_open=True)
        assert not is_enough(rows, (900, 900, 1), is_open=False), "older minutes have a cost"
        assert is_enough([*rows, minute(57, 1)], (61, 61, 1), is_open=True), "the day has no more"

    def test_between_half_of_the_limit_and_the_limit_what_is_open_stays_open_and_nothing_is_raised(self) -> None:
        rows = [minute(58, 100, failed=8)]
        assert figures(rows) == []
        assert figures(rows, "errors") == ["errors"]
        assert figures([minute(58, 100, failed=5)], "errors") == []

    def test_what_is_open_has_to_be_well_for_fifteen_minutes(self) -> None:
        rows = [minute(50, 100, failed=50), minute(56, 150)]
        assert figures(rows) == []
        assert figures(rows, "errors") == ["errors"]
        assert figures(rows, "errors", until=66) == []

    def test_what_is_open_stays_open_while_there_are_too_few_requests_and_ends_when_there_are_none(self) -> None:
        (told,) = limits_crossed([minute(58, 20)], minutes(60), LIMITS, ["errors"])
        assert "too few to tell whether they are back" in told.detail
        assert figures([], "errors") == []


@pytest.mark.long
def test_the_minutes_before_a_pause_raise_all_that_a_whole_day_raises() -> None:
    """So that a day is read only where these raise an alarm: it can but show that the pause is usual."""
    drawn, seen = random.Random(5), set()

    def served(length: int, wide: int) -> list[int]:
        """Minutes but for three gaps, before the last hour and a quarter."""
        gaps = [drawn.randrange(length - 75 - wide) for _ in range(3)]
        return [at for at in range(length) if not any(gap <= at < gap + wide for gap in gaps)]

    for _ in range(150):
        length, pause = drawn.randint(120, 240), drawn.randint(1, 12)
        asked = [minute(at, drawn.randint(1, 12)) for at in served(length, drawn.choice([0, 14]))]
        told = [outcomes(at, 3) for at in served(length - pause, drawn.choice([0, 14]))]
        until = asked[-1].minute + pause * timedelta(minutes=1)
        shorter = [row for row in asked if row.minute >= asked[-1].minute - 10 * timedelta(minutes=1)]
        found = {"silence": tuple(silence_alarm(counted(rows), until, LIMITS) for rows in (shorter, asked))}
        hour = told[-1].minute - timedelta(hours=1)
        of_hour = [counted([row for row in rows if row.minute >= hour]) for rows in (asked, told)]
        of_day = [counted(rows) for rows in (asked, told)]
        found["outcomes"] = outcomes_alarm(*of_hour, until, LIMITS), outcomes_alarm(*of_day, until, LIMITS)
        seen |= {(figure, before is None, whole is None) for figure, (before, whole) in found.items()}
    assert seen == {
        (figure, *raised)
        for figure in ("silence", "outcomes")
        for raised in ((False, False), (False, True), (True, True))
    }


class TestMissingOutcomes:
    def missing(self, told: Sequence[MinuteSums], until: float, **limits: Any) -> LimitCrossing | None:
        asked = [minute(at, 20) for at in range(int(until))]
        return outcomes_alarm(counted(asked), counted(told), minutes(until), ChampionLimits(**limits))

    def test_it_says_how_many_requests_came_without_one(self) -> None:
        found = self.missing([outcomes(at, 10) for at in range(20)], 23)
        assert "no outcome has come since 09:20 UTC, though 60 requests have, of which 50% had one" in found.detail

    def test_few_outcomes_have_to_be_missed_for_longer(self) -> None:
        rare = [outcomes(at, 3) for at in range(20)]
        assert self.missing(rare, 24) is None
        assert self.missing(rare, 25) is not None

    @pytest.mark.parametrize(
        "told",
        [
            pytest.param([], id="none ever"),
            pytest.param([outcomes(9, 500)], id="one batch"),
            pytest.param([outcomes(at, 4) for at in range(10)], id="fewer than fifty"),
            pytest.param([outcomes(at, 100) for at in range(0, 200, 20)], id="usual stretches without any"),
        ],
    )
    def test_outcomes_that_were_not_steady_are_not_missed(self, told: list[MinuteSums]) -> None:
        assert self.missing(told, (told[-1].minute - NOW) / timedelta(minutes=1) + 15 if told else 15) is None


class TestSilence:
    def quiet(self, rows: Sequence[MinuteSums], until: float, **limits: Any) -> LimitCrossing | None:
        return silence_alarm(counted(rows), minutes(until), ChampionLimits(**limits))

    def test_no_request_for_two_minutes_after_ten_steady_ones_is_told(self) -> None:
        steady = [minute(at, 10) for at in range(10)]
        assert self.quiet(steady, 11) is None
        told = self.quiet(steady, 12)
        assert "no request has come since 09:10 UTC, after 10 a minute" in told.detail
        assert self.quiet([*steady, minute(12, 1)], 13) is None, "it came back"

    def test_slow_traffic_has_to_miss_as_many_requests_as_quick_one(self) -> None:
        slow = [minute(at, 5) for at in range(10)]
        assert self.quiet(slow, 12) is None, "ten requests missing"
        assert self.quiet(slow, 13) is not None

    @pytest.mark.parametrize(
        "rows",
        [
            pytest.param([minute(9, 500)], id="one burst"),
            pytest.param([minute(at, 4) for at in range(10)], id="fewer than fifty"),
            pytest.param([minute(at, 100) for at in range(0, 20, 2)], id="every other minute"),
        ],
    )
    def test_traffic_that_was_not_steady_has_no_silence(self, rows: list[MinuteSums]) -> None:
        assert self.quiet(rows, 40) is None

    def test_pauses_that_come_again_and_again_are_usual_and_a_longer_one_is_not(self) -> None:
        batches = [minute(60 * hour + at, 20) for hour in range(5) for at in range(12)]
        end = 60 * 4 + 12
        assert self.quiet(batches, end + 48) is None
        assert self.quiet(batches, end + 49) is not None

    def test_two_earlier_pauses_hide_no_third(self) -> None:
        rows = [minute(at, 20) for at in range(100) if not 20 <= at < 40 and not 60 <= at < 80]
        assert self.quiet(rows, 102) is not None


def test_without_its_limit_neither_silence_nor_missing_outcomes_are_told() -> None:
    steady, told = [minute(at, 20) for at in range(60)], [outcomes(at, 10) for at in range(20)]
    off = ChampionLimits(silence_minutes=None)
    assert silence_alarm(counted(steady), minutes(90), off) is None
    assert outcomes_alarm(counted(steady), counted(told), minutes(60), off) is None


class TestSimulated:
    """Minutes drawn at random and looked at one after the other, as the worker does."""

    @staticmethod
    def day(
        draw: random.Random, *, per_minute: float, errors: float, slow: float, n_minutes: int
    ) -> Iterator[MinuteSums]:
        for at in range(n_minutes):
            row = MinuteSums(family=FAMILY, minute=minutes(at), variant=CHAMPION)
            for _ in range(poisson(draw, per_minute)):
                latency = 9000.0 if draw.random() < slow else 900.0
                row.add_interaction(
                    failed=draw.random() < errors, latency_ms=latency, cost_usd=0.02 * draw.lognormvariate(-0.5, 1.0)
                )
            yield row

    def raised(self, seed: int, **traffic: Any) -> list[str]:
        """Every figure each time that it is raised anew."""
        rows, before, found = list[MinuteSums](), set[str](), list[str]()
        for row in self.day(random.Random(seed), **traffic):
            rows = [*rows[-60:], row]
            until = row.minute + timedelta(minutes=1)
            now = {one.figure for one in limits_crossed(rows, until, LIMITS, before)}  # type: ignore[arg-type]
            now |= {one.figure for one in [silence_alarm(counted(rows), until, LIMITS)] if one is not None}
            found += sorted(now - before)
            before = now
        return found

    def test_healthy_traffic_raises_nothing_in_days(self) -> None:
        assert self.raised(1, per_minute=6.0, errors=0.02, slow=0.01, n_minutes=24 * 60) == []

    def test_at_the_limit_it_is_told_of_rarely_and_does_not_come_and_go(self) -> None:
        raised = self.raised(2, per_minute=20.0, errors=0.10, slow=0.01, n_minutes=12 * 60)
        assert raised.count("errors") <= 1
        assert set(raised) <= {"errors"}

    @pytest.mark.parametrize("seed", range(5))
    def test_half_of_the_requests_failing_is_raised_at_the_first_look_at_fifty(self, seed: int) -> None:
        rows = list(self.day(random.Random(seed), per_minute=12.0, errors=0.5, slow=0.0, n_minutes=10))
        enough = next(i for i in range(1, 11) if sum(row.n for row in rows[:i]) >= 50)
        assert "errors" in figures(rows[:enough], until=enough)


def poisson(draw: random.Random, mean: float) -> int:
    """Knuth (1969), The Art of Computer Programming 2, 3.4.1."""
    n, product, edge = 0, draw.random(), exp(-mean)
    while product > edge:
        n, product = n + 1, product * draw.random()
    return n


# --- the worker's look, on a store ------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    """A fresh installation: a champion without any history."""
    database = new_database(tmp_path)
    promoted = first(family=FAMILY, variant=CHAMPION, by="ann", why="from the file", at=minutes(-1))
    database.write(lambda tx: database.champions.put(tx, promoted))
    yield database
    database.close()


def look(store: Database, clock: Clock) -> list[Alert]:
    """What the worker does every twenty seconds; the open alerts afterwards."""
    roll_up_minutes(store, clock)
    watch_limits(store, clock, {FAMILY: family()}, LIMITS)
    with store.read() as tx:
        return store.alerts.all(tx, open_only=True, kind=OUT_OF_LIMITS)


def request(i: int, at: datetime, *, failed: bool = False) -> Interaction:
    error = "upstream failed" if failed else None
    of = arm(rollout=None, variant=CHAMPION)
    return interaction(f"in_{i}", of=of, received_at=at, occurred_at=at, error=error)


def live(
    store: Database, clock: Clock, n_polls: int, per_poll: int, *, fails_every: int = 0, labelled: bool = False
) -> list[tuple[datetime, Alert]]:
    """So many polls with traffic in between; every alert with the time at which it was seen first."""
    seen: dict[str, tuple[datetime, Alert]] = {}
    n = 0
    for _ in range(n_polls):
        times = [clock.now() + POLL * (i + 1) / (per_poll + 1) for i in range(per_poll)]
        rows = [
            request(int(at.timestamp() * 1000), at, failed=bool(fails_every) and (n + i) % fails_every == 0)
            for i, at in enumerate(times)
        ]
        n += len(rows)
        told = [feedback(f"of {one.id}", of=one.arm, received_at=one.received_at) for one in rows if labelled]
        keep_events(store, [*rows, *told])
        clock.pass_time(POLL)
        for alert in look(store, clock):
            seen.setdefault(alert.id, (clock.now(), alert))
    return list(seen.values())


def test_half_of_the_first_requests_failing_is_told_once_in_five_minutes_and_clears_when_they_succeed(store):
    clock = Clock(NOW)
    ((at, alert),) = live(store, clock, n_polls=20, per_poll=5, fails_every=2)
    fiftieth = NOW + 10 * POLL
    assert at - fiftieth <= timedelta(minutes=5)
    assert (alert.level, alert.subject) == ("critical", f"{CHAMPION} errors")
    assert f"Champion {CHAMPION} of {FAMILY}: " in alert.detail
    assert "detent champion rollback" not in alert.detail, "there is no champion before"
    assert live(store, clock, n_polls=50, per_poll=5)[1:] == []
    assert look(store, clock) == []


@pytest.mark.parametrize(("per_poll", "subject"), [(0, "silence"), (4, "outcomes")])
def test_what_stops_coming_is_told_within_five_minutes_and_cleared_when_it_comes_again(
    store: Database, per_poll: int, subject: str
) -> None:
    """Outcomes that stop with the requests are a silence alone."""
    clock = Clock(NOW)
    assert live(store, clock, n_polls=33, per_poll=4, labelled=True) == []
    stopped = clock.now()
    ((at, alert),) = live(store, clock, n_polls=16, per_poll=per_poll)
    assert at - stopped <= timedelta(minutes=5)
    assert (alert.level, alert.subject) == ("warning", subject)
    live(store, clock, n_polls=6, per_poll=4, labelled=True)
    assert look(store, clock) == []


def test_while_nothing_is_summed_up_nothing_is_told(store: Database) -> None:
    clock = Clock(NOW)
    live(store, clock, n_polls=33, per_poll=4)
    clock.pass_time(timedelta(hours=1))
    assert watch_limits(store, clock, {FAMILY: family()}, LIMITS) == [], "a worker that was away is not a silence"


def test_a_family_decides_by_its_own_constraints_what_is_slow_and_dear(store: Database) -> None:
    clock = Clock(NOW)
    live(store, clock, n_polls=15, per_poll=5)
    own = family()
    strict = own.model_copy(update={"constraints": own.constraints.model_copy(update={"p95_latency_ms": 10.0})})
    (alert,) = watch_limits(store, clock, {FAMILY: strict}, LIMITS)
    assert alert.subject == f"{CHAMPION} latency"


def judged(store: Database, rows: Sequence[MinuteSums], until: float) -> list[str]:
    """What is open after a look at that minute, where the sums hold these rows."""
    store.write(lambda tx: store.minute_stats.put(tx, rows))
    store.write(lambda tx: store.minute_stats.set_watermark(tx, MINUTES, minutes(until)))
    watch_limits(store, Clock(minutes(until)), {FAMILY: family()}, LIMITS)
    with store.read() as tx:
        return [alert.subject for alert in store.alerts.all(tx, open_only=True, kind=OUT_OF_LIMITS)]


def test_few_failures_at_a_time_are_told_and_stay_told_through_a_quiet_hour(store: Database) -> None:
    failing = [minute(at, 3, failed=3) for at in range(60)]
    assert judged(store, failing, 60) == [f"{CHAMPION} errors"], "45 a quarter of an hour, 180 in two hours"
    assert judged(store, [], 120) == [f"{CHAMPION} errors"]
    assert judged(store, [minute(at, 3) for at in range(120, 300)], 300) == []


def test_a_figure_that_is_seldom_measured_stays_told_between_two_of_its_requests(store: Database) -> None:
    rows = [minute(at, 20, cost_usd=None) for at in range(1200)] + [
        minute(at, 1, cost_usd=5.0) for at in range(0, 1200, 20)
    ]
    merged: dict[datetime, MinuteSums] = {}
    for row in rows:
        if merged.setdefault(row.minute, row) is not row:
            merged[row.minute].add(row)
    store.write(lambda tx: store.minute_stats.put(tx, list(merged.values())))
    assert [judged(store, [], until) for until in (1182, 1190, 1199)] == [[f"{CHAMPION} cost"]] * 3


def test_a_new_champion_ends_what_was_told_of_the_one_before_and_starts_without_its_minutes(store: Database) -> None:
    clock = Clock(NOW)
    assert live(store, clock, n_polls=15, per_poll=5, fails_every=2)
    with store.read() as tx:
        tenure = store.champions.current(tx, FAMILY)
    after = next_tenure(tenure, variant="v_bbbbbbbbbbbb", by="ann", why="better", at=clock.now(), forced=False)
    store.write(lambda tx: store.champions.put(tx, after))
    assert look(store, clock) == []
