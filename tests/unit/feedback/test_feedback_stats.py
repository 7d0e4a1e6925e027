"""How a family's figures moved: by hour, by day, and per model over a time."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from optimizer.adapters.store import Database
from optimizer.core.base.answers import members_of
from optimizer.core.base.errors import InvalidInput
from optimizer.jobs.champions.read_stats import (
    By,
    FamiliesStatsRequest,
    FamilyRow,
    StatsRequest,
    StatsRow,
    read_stats,
    read_stats_of_families,
)
from optimizer.jobs.context import Context
from optimizer.jobs.feedback.roll_up_minutes import roll_up_minutes, roll_up_performance
from optimizer.jobs.request import Request
from tests.clock import Clock
from tests.command_line import detent
from tests.stores import FAMILY, NOW, arm, feedback, interaction, keep_events, minutes
from tests.worlds.api_world import make_home
from tests.worlds.contexts import context_of

LATER = Clock(NOW + timedelta(hours=3))


def context_in(database: Database, clock: Clock = LATER) -> Context:
    return context_of(database, clock, family=lambda name: None)


def told(database: Database, by: By, **asked: Any) -> list[tuple[Any, ...]]:
    """(hours since NOW, variant, model, interactions, errors, labelled, successes) of each row."""
    roll_up_minutes(database, LATER)
    roll_up_performance(store=database, clock=LATER)
    stats = read_stats(context_in(database), StatsRequest(family=FAMILY, by=by, **asked))
    names = ("variant", "model", "n_interactions", "n_errors", "n_labelled", "n_success")
    return [
        (row.start and (row.start - NOW) / timedelta(hours=1), *(getattr(row, name) for name in names))
        for row in stats.items
    ]


@pytest.fixture
def traffic(database: Database) -> Database:
    """Variant a worked at noon with one model, failed an hour later with another, and b has an outcome of no model."""
    rows = [
        interaction("in_1", model="m", received_at=minutes(1)),
        interaction("in_2", model="m", received_at=minutes(2)),
        interaction("in_3", model="n", received_at=minutes(61), error="down"),
        feedback("fb_1", interaction="in_1", success=True, received_at=minutes(70)),
        feedback("fb_2", interaction="in_2", success=False, received_at=minutes(5)),
        feedback("fb_3", of=arm(variant="v_b"), success=True, received_at=minutes(5)),
        interaction("in_4", of=arm(family="other"), received_at=minutes(1)),
    ]
    keep_events(database, rows)
    return database


A, B = "v_aaaaaaaaaaaa", "v_b"


def test_by_hour_each_variant_and_model_has_a_row_per_hour_of_receipt(traffic: Database) -> None:
    assert told(traffic, "hour") == [
        (0, A, "m", 2, 0, 1, 0),
        (0, B, None, 0, 0, 1, 1),
        (1, A, "m", 0, 0, 1, 1),
        (1, A, "n", 1, 1, 0, 0),
    ]


def test_by_model_the_whole_time_is_one_row(traffic: Database) -> None:
    of_n, of_b = (None, A, "n", 1, 1, 0, 0), (None, B, None, 0, 0, 1, 1)
    assert told(traffic, "model") == [(None, A, "m", 2, 0, 2, 1), of_n, of_b]
    assert told(traffic, "model", since=minutes(60)) == [(None, A, "m", 0, 0, 1, 1), (None, A, "n", 1, 1, 0, 0)]
    assert told(traffic, "model", until=minutes(2)) == [(None, A, "m", 1, 0, 0, 0)]


def test_by_day_sums_of_days_are_read(traffic: Database) -> None:
    midnight = -(NOW - NOW.replace(hour=0, minute=0)) / timedelta(hours=1)
    assert told(traffic, "day") == [
        (midnight, A, "m", 2, 0, 2, 1),
        (midnight, A, "n", 1, 1, 0, 0),
        (midnight, B, None, 0, 0, 1, 1),
    ]
    assert told(traffic, "day", until=NOW - timedelta(days=1)) == []


def test_days_on_which_no_worker_ran_are_summed_up_when_one_runs_again(database: Database) -> None:
    roll_up_performance(store=database, clock=Clock(NOW))
    keep_events(database, [interaction("in_1", received_at=NOW + timedelta(hours=1))])
    days = roll_up_performance(store=database, clock=Clock(NOW + timedelta(days=4)))
    assert len(days) == 5
    stats = read_stats(context_in(database, Clock(NOW + timedelta(days=4))), StatsRequest(family=FAMILY, by="day"))
    assert [row.n_interactions for row in stats.items] == [1]


@pytest.mark.parametrize(
    ("by", "days"), [("hour", 8), ("model", 32), ("day", 4000)], ids=["a week by hour", "a month by model", "ever"]
)
def test_a_time_too_long_to_read_at_once_is_refused(database: Database, by: By, days: int) -> None:
    asked = StatsRequest(family=FAMILY, by=by, since=NOW - timedelta(days=days), until=NOW)
    with pytest.raises(InvalidInput, match="at most"):
        read_stats(context_in(database), asked)


@pytest.fixture
def triage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_home(tmp_path)
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))


@pytest.mark.usefixtures("triage")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--by", "week"], "none of hour, day, model"),
        (["--since", "lately"], "--since needs a time such as"),
        (["--since", "1h", "--until", "2h"], "does not lie before"),
        (["--by", "day", "--rollout", "ro_1"], "leave out"),
    ],
)
def test_the_command_says_which_times_it_takes(words: list[str], told: str) -> None:
    ran = detent("feedback", "stats", "triage", *words)
    assert (ran.code, told in ran.err) == (2, True), ran.err


@pytest.mark.usefixtures("triage")
def test_the_command_shows_the_same() -> None:
    ran = detent("feedback", "stats", "triage", "--since", "7d", "--json")
    assert (ran.code, ran.json["by"], ran.json["items"], ran.json["summed_until"]) == (0, "day", [], None)
    assert "Nothing of triage was received" in detent("feedback", "stats", "triage", "--by", "hour").err


def test_several_families_are_read_at_once_and_told_as_each_alone(traffic: Database) -> None:
    roll_up_minutes(traffic, LATER)
    roll_up_performance(store=traffic, clock=LATER)
    names = [FAMILY, "other"]
    files = SimpleNamespace(families={name: SimpleNamespace(name=name) for name in names}, problems={})
    context = context_of(traffic, LATER, families=lambda: files)
    for by in ("hour", "day"):
        together = read_stats_of_families(context, FamiliesStatsRequest(families=",".join(names), by=by))  # type: ignore[arg-type]
        assert {row.family for row in together.items} == set(names)
        for name in names:
            own = [row for row in together.items if row.family == name]
            alone = read_stats(context_in(traffic), StatsRequest(family=name, by=by))  # type: ignore[arg-type]
            assert [without_name(row) for row in own] == list(alone.items)
            assert (together.summed_until, together.until) == (alone.summed_until, LATER.now())


def without_name(row: FamilyRow) -> StatsRow:
    return StatsRow(**{name: value for name, value in members_of(row).items() if name != "family"})


@pytest.mark.parametrize(
    "asked",
    [
        {"families": ",".join(f"f{i}" for i in range(101))},
        {"families": FAMILY, "since": NOW - timedelta(days=2)},
        {"families": FAMILY, "by": "day", "since": NOW - timedelta(days=40)},
        {"families": FAMILY, "since": NOW + timedelta(days=2)},
    ],
)
def test_more_than_is_read_at_once_is_refused(traffic: Database, asked: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="at once"):
        read_stats_of_families(context_in(traffic), FamiliesStatsRequest(**asked))


@pytest.mark.parametrize("asked", [StatsRequest(family=FAMILY), FamiliesStatsRequest(families=FAMILY)])
def test_a_time_that_no_calendar_has_in_utc_is_refused(asked: Request) -> None:
    with pytest.raises(ValidationError, match="before 9999"):
        type(asked).model_validate({**asked.model_dump(), "since": "0001-01-01T00:00:00+14:00"})
