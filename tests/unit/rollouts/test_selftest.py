"""The self-test over recorded traffic that was made to order: it ships what is equal, and not what is worse."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import inspect, text

from optimizer.adapters.store import Database
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.feedback.events import Arm, FeedbackEvent, Interaction
from optimizer.core.forecast.selftest import Ending, Run, SelftestReport, cell_of, summary_of
from optimizer.core.statistics.interval import wilson_interval
from optimizer.jobs.families.sync_families import sync_families
from optimizer.jobs.rollouts.selftest import SelftestRequest, run_selftest as run
from tests.clock import Clock
from tests.stores import NOW, keep_events, new_database

F = "summarization"


def family(**rollout: object) -> Family:
    usual = {
        "ladder": [0.5],
        "margin": 0.15,
        "min_labelled_per_stage": 40,
        "min_duration_hours": 1,
        "feedback_window": {"hours": 1.0},
        "guardrails": {"min_history": 50},
    }
    return parse_family(
        {
            "name": F,
            "inputs": {"document": {"type": "text"}},
            "prompt": {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{document}}"}]}}},
            "rollout": {**usual, **rollout},
        }
    )


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Database]:
    database = new_database(tmp_path)
    sync_families({F: family()}, database, clock)
    yield database
    database.close()


def record(store: Database, *, units: int, labelled: int, hours: float = 48.0) -> None:
    """One request per unit, evenly over the hours before now;
    ``labelled`` of them with an outcome, four of five good.
    """
    with store.read() as tx:
        champion = store.champions.current(tx, F)
    draw, interactions, events = Random(7), [], []
    for n in range(units):
        at = NOW - timedelta(hours=hours) * (1 - n / units)
        arm = Arm(family=F, variant=champion.variant, unit_hmac=f"unit {n}")
        usual = {"occurred_at": at, "received_at": at, "content_hash": ""}
        interactions.append(Interaction(id=f"in_{n}", arm=arm, latency_ms=draw.lognormvariate(5, 0.5), **usual))
        if n < labelled:
            events.append(FeedbackEvent(id=f"fb_{n}", arm=arm, source="user", success=draw.random() < 0.8, **usual))
    keep_events(store, [*interactions, *events])


def contents(store: Database) -> dict[str, int]:
    with store.read() as tx:
        names = inspect(tx).get_table_names()
        return {name: tx.execute(text(f"SELECT COUNT(*) FROM {name}")).scalar_one() for name in names}


def run_selftest(
    family: Family, *, store: Database, clock: Clock, progress: Any = None, **given: Any
) -> SelftestReport:
    return run(family, SelftestRequest(family=family.name, **given), store=store, clock=clock, progress=progress)


def test_an_equal_candidate_ships_and_a_much_worse_one_does_not(store: Database, clock: Clock) -> None:
    record(store, units=1_200, labelled=1_200)
    before = contents(store)
    told: list[tuple[int, int]] = []
    found = run_selftest(
        family(), store=store, clock=clock, runs=1, injected_drop=0.5, progress=lambda *one: told.append(one)
    )
    equal, worse = found.cells
    assert found.verdict == "done"
    assert (equal.n_runs, equal.endings["shipped"].n, equal.drop) == (1, 1, 0.0)
    assert (worse.endings["rolled_back"].n, worse.endings["shipped"].n) == (1, 0)
    assert worse.drop == pytest.approx(0.4, abs=0.02)
    assert 40 <= worse.mean_labelled < 1_200
    assert told == [(done, 2) for done in range(1, 3)]
    assert "An equal candidate would have been rolled back in 0 of 1 runs" in found.summary
    assert contents(store) == before


def test_the_same_seed_deals_the_same_units(store: Database, clock: Clock) -> None:
    record(store, units=200, labelled=200)
    first, again, other = (run_selftest(family(), store=store, clock=clock, runs=1, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.cells != other.cells


@pytest.mark.parametrize(
    ("units", "labelled", "needs", "said"),
    [
        (
            300,
            12,
            {"min_labelled_per_stage": 200},
            "12 units with feedback (success by user) in 30 days; a stage needs 200 labels",
        ),
        (
            60,
            60,
            {"guardrails": {"min_history": 500}},
            "60 reported requests in 30 days; the guardrails need 500 to know what is usual",
        ),
    ],
    ids=["labels", "requests"],
)
def test_too_little_traffic_is_its_own_answer(
    store: Database, clock: Clock, units: int, labelled: int, needs: dict[str, Any], said: str
) -> None:
    record(store, units=units, labelled=labelled)
    found = run_selftest(family(**needs), store=store, clock=clock)
    assert (found.verdict, found.cells, found.summary) == ("cannot_tell", (), f"Cannot tell: {said}.")


def test_a_record_that_ends_first_is_no_verdict(store: Database, clock: Clock) -> None:
    record(store, units=100, labelled=100)
    found = run_selftest(family(margin=0.01), store=store, clock=clock, runs=2, injected_drop=0.01)
    assert found.cells[0].endings["unfinished"].n == 2
    assert "Cannot tell for an equal candidate, which would have been rolled back in 0 of 2 runs" in found.summary
    assert (found.cells[0].mean_labelled, found.cells[0].mean_hours) == (None, None)


def test_it_stops_beginning_runs_when_its_minutes_are_over(store: Database, clock: Clock) -> None:
    record(store, units=100, labelled=100)

    def pass_a_minute(*told: int) -> None:
        clock.pass_time(timedelta(minutes=1))

    found = run_selftest(family(), store=store, clock=clock, runs=5, minutes=1.5, progress=pass_a_minute)
    assert found.cells[0].n_runs == 1
    assert "Stopped after 1 of 5 runs of each kind" in found.summary


def test_a_run_that_did_not_end_may_end_either_way() -> None:
    def summary(ending: Ending, n: int, *, drop: float) -> str:
        ends: tuple[Ending, ...] = (*[ending] * n, *["unfinished"] * (100 - n))
        runs = [Run(ending=one, labelled=900, hours=700.0) for one in ends]
        return summary_of([cell_of(runs, injected=drop / 0.8, drop=drop)], margin=0.05)

    assert summary("inconclusive", 3, drop=0.0) == (
        "Cannot tell for an equal candidate, which would have been rolled back in 0 of 100 runs (0.0 to 99.0 %; at most"
        " 5 in 100 are promised); in 97 runs the record ended first."
    )
    assert summary("shipped", 3, drop=0.08).startswith("Cannot tell for a candidate worse by 8.0 points")
    assert summary("inconclusive", 96, drop=0.0).startswith("An equal candidate would have been rolled back in 0 of")
    assert summary("rolled_back", 6, drop=0.0).startswith("An equal candidate would have been rolled back in 6 of")


def test_intervals_of_shares_are_wilsons() -> None:
    found = wilson_interval(8, 10)
    assert (found.lower, found.upper) == (pytest.approx(0.490, abs=5e-4), pytest.approx(0.943, abs=5e-4))
    assert wilson_interval(0, 100).lower == 0
    assert wilson_interval(0, 100).upper == pytest.approx(0.037, abs=5e-4)
    with pytest.raises(ValueError, match="no share"):
        wilson_interval(3, 2)


def test_a_drop_smaller_than_the_margin_may_ship() -> None:
    runs = [Run(ending="shipped", labelled=500, hours=30.0)] * 2
    cells = [cell_of(runs, injected=0.02, drop=0.016)]
    assert "smaller than the margin, so that is allowed" in summary_of(cells, margin=0.05)
    assert "at most 5 in 100 are promised" in summary_of([cell_of(runs, injected=0.2, drop=0.16)], margin=0.05)
