"""What every ports.Studies must do."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from optimizer.adapters.store import Database
from optimizer.core.base.errors import Conflict, NotFound
from optimizer.core.base.values import Budget, ExampleResult, Spend
from optimizer.core.search.study import Trial, ranked
from optimizer.ports import TierAnswers
from tests.stores import NOW, minutes, reading, study, writing


def test_a_study_comes_back_as_it_was_written(database: Database) -> None:
    written = study(
        budget=Budget(usd=1.5, minutes=3),
        dataset={"hash": "x", "train": ["a"]},
        confirmation=None,
        spend=Spend(usd=0.5, n_calls=2),
    )
    written = replace(written, findings={"confidence": [{"tier": "cheap", "is_used": False}]})
    writing(database).studies.add(written)
    assert reading(database).studies.get("st_1") == written
    assert reading(database).studies.get("st_2") is None


@pytest.mark.parametrize("status", ["queued", "running", "confirming"])
def test_a_family_has_one_study_at_a_time(database: Database, status: str) -> None:
    writing(database).studies.add(study("st_1", status=status))
    with pytest.raises(Conflict, match="st_1"):
        writing(database).studies.add(study("st_2"))
    writing(database).studies.add(study("st_3", family="triage"))
    writing(database).studies.update("st_1", status="finished")
    writing(database).studies.add(study("st_2"))


def test_changes_change_nothing_else(database: Database) -> None:
    writing(database).studies.add(study())
    changes = {"status": "running", "spend": Spend(usd=2.0), "started_at": NOW, "winner": "v_bbbbbbbbbbbb"}
    changed = writing(database).studies.update("st_1", **changes)
    assert changed == replace(study(), **changes)
    assert reading(database).studies.get("st_1") == changed


def test_unknown_studies_and_fields_are_refused(database: Database) -> None:
    writing(database).studies.add(study())
    with pytest.raises(NotFound):
        writing(database).studies.update("st_9", status="running")
    with pytest.raises(ValueError, match="colour"):
        writing(database).studies.update("st_1", status="running", colour="red")


def test_pages_go_from_new_to_old_and_hold_every_study_once(database: Database) -> None:
    written = [study(f"st_{i}", family=f"family{i}", created_at=minutes(i // 2)) for i in range(5)]
    for one in written:
        writing(database).studies.add(one)
    seen, cursor = [], None
    with database.read() as tx:
        for _ in range(3):
            page, cursor = database.studies.page(tx, cursor=cursor, limit=2)
            seen += page
        assert cursor is None
        assert seen == written[::-1]
        assert database.studies.page(tx, family="family3")[0] == [written[3]]
        assert database.studies.page(tx, status="running")[0] == []


def test_unfinished_studies_come_oldest_first_and_ended_ones_not_at_all(database: Database) -> None:
    for number, status in enumerate(("running", "finished", "confirming", "cancelled", "failed", "queued")):
        one = study(f"st_{number}", family=f"family{number}", status=status, created_at=minutes(-number))
        writing(database).studies.add(one)
    assert [one.id for one in reading(database).studies.unfinished()] == ["st_5", "st_2", "st_0"]


def test_a_trial_is_replaced_by_its_number(database: Database) -> None:
    trial = Trial(
        study="st_1", number=1, variant="v_a", proposer="bootstrap", params={"k": 3}, status="running", started_at=NOW
    )
    done = replace(trial, status="complete", score=0.5, n=10)
    for one in (trial, replace(trial, number=0), done):
        writing(database).studies.put_trial(one)
    assert reading(database).studies.trials("st_1") == [replace(trial, number=0), done]


def test_trials_are_read_in_parts_and_ranked_as_the_core_ranks_them(database: Database) -> None:
    draw = Random(1)
    trials = [
        Trial(
            study="st_1",
            number=number,
            variant=f"v_{number}",
            proposer=draw.choice(("champion", "bootstrap")),
            params={"k": number},
            status=draw.choice(("complete", "complete", "failed")),
            score=draw.choice((None, 0.25, 0.5)),
            n=draw.choice((0, 10)),
            cost_usd=draw.choice((0.1, 0.2)),
        )
        for number in range(60)
    ]
    database.write(lambda tx: [database.studies.put_trial(tx, one) for one in trials])
    best = ranked(trials)
    assert 0 < len(best) < len(trials)
    wanted = [*best, *(one for one in trials if one not in best)]
    with database.read() as tx:
        some = database.studies.some_trials
        found = [*some(tx, "st_1", best_first=True, start=0, n=25), *some(tx, "st_1", best_first=True, start=25, n=99)]
        assert found == wanted
        assert some(tx, "st_1", best_first=False, start=58, n=5) == trials[58:]
        assert database.studies.trial_figures(tx, "st_1") == [replace(one, params={}) for one in trials]


def test_results_are_kept_by_purpose_and_variant_and_replaced_by_example(database: Database) -> None:
    first = [
        ExampleResult(example="a", score=None, output=None, error="timeout"),
        ExampleResult(example="b", score=1.0, output="x", latency_ms=3.5),
    ]
    again = [ExampleResult(example="a", score=0.5, output="y", from_journal=True, call_key="k")]
    for purpose, variant, results in (
        ("search", "v_a", first),
        ("search", "v_a", again),
        ("search", "v_b", first),
        ("confirmation", "v_a", first),
    ):
        writing(database).studies.put_results("st_1", purpose, variant, results)
    assert reading(database).studies.results("st_1", "search") == {"v_a": [again[0], first[1]], "v_b": first}
    assert reading(database).studies.results("st_1", "confirmation", "v_a") == {"v_a": first}
    assert reading(database).studies.results("st_2", "search") == {}


def test_answers_of_tiers_are_kept_once_per_study(database: Database) -> None:
    first = TierAnswers(
        tiers=("small", "large"),
        rows=[{"tiers": {"small": {"score": 1.0, "cost_usd": 0.1, "confidence": None}}}, {"tiers": {}}],
    )
    other = TierAnswers(
        tiers=("large",), rows=[{"tiers": {"large": {"score": 0.0, "cost_usd": 0.5, "confidence": 0.25}}}]
    )
    for answers in (other, first):
        writing(database).studies.put_tier_answers("st_1", answers)
    writing(database).studies.put_tier_answers("st_2", other)
    assert reading(database).studies.tier_answers("st_1") == first
    assert reading(database).studies.tier_answers("st_2") == other
    assert reading(database).studies.tier_answers("st_3") is None
